"""Hashes of what decides a result and is no file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def integers_sha256(values: Tensor | NDArray[np.integer]) -> str:
    """SHA-256 of labels or indices (n,) as little-endian int64, whatever they are held as.

    >>> integers_sha256(np.array([], dtype=np.int32))[:8]
    'e3b0c442'
    """
    array = values.cpu().numpy() if isinstance(values, Tensor) else values
    return hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values of a tensor of any dtype in order, as they lie in memory; of a quantised one what they stand for."""
    plain = (tensor.dequantize() if tensor.is_quantized else tensor).detach().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def state_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 of the tensors of a state dict: names, dtypes, shapes and bytes, in the order of the names.

    Where they lie and how is no part of it; entries that are no tensors are none either.

    >>> import torch
    >>> state_sha256({"a": torch.zeros(2)}) == state_sha256({"a": torch.zeros(2, 2)[:, 0]})
    True
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode() + tensor_bytes(value))
    return digest.hexdigest()
