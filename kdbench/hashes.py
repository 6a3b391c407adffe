"""Hashes of what decides a result and is no file."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def integers_sha256(values: Tensor | NDArray[np.integer]) -> str:
    """SHA-256 of labels or indices (n,) as little-endian int64, whatever they are held as.

    >>> integers_sha256(np.array([], dtype=np.int32))[:8]
    'e3b0c442'
    """
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    return hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()
