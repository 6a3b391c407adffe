"""Reading the official CIFAR pickles without running what a forged one may hold."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from kdbench.errors import KdbenchError

# The function that pickled arrays are rebuilt with; its module was renamed in NumPy 2, so it is asked of an array.
_RECONSTRUCT = np.empty(0, np.uint8).__reduce__()[0]


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding '{encoding}'")
    return text.encode("latin1")


NUMPY_NAMES: Final[Mapping[tuple[str, str], Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
"""Module and name of all that a pickled array asks for, to what it is."""
_ADMITTED: dict[tuple[str, str], Any] = {
    **NUMPY_NAMES,
    # How Python 3 writes bytes in the protocol of the official files.
    ("_codecs", "encode"): _encode_latin1,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"'{module}.{name}'") from None


def restricted_loads(blob: bytes, path: Path) -> Any:
    """Unpickle numbers, strings, lists, dicts and NumPy arrays, and nothing else.

    Args:
        blob: a pickle, also one of Python 2 (its strings are read as Latin-1).
        path: where it came from, for the message.

    Raises:
        KdbenchError: it asks for anything else, or isn't a pickle.
    """
    try:
        return _RestrictedUnpickler(io.BytesIO(blob), encoding="latin1").load()
    except Exception as error:  # a bad pickle may raise whatever it likes; nothing of it is run
        raise KdbenchError(
            f"'{path}' was refused: it isn't a pickle of arrays and strings ({type(error).__name__}: {error})",
            "only use the official files",
        ) from error
