"""Full float32 arithmetic around a measurement, and its exact restoration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from kdbench.torch_state import exclusive


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Autograd on, autocast off, TF32 and every other reduced float32 product off; all restored on exit.

    Scores are float32. An attack's step takes the sign of the input gradient, and reduced precision flips the signs of
    small gradients. These settings are the process's, so that one thread measures at a time.
    """
    with exclusive():
        operators = _float32_products()
        before = [operator.fp32_precision for operator in operators]
        try:
            for operator in operators:
                operator.fp32_precision = "ieee"
            # inference_mode(False) goes first: inside inference mode autograd stays off whatever enable_grad says.
            with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
                yield
        finally:
            for operator, precision in zip(operators, before, strict=True):
                operator.fp32_precision = precision


def _float32_products() -> list[Any]:
    """The operators whose ``fp32_precision`` may stand below float32.

    One by one, as these restore exactly, while ``allow_tf32`` can't be read any more once the two styles were mixed.
    """
    backends: Any = torch.backends
    operators = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
    return [*operators, backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
