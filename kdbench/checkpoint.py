"""Files of tensors: checkpoints (safetensors with metadata) and resume state, written atomically, read safely."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from kdbench.errors import KdbenchError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a whole file or nothing: a temporary file in the same folder, flushed, then renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes as a whole file, or nothing."""
    with replacing(path) as file:
        file.write(content)


def save_arrays(path: Path, values: Mapping[str, Tensor]) -> None:
    """Write tensors as one compressed .npz file."""
    arrays = {name: tensor.numpy() for name, tensor in values.items()}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its options


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: a second process waits here until the first is done, or has died."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_writable(*folders: Path) -> None:
    """Raise ``KdbenchError`` when one of the folders cannot be made and written to."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise KdbenchError(
                f"cannot write to {folder}: {error.strerror}", "name another folder with --out"
            ) from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file."""
    # Cloned, as safetensors refuses tensors that share memory, and an ensemble's members may.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, to_safetensors(plain, {"kdbench": json.dumps(metadata, sort_keys=True)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a checkpoint: ours, or a plain state dict ({} as metadata).

    Only safetensors and ``torch.load(weights_only=True)`` are used, so that nothing in the file is ever run.
    """
    if not path.is_file():
        raise KdbenchError(f"no checkpoint at {path}", "give the path of a .safetensors, .pt or .pth file")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get("kdbench", "{}"))
                return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118  # not a dict
        except (SafetensorError, OSError, json.JSONDecodeError) as error:
            raise KdbenchError(f"checkpoint {path} is damaged: {error}", "copy it again, or train it again") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's word on old pickle protocols; what matters is said below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise KdbenchError(
            f"checkpoint {path} holds more than tensors, and reading it could run code",
            "save model.state_dict() alone, best as safetensors",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # whatever a file that is no checkpoint makes the reader stumble over
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise KdbenchError(f"checkpoint {path} is damaged: {reason}", "copy it again, or train it again") from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    entries = state.items() if isinstance(state, dict) else ()
    if not entries or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in entries):
        raise KdbenchError(f"checkpoint {path} is not a state dict", "save model.state_dict() alone")
    assert isinstance(state, dict)
    return state, {}


def save_resume(path: Path, state: Mapping[str, Any]) -> None:
    """Write what an interrupted training needs to go on."""
    with replacing(path) as file:
        torch.save(dict(state), file)


def load_resume(path: Path) -> dict[str, Any] | None:
    """The resume state, or None when there is none; a damaged one is dropped with a warning."""
    if not path.is_file():
        return None
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        warnings.warn(f"resume state {path} is damaged ({type(error).__name__}): training starts over", stacklevel=2)
        return None
