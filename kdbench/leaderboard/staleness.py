"""Whether a method whose source changed since a record still computes what it computed for it."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from kdbench.leaderboard.installed import installed_method
from kdbench.methods.method import MethodSpec
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record
from kdbench.results.untrusted import plain
from kdbench.running.fingerprint import VERSION, alike, control, losses
from kdbench.specs import LabelNoise

MOST: Final = 100
"""A whole number of a record's parameters beyond it, and beyond the default, is not tried: the record is untrusted, and
with a million draws a step of training never ends."""


@dataclasses.dataclass(frozen=True)
class Computation:
    """What is found of a method under another source."""

    verdict: Literal["same", "other", "not known"]
    why: str = ""

    def sentence(self, method: str) -> str:
        """What is to be said of a method of this name."""
        said = f"the source of '{method}' here is another one"
        if self.verdict == "same":
            return f"{said}; by the record's fingerprint it computes the same"
        if self.verdict == "other":
            return f"stale: {said} and computes something else ({self.why})"
        return f"{said}; whether it computes the same is not known: {self.why}" if self.why else said


def computation(record: Record, method: MethodSpec) -> Computation:
    """Whether the installed ``method`` computes what it computed for a record, by the record's fingerprint."""
    found, spec = record.fingerprint, record.spec
    if found is None:
        return Computation("not known")
    if found.version != VERSION:
        return Computation("not known", f"its fingerprint is of version {found.version}, here it is {VERSION}")
    if not alike(found.control, control()):
        return Computation("not known", "cross-entropy by itself gives other losses with the torch and kdbench of here")
    for condition, recorded in found.losses.items():
        too_much = _too_much(method, spec.params[condition])
        if too_much:
            return Computation("not known", f"parameter {plain(too_much)} is too large to be tried")
        setting = spec.suite.conditions.get(condition)
        here = _losses(_Asked.of(method, spec.params[condition], setting.noise if setting is not None else None))
        if isinstance(here, str):
            return Computation("other", f"{plain(condition)}: {plain(here)}")
        if not alike(recorded, here):
            return Computation("other", f"{plain(condition)}: {_first_difference(recorded, here)}")
    return Computation("same")


def marked(run: Evidence) -> Evidence:
    """A run with a remark where the installed method computes something else than its record was made with."""
    record, method = run.record, installed_method(run.record.spec.method)
    if method is None or method.source == record.spec.method_source:
        return run
    found = computation(record, method)
    if found.verdict != "other":
        return run
    return dataclasses.replace(run, remarks=(*run.remarks, found.sentence(plain(method.name))))


def _too_much(method: MethodSpec, params: Mapping[str, Any]) -> str | None:
    usual = method.validate({})
    for name, value in params.items():
        default = usual.get(name)
        most = max(MOST, default) if isinstance(default, int) else MOST
        if isinstance(value, int) and value > most:
            return f"{name} = {value}"
    return None


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A short training; equal ones give equal losses."""

    method: MethodSpec = dataclasses.field(compare=False)
    params: Mapping[str, Any] = dataclasses.field(compare=False)
    noise: LabelNoise | None
    key: str

    @classmethod
    def of(cls, method: MethodSpec, params: Mapping[str, Any], noise: LabelNoise | None) -> _Asked:
        return cls(method, params, noise, json.dumps([method.name, method.source, params], sort_keys=True))


@functools.lru_cache(maxsize=1024)  # the seeds of a method ask alike
def _losses(asked: _Asked) -> tuple[float, ...] | str:
    """The losses here, or why there are none."""
    try:
        return tuple(losses(asked.method, asked.params, asked.noise))
    except (Exception, SystemExit) as error:  # a third party's method, with parameters that it may not have any more
        return f"{type(error).__name__}: {error}"


def _first_difference(recorded: Any, here: Any) -> str:
    """The first loss that is another one, in words."""
    pairs = zip(recorded, here, strict=False)
    different = ((epoch, a, b) for epoch, (a, b) in enumerate(pairs, start=1) if not alike([a], [b]))
    epoch, was, found = next(different, (0, 0.0, 0.0))
    return f"loss {found:.6g} in epoch {epoch} of the short training, recorded {was:.6g}" if epoch else "more losses"
