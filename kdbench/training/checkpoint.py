"""Our own files of tensors: checkpoints (safetensors with metadata) and resume state."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from kdbench.checkpoints.formats import damaged, kind_of
from kdbench.checkpoints.reading import read_safetensors
from kdbench.errors import KdbenchError
from kdbench.files import check_archive, write_atomically
from kdbench.results.untrusted import parse
from kdbench.sealed import check

CHECKPOINT: Final = "checkpoint.safetensors"
"""File of a finished training."""
RESUME: Final = "resume.pt"
"""File of one that goes on."""


def checkpoint_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Tensors and JSON metadata as one safetensors file."""
    # Cloned, as safetensors refuses tensors that share memory, and an ensemble's members may.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return to_safetensors(plain, {"kdbench": json.dumps(metadata, sort_keys=True)})


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write such a file."""
    write_atomically(path, checkpoint_bytes(tensors, metadata))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a checkpoint of ours, or of another safetensors file ({} as metadata).

    Raises:
        KdbenchError: no such file, a damaged one, or one that is not ours.
    """
    check(path)
    if kind_of(path) != "safetensors":
        raise KdbenchError(f"checkpoint {path} is not one of kdbench's", "name its architecture with --model")
    tensors, metadata = read_safetensors(path)
    try:
        facts = parse(metadata.get("kdbench", "{}"))
        if not isinstance(facts, dict):
            raise TypeError("its metadata are no table")
        return tensors, facts
    except (KdbenchError, TypeError) as error:
        raise damaged(path, error) from None


def resume_bytes(state: Mapping[str, Any]) -> bytes:
    """What an interrupted training needs to go on."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def load_resume(path: Path) -> dict[str, Any] | None:
    """The resume state, or None when there is none; a damaged one is dropped with a warning."""
    if not path.is_file():
        return None
    try:
        check(path)
        check_archive(path)  # those of earlier versions have no other hashes than its own
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        warnings.warn(f"resume state {path} is damaged ({type(error).__name__}): training starts over", stacklevel=2)
        return None
