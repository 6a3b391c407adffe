"""Files of tensors: checkpoints (safetensors with metadata) and resume state, read safely."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.files import replacing, write_atomically


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
            warnings.simplefilter("ignore")  # torch's warning of old pickle protocols; what matters is said below
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
