"""Why weights don't fit a network, in one line that tells a reader something."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path

from torch import Tensor

from kdbench.checkpoints.names import common_names, without_unused
from kdbench.errors import KdbenchError

_SPECIAL = (
    ("weight_mask", "is pruned by masks", "torch.nn.utils.prune.remove(module, name) for each, and save again"),
    ("weight_g", "has weight normalisation", "torch.nn.utils.remove_weight_norm for each, and save again"),
    ("weight_u", "has spectral normalisation", "torch.nn.utils.remove_spectral_norm for each, and save again"),
    ("original0", "has parametrized weights", "torch.nn.utils.parametrize.remove_parametrizations, and save again"),
    ("original", "has parametrized weights", "torch.nn.utils.parametrize.remove_parametrizations, and save again"),
    ("lora_A", "holds low-rank changes of another network's weights", "merge them into it, and save again"),
    ("_packed_params", "is quantised", "save the weights as float32"),
)
"""Last parts of names that say that a weight isn't there as it is used, and what to do."""


_WORDS = {
    "block shortcut norm": "batch norm in shortcuts",
    "block shortcut": "convolution in a shortcut",
    "block conv bias": "biases of convolutions",
    "block shortcut bias": "biases of shortcuts",
    "norm": "batch norm outside of blocks",
    "stem bias": "bias of the first convolution",
    "classifier bias": "bias of the classifier",
}
"""Layers by their kind in the vocabulary of residual networks, numbers removed."""

Shapes = Mapping[str, tuple[int, ...]]


def misfit(path: Path, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> KdbenchError:
    """The error for the tensors ``given``, which don't fit those that are ``wanted``, by name."""
    last = {name.rpartition(".")[2] for name in given}
    for part, what, advice in _SPECIAL:
        if part in last:
            return KdbenchError(f"checkpoint {path} {what}", advice)
    ours, theirs = common_names(wanted), common_names(without_unused(given))
    one, other = _shapes(wanted, ours if theirs else None), _shapes(given, theirs if ours else None)
    classes = _classes(one, other)
    if classes:
        return KdbenchError(
            f"checkpoint {path} is of another architecture: it has {classes[1]} classes, expected {classes[0]}",
            "measure it with a suite whose data set has as many",
        )
    reason = (_of_residual(one, other) if ours and theirs else "") or _of_names(one, other)
    return KdbenchError(f"checkpoint {path} is of another architecture: {reason}", "name the right one with --model")


def _shapes(state: Mapping[str, Tensor], names: Mapping[str, str] | None) -> Shapes:
    kept = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    return {names[name]: kept[name] for name in kept if name in names} if names else kept


def _classes(wanted: Shapes, given: Shapes) -> tuple[int, int] | None:
    """The wanted and the found number of classes, where only the last layer's outputs differ."""
    differing = [name for name in wanted if given.get(name) != wanted[name]]
    if not differing or wanted.keys() != given.keys() or not set(differing) <= set(list(wanted)[-2:]):
        return None
    if any(wanted[name][1:] != given[name][1:] for name in differing):
        return None
    return wanted[differing[0]][0], given[differing[0]][0]


def _of_residual(wanted: Shapes, given: Shapes) -> str:
    """Where both are residual networks: first convolution, blocks, or layers that one has and the other has not."""
    one, other = wanted.get("stem weight"), given.get("stem weight")
    if one and other and one[2:] != other[2:]:
        return f"its first convolution is {_size(other)}, expected {_size(one)}"
    mine, theirs = _blocks(wanted), _blocks(given)
    if mine != theirs:
        return f"it has residual blocks {theirs or 'none'}, expected {mine or 'none'} (number x width)"
    missing, extra = _layers(wanted, given), _layers(given, wanted)
    if missing or extra:
        words = [f"no {', '.join(missing)}"] if missing else []
        words += [f"{', '.join(extra)} too many"] if extra else []
        return f"it has {' and '.join(words)}"
    mine, theirs = _order(wanted), _order(given)
    return f"it is {theirs}, expected {mine}" if mine != theirs else ""


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[2:]))


def _blocks(shapes: Shapes) -> str:
    """The widths in which blocks end, as ``2x64 2x128``."""
    ends: dict[int, int] = {}
    for name, shape in shapes.items():
        words = name.split()
        if words[0] == "block" and words[2] == "conv" and words[-1] == "weight":
            ends[int(words[1])] = shape[0]
    return " ".join(f"{len(list(same))}x{width}" for width, same in groupby(ends[n] for n in sorted(ends)))


def _layers(those: Shapes, these: Shapes) -> list[str]:
    """Kinds of layers that ``those`` have and ``these`` have not, in words."""
    kinds = {re.sub(r"\d+ ", "", name) for name in those.keys() - these.keys()}
    return sorted({_WORDS.get(kind, _WORDS.get(kind.rpartition(" ")[0], kind)) for kind in kinds})


def _order(shapes: Shapes) -> str:
    """Whether a network's blocks have batch norm before or behind a convolution."""
    for name, shape in shapes.items():
        conv = shapes.get(name.replace("norm 0", "conv 0"), ())
        if name.endswith("norm 0 weight") and len(conv) == 4 and conv[0] != conv[1]:
            return "a ResNet, batch norm behind convolutions" if shape[0] == conv[0] else "a PreActResNet, before them"
    return ""


def _of_names(wanted: Shapes, given: Shapes) -> str:
    """By single tensors: what is missing, what is unknown, what has another shape."""
    missing, extra = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    if len(missing) == len(wanted):
        return f"none of its {len(given)} names is known, the first is {next(iter(given))}, expected {missing[0]}"
    parts = [f"no {_some(missing)}"] if missing else []
    parts += [f"{_some(extra)} too many"] if extra else []
    shaped = [name for name in wanted if name in given and wanted[name] != given[name]]
    if shaped:
        name = shaped[0]
        parts.append(f"{len(shaped)} of other shapes, such as {name} (found {given[name]}, expected {wanted[name]})")
    return f"it has {', '.join(parts)}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{listed[0]} and {len(listed) - 1} more"
