"""Which of the things that a training script saved are weights, and whose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.checkpoints.arrays import StoredArray
from kdbench.checkpoints.pickles import is_module, kind_of_object, whole_module
from kdbench.checkpoints.wrappers import networks_in, strip
from kdbench.errors import KdbenchError, unknown_name

DEPTH = 4
"""How deep weights are looked for: ``{"checkpoint": {"model": {"state_dict": ...}}}`` is the deepest seen."""

MOST_PLACES = 1_000_000
"""Values in nested dicts and lists; of lists that hold each other again and again there is no end."""
MOST_NETWORKS = 200
"""Networks of one file."""

BESIDE = {
    *("optimizer", "optimizers", "optim", "opt", "scheduler", "schedulers", "lr_scheduler", "lr_schedulers", "scaler"),
    *("amp", "amp_scaler", "grad_scaler", "criterion", "loss", "loss_fn", "callbacks", "loops", "metrics", "history"),
    *("hyper_parameters", "hparams", "args", "config", "cfg", "rng", "random", "sampler"),
}
"""Keys whose contents are no network, whatever tensors they hold; also with ``_state`` or ``_state_dict`` behind."""

_STATE = re.compile(r"_states?(?:_dict)?$")


@dataclass(frozen=True)
class Candidate:
    """A network's tensors by name, and the keys that lead to them from the top of the file."""

    keys: tuple[str, ...]
    state: dict[str, Tensor]
    stripped: tuple[str, ...] = ()
    """Prefixes that all names had, outermost first."""
    left_out: tuple[str, ...] = ()
    """Names of what lay beside the tensors."""

    @property
    def name(self) -> str:
        return ".".join(self.keys)


def choose(content: Any, key: str | None, path: Path) -> Candidate:
    """The one network in what a file held, or that of ``key``: all its keys, joined by dots, or one that no other has.

    Raises:
        KdbenchError: it holds no network, several and no ``key`` is given, or none of that ``key``.
    """
    if _has_no_end(content):
        raise KdbenchError(f"checkpoint {path} holds more than {MOST_PLACES:,} values", "save model.state_dict() alone")
    found = [part for whole in _states(content, (), DEPTH) for part in _split(whole)]
    if len(found) > MOST_NETWORKS:
        raise KdbenchError(f"checkpoint {path} holds more than {MOST_NETWORKS} networks", "save one of them alone")
    if not found:
        raise _none(content, path)
    if key is not None:
        named = [one for one in found if one.name == key] or [one for one in found if key in one.keys]
        if len(named) == 1:
            return named[0]
        names = [one.name for one in found if one.keys]
        if not names:
            raise KdbenchError(f"checkpoint {path} holds one network and no '{key}'", "omit --weights")
        raise unknown_name(f"weights in checkpoint {path}", key, names)
    found = _distinct(found)
    if len(found) > 1:
        sets = ", ".join(f"{one.name or 'the top'} ({len(one.state)} tensors)" for one in found)
        choice = " or ".join(f"--weights {one.name}" for one in found if one.keys)
        raise KdbenchError(f"checkpoint {path} holds {len(found)} networks: {sets}", f"choose with {choice}")
    return replace(found[0], left_out=(*found[0].left_out, *_nameless(content)))


def _has_no_end(content: Any) -> bool:
    """Whether there is more in nested dicts and lists than any training script saves."""
    level, seen = [content], 0
    for _ in range(DEPTH + 1):
        within = [one for one in level if isinstance(one, Mapping | list | tuple)]
        seen += sum(len(one) for one in within)
        if seen > MOST_PLACES:
            return True
        level = [value for one in within for value in (one.values() if isinstance(one, Mapping) else one)]
    return False


def _states(content: Any, keys: tuple[str, ...], depth: int) -> Iterator[Candidate]:
    """All networks in nested dicts and lists, outer before inner."""
    if isinstance(content, Mapping):
        if "param_groups" in content:  # an optimiser's
            return
        own = _state(content, keys)
        if own is not None and any("." in name for name in own.state):
            yield own
            return
        entries = [(str(name), value) for name, value in content.items() if _STATE.sub("", str(name)) not in BESIDE]
    elif isinstance(content, list | tuple):
        own, entries = None, [(str(place), value) for place, value in enumerate(content)]
    else:
        return
    inner = [one for name, value in entries if depth for one in _states(value, (*keys, name), depth - 1)]
    if inner or own is None:
        yield from inner
    else:
        yield own


def _state(content: Mapping[Any, Any], keys: tuple[str, ...]) -> Candidate | None:
    """The tensors of a dict that has some of two or more dimensions, as every network does."""
    state, beside = {}, []
    for name, value in content.items():
        tensor = _tensor(value)
        if isinstance(name, str) and tensor is not None:
            state[name] = tensor
        else:
            beside.append(str(name))
    if not any(tensor.ndim >= 2 for tensor in state.values()):
        return None
    return Candidate(keys, state, left_out=tuple(beside))


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value.detach()
    return value.tensor() if isinstance(value, StoredArray) else None


def _split(whole: Candidate) -> list[Candidate]:
    """Without prefixes; and by network, where several lie side by side, as ``student.*`` and ``teacher.*``."""
    state, stripped, around = strip(whole.state)
    left_out = (*whole.left_out, *around)
    parts = networks_in(state)
    if not parts:
        return [Candidate(whole.keys, state, whole.stripped + stripped, left_out)]
    found = []
    for part in parts:
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        found += _split(Candidate((*whole.keys, part), own, whole.stripped + stripped, left_out))
    return found


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Without those that are equal to an earlier one in every tensor: they are no choice."""
    kept: list[Candidate] = []
    for one in candidates:
        if not any(_equal(one.state, other.state) for other in kept):
            kept.append(one)
    return kept


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.shape == other[name].shape and tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )


def _none(content: Any, path: Path) -> KdbenchError:
    """The error for a file without weights."""
    modules = [kind_of_object(value) for _, value in _values(content, (), DEPTH) if is_module(value)]
    if modules:
        return whole_module(path, str(modules[0]))
    names = [str(name) for name in content] if isinstance(content, Mapping) else []
    held = f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" or kind_of_object(content)
    if not held:
        held = "tensors without names" if _nameless(content) else f"a {type(content).__name__}"
    return KdbenchError(f"checkpoint {path} is not a state dict: it holds {held}", "save model.state_dict() alone")


def _nameless(content: Any) -> list[str]:
    """Where lists of tensors lie: weights that can't be put anywhere."""
    return [
        f"{'.'.join(keys)}, tensors without names".removeprefix(", ")
        for keys, value in _values(content, (), DEPTH)
        if isinstance(value, list | tuple) and any(isinstance(one, Tensor) and one.ndim >= 2 for one in value)
    ]


def _values(content: Any, keys: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything in nested dicts and lists with the keys that lead there, optimisers and the like apart."""
    yield keys, content
    if isinstance(content, Mapping) and depth:
        for name, value in content.items():
            if _STATE.sub("", str(name)) not in BESIDE:
                yield from _values(value, (*keys, str(name)), depth - 1)
