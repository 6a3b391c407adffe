"""Torch's process-wide state, which one caller changes at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.RLock()


@contextmanager
def exclusive() -> Iterator[None]:
    """Have the process's torch state alone, with float32 as the default dtype; restored on exit.

    Tracing patches ``nn.Module``, and random numbers, the default dtype and the precision of products belong to the
    process. Whatever of kdbench changes them waits here for the other threads, so that calls in threads give the
    numbers of calls one after another. Also a decorator. A thread may enter again.
    """
    with _LOCK:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
