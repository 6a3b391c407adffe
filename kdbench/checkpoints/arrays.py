"""NumPy's arrays in a pickle, rebuilt from their bytes alone: NumPy's own way back trusts the file's word on memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_KINDS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


class StoredDtype:
    """In the place of ``numpy.dtype``: what the file calls it, and its byte order."""

    def __init__(self, kind: object = "", *_: object) -> None:
        self.kind, self.order = kind, "="

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = state[1]


class StoredArray:
    """In the place of ``numpy.ndarray``: its shape, dtype and bytes."""

    def __init__(self, *_: object) -> None:
        self.state: Any = ()

    def __setstate__(self, state: object) -> None:
        self.state = state

    def tensor(self) -> Tensor | None:
        """The array as a tensor of its own memory; None where it isn't one of numbers that fill its shape."""
        try:
            _, shape, dtype, fortran, raw = self.state
            if not isinstance(dtype, StoredDtype) or dtype.kind not in _KINDS or not isinstance(raw, bytes):
                return None
            found = np.frombuffer(raw, f"{dtype.order}{dtype.kind}").reshape(shape, order="F" if fortran else "C")
            if found.shape != tuple(shape):  # a negative length means "the rest" to NumPy
                return None
            return torch.from_numpy(found.astype(found.dtype.newbyteorder("="), order="C"))
        except (TypeError, ValueError):
            return None


STORED: dict[str, type] = {
    "numpy.dtype": StoredDtype,
    # The first module's name is that of NumPy 1, the second that of NumPy 2.
    "numpy.core.multiarray._reconstruct": StoredArray,
    "numpy._core.multiarray._reconstruct": StoredArray,
}
"""What a pickle calls to rebuild arrays, and what is called in its place."""
