"""The global random numbers of torch, NumPy and Python, which are the caller's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from kdbench.devices import forked_random_numbers
from kdbench.torch_state import exclusive


@contextmanager
def kept_random_numbers(device: torch.device) -> Iterator[None]:
    """Restore the global generators of torch, NumPy and Python afterwards, whoever draws from them in the block."""
    with exclusive(), forked_random_numbers(device):
        python, numpy = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Start the global generators of torch, NumPy and Python from ``seed``; restore them afterwards.

    Attack libraries draw from all three and seed torch's themselves, and so may a model that is random.
    """
    with kept_random_numbers(device):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield
