"""Weights into a network: by its own names, or by what the names of another implementation mean."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.checkpoints.explaining import misfit
from kdbench.checkpoints.names import common_names, without_unused
from kdbench.checkpoints.weights import Weights
from kdbench.checkpoints.wrappers import NETWORKS
from kdbench.errors import KdbenchError
from kdbench.models.spec import ModelSpec
from kdbench.torch_state import exclusive

_STATISTIC = re.compile(r"(?:(?:normali[sz](?:e|er|ation|e_layer)|norm|0)\.)?(mean|std|mu|sigma)")
"""Names of the pixels' mean and deviation, which many keep in front of a network."""

_COUNT = "num_batches_tracked"
"""Of batch norm: not used in evaluation, and not there before PyTorch 0.4.1."""


def fit_to(network: nn.Module, weights: Weights) -> tuple[str, ...]:
    """Load weights into ``network``, in place and in its precision; returns what was done beyond that, a line each.

    Names may be the network's own, with or without a prefix. Those of the usual implementations of residual networks
    (``kdbench.checkpoints.names``) are translated, where each tensor of the network has exactly one of that meaning and
    shape. Nothing is guessed by order, and nothing but batch norm's count of batches may be missing or left over.

    Raises:
        KdbenchError: they are of another architecture, in one line that says what differs; or they bring mean and
            deviation of the pixels, and the network has no place for them.
    """
    own = network.state_dict()
    wanted, given, notes = _Parts.of(own), _Parts.of(weights.state), list[str]()
    pairs = _match(wanted.body, given.body, notes) or _match_part(wanted.body, given.body, weights, notes)
    if not pairs:
        raise misfit(weights.path, wanted.body, given.body)
    loaded = {wanted.names[name]: tensor for name, tensor in pairs.items()}
    loaded |= _statistics(wanted, given, weights, notes)
    kinds = {t.dtype for name, t in loaded.items() if t.is_floating_point() and t.dtype != own[name].dtype}
    if kinds:
        notes.append(f"weights were saved as {', '.join(sorted(str(kind).removeprefix('torch.') for kind in kinds))}")
    network.load_state_dict({**own, **{name: tensor.reshape(own[name].shape) for name, tensor in loaded.items()}})
    return tuple(notes)


def brings_normalisation(weights: Weights) -> bool:
    """Whether mean and deviation of the pixels are among the weights."""
    return bool(_Parts.of(weights.state).statistics)


def fitting_architectures(weights: Weights, specs: Iterable[ModelSpec]) -> list[str]:
    """Names of those networks that ``fit_to`` would take the weights into, as far as names and shapes say."""
    given = _Parts.of(weights.state).body
    common = common_names(without_unused(given)) or {}
    last = [tensor.shape[0] for name, tensor in given.items() if common.get(name) == "classifier weight"]
    fitting = []
    for spec in specs if last else ():
        # An architecture that can't be built, as its library is missing, is none to propose.
        with contextlib.suppress(Exception), exclusive(), torch.device("meta"):
            network = spec.build(num_classes=last[0])
            if _match(_Parts.of(network.state_dict()).body, given, []):
                fitting.append(spec.name)
    return fitting


@dataclass(frozen=True)
class _Parts:
    """A state dict in two: the network without prefix, and the pixels' mean and deviation in front of it."""

    body: dict[str, Tensor]
    names: dict[str, str]
    """Of the body's tensors in the state dict."""
    statistics: dict[str, str]
    """``mean`` and ``std`` to their names in the state dict."""
    state: Mapping[str, Tensor]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> _Parts:
        state = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}  # no extra state
        found = {
            name: match for name in state if (match := _STATISTIC.fullmatch(name)) and state[name].numel() in (1, 3)
        }
        statistics = {{"mu": "mean", "sigma": "std"}.get(match[1], match[1]): name for name, match in found.items()}
        names = {name: name for name in state if name not in found}
        while len(first := {name.partition(".")[0] for name in names}) == 1:
            (part,) = first
            wrapper = part in NETWORKS or (part == "1" and found)
            if not wrapper or not all("." in name for name in names):
                break
            names = {name.partition(".")[2]: whole for name, whole in names.items()}
        return cls({name: state[whole] for name, whole in names.items()}, names, statistics, state)


def _match(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The tensor for each name that is wanted, by its name or by what that means; {} where they don't fit."""
    pairs = _same(wanted, given)
    if pairs:
        return pairs
    used = without_unused(given)
    ours, theirs = common_names(wanted), common_names(used)
    if not ours or not theirs:
        return {}
    meant = {common: name for name, common in theirs.items()}
    found = _same({ours[n]: t for n, t in wanted.items()}, {common: used[n] for common, n in meant.items()})
    if not found:
        return {}
    pairs = {name: found[common] for name, common in ours.items() if common in found}
    first = next(iter(pairs))
    notes.append(
        f"names translated, as {meant[ours[first]]} to {first}; activations, strides and pooling are this network's: a "
        "checkpoint doesn't say which it was trained with"
    )
    if len(used) < len(given):
        notes.append("left out: sub_block1, which its network never uses")
    return pairs


def _same(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensor for each name, where names and shapes are the same on both sides; {} where not."""
    shapes, found = ({n: t.shape for n, t in side.items() if not n.endswith(_COUNT)} for side in (wanted, given))
    return {name: given[name] for name in wanted if name in given} if shapes == found else {}


def _match_part(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], weights: Weights, notes: list[str]
) -> dict[str, Tensor]:
    """As ``_match``, for the one of a file's modules that is the whole network, as ``backbone`` beside a projection."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in given.items():
        first, _, rest = name.partition(".")
        parts.setdefault(first, {})[rest] = tensor
    said: dict[str, list[str]] = {part: [] for part in parts}
    fitting = {part: pairs for part, state in parts.items() if (pairs := _match(wanted, state, said[part]))}
    if len(fitting) > 1:
        raise KdbenchError(
            f"checkpoint {weights.path} holds {len(fitting)} networks that fit: {', '.join(fitting)}",
            "save one of them alone",
        )
    for part, pairs in fitting.items():
        notes += [f"weights of {part}; left out: {', '.join(other for other in parts if other != part)}", *said[part]]
        return pairs
    return {}


def _statistics(wanted: _Parts, given: _Parts, weights: Weights, notes: list[str]) -> dict[str, Tensor]:
    """The file's mean and deviation of the pixels by the network's names, {} where the file has none."""
    if not given.statistics:
        if wanted.statistics:
            notes.append("no normalisation in the file: the one that the network was built with")
        return {}
    numbers = {kind: given.state[name].flatten().float() for kind, name in given.statistics.items()}
    words = ", ".join(
        f"{kind} {', '.join(f'{value:.4g}' for value in tensor.tolist())}" for kind, tensor in numbers.items()
    )
    if given.statistics.keys() != wanted.statistics.keys():
        trivial = all(bool((tensor == (kind == "std")).all()) for kind, tensor in numbers.items())
        if trivial and not wanted.statistics:
            return {}
        raise KdbenchError(
            f"checkpoint {weights.path} brings its own normalisation of the pixels ({words}), and the network has no "
            "place for it",
            "give the network a kdbench.models.Normalize in front",
        )
    notes.append(f"normalisation of the checkpoint: {words}")
    return {
        wanted.statistics[kind]: tensor.expand(wanted.state[wanted.statistics[kind]].numel())
        for kind, tensor in numbers.items()
    }
