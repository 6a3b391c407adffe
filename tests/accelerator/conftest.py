"""What runs on a pretend accelerator: a share of it always, everything where KDBENCH_ACCELERATOR is set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kdbench.testing import pretend_accelerator


@pytest.fixture
def accelerator() -> Iterator[torch.device]:
    with pretend_accelerator() as device:
        yield device
