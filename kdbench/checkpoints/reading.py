"""From a file to one network's weights, however a training script saved them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from kdbench.checkpoints.choosing import choose
from kdbench.checkpoints.formats import damaged, kind_of
from kdbench.checkpoints.pickles import load_pickled
from kdbench.checkpoints.weights import Weights
from kdbench.errors import KdbenchError, plain
from kdbench.files import file_sha256


def read_weights(path: str | Path, *, key: str | None = None) -> Weights:
    """The weights of one network in a file of safetensors or of ``torch.save``; nothing in the file is ever run.

    They may lie under any key, as ``{"state_dict": ..., "optimizer": ...}``, beside optimiser states, arguments and
    NumPy numbers, and under the prefixes of DataParallel, torch.compile, Lightning and the like. ``key`` chooses where
    a file holds several networks, as a model and the average of its weights: all keys that lead there,
    ``ema.state_dict``, or one of them that is enough. Tensors keep the precision of the file.

    Raises:
        KdbenchError: no such file, a file of another kind (TorchScript, ONNX, a pickled module, ...), a damaged one,
            one that asks for code, no network, several and no ``key``, none of that ``key``, numbers that aren't
            finite.
    """
    path = Path(path)
    kind = kind_of(path)
    content, others = (read_safetensors(path)[0], []) if kind == "safetensors" else load_pickled(path, kind)
    found = choose(content, key, path)
    _check(found.state, path)
    notes = []
    if found.keys:
        notes.append(f"weights of {found.name}")
    if found.stripped:
        notes.append(f"removed from all names: {', '.join(found.stripped)}")
    notes += _left_out(found.left_out, others)
    return Weights(path, file_sha256(path), found.state, found.name or None, found.stripped, tuple(notes))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        KdbenchError: it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  # not a dict
    except MemoryError:
        raise
    except Exception as error:  # SafetensorError, and whatever else a forged header makes the reader stumble over
        raise damaged(path, error) from None


def _check(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ``KdbenchError`` for tensors that no float32 network can take."""
    for name, tensor in state.items():
        if tensor.is_quantized or tensor.is_sparse or tensor.is_meta or tensor.is_nested:
            kind = (
                "quantised" if tensor.is_quantized else str(tensor.layout) if not tensor.is_meta else "without values"
            )
            raise KdbenchError(
                f"checkpoint {path}: {plain(name)} is {kind}", "save the weights as dense float32 tensors"
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            count = int((~tensor.isfinite()).sum())
            raise KdbenchError(
                f"checkpoint {path}: {count} of {tensor.numel()} numbers of {plain(name)} aren't finite",
                "the training diverged; take an earlier checkpoint",
            )


def _left_out(names: Sequence[str], others: list[str]) -> list[str]:
    notes = []
    if names:
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        notes.append(f"left out: {', '.join(plain(name, 80) for name in names[:6])}{more}")
    own = [name for name in others if not name.startswith(("torch.", "numpy.", "builtins.", "collections."))]
    if own:
        notes.append(f"not read: objects of {', '.join(own[:4])}{', ...' if len(own) > 4 else ''}")
    return notes
