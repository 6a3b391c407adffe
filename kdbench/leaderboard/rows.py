"""The rows of a leaderboard: runs of one method with one setting of its parameters and one source, by seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Cell, Row
from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.untrusted import plain

KEY_LENGTH = 48
"""Longest readable part of a key."""


HASHED = re.compile(r"(^|-)[0-9a-f]{8}$")
"""How a key with a hash ends."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """The runs of a row."""

    method: str
    params: Mapping[str, Any]
    runs: tuple[Evidence, ...]
    """Finished ones, by seed; one a seed."""
    failed: tuple[Evidence, ...]

    @property
    def title(self) -> str:
        """The method's name, and the parameters that were given."""
        given = ", ".join(f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(self.params.items()))
        return f"{self.method} ({given})" if given else self.method


def entries(runs: Sequence[Evidence]) -> tuple[list[Entry], list[Excluded]]:
    """Runs by method and parameters as given; excluded are those of another source of the method, or a seed again."""
    by_row: dict[tuple[str, str], list[Evidence]] = {}
    for one in runs:
        by_row.setdefault((one.record.spec.method, _canonical(one.record.params_passed)), []).append(one)
    made: list[Entry] = []
    excluded: list[Excluded] = []
    for (method, _), same in sorted(by_row.items()):
        kept = _one_a_seed(_of_one_source(same, excluded), excluded)
        finished = tuple(one for one in kept if one.record.status == "finished")
        failed = tuple(one for one in kept if one.record.status == "failed")
        made.append(Entry(method, same[0].record.params_passed, finished, failed))
    return made, excluded


def _of_one_source(runs: Sequence[Evidence], excluded: list[Excluded]) -> list[Evidence]:
    """The runs of the method as it is installed here, else as it was last run."""
    spec = _installed(runs[0].record.spec.method)
    here = spec.source if spec is not None else ""
    latest = max(runs, key=lambda one: (one.record.spec.method_source == here, one.record.provenance.finished))
    kept = []
    for one in runs:
        reason = _otherwise_made(one, latest)
        if reason:
            excluded.append(exclude(one, reason))
        else:
            kept.append(one)
    return kept


def _otherwise_made(one: Evidence, latest: Evidence) -> str:
    """Why two runs are not of the same method, "" if they are."""
    ours, theirs = latest.record.spec, one.record.spec
    if ours.method_source != theirs.method_source:
        return f"another source of method {plain(theirs.method)} than the one that is ranked"
    for condition in ours.params.keys() & theirs.params.keys():
        if ours.params[condition] != theirs.params[condition]:
            return f"other resolved parameters under condition {plain(condition)} than the ones that are ranked"
        if ours.recipes.get(condition) != theirs.recipes.get(condition):
            return f"another training recipe under condition {plain(condition)} than the one that is ranked"
    if latest.record.checkpoint_rule != one.record.checkpoint_rule:
        return f"checkpoint rule {one.record.checkpoint_rule}; here it is {latest.record.checkpoint_rule}"
    return ""


def _one_a_seed(runs: Sequence[Evidence], excluded: list[Excluded]) -> list[Evidence]:
    """By seed; of two with the same one, the finished one, with more scores, that is newer."""

    def value(one: Evidence) -> tuple[bool, int, str, str]:
        record = one.record
        return record.status == "finished", len(record.scores), record.provenance.finished, record.run_id

    by_seed: dict[int, list[Evidence]] = {}
    for one in runs:
        by_seed.setdefault(one.record.spec.seed, []).append(one)
    kept = []
    for seed, same in sorted(by_seed.items()):
        best = max(same, key=value)
        kept.append(best)
        excluded += [
            exclude(o, f"seed {seed} once more: run {best.record.run_id} counts") for o in same if o is not best
        ]
    return kept


def row(entry: Entry, cells: Mapping[str, Cell], mean_rank: float | None) -> Row:
    """The row that is shown."""
    spec = _installed(entry.method)
    runs = (*entry.runs, *entry.failed)
    return Row(
        key=file_key(entry.method, entry.params),
        title=entry.title,
        method=entry.method,
        params=entry.params,
        family=_family(spec),
        paper=spec.paper if spec is not None else "",
        summary=spec.summary if spec is not None else "",
        budget="extended" if any(one.record.budget == "extended" for one in runs) else "standard",
        runs=entry.runs,
        failed=entry.failed,
        cells=cells,
        mean_rank=mean_rank,
    )


def twins(made: Sequence[Entry]) -> Iterator[str]:
    """A sentence about each set of methods whose names differ only by case."""
    spellings: dict[str, set[str]] = {}
    for entry in made:
        spellings.setdefault(entry.method.casefold(), set()).add(entry.method)
    for names in spellings.values():
        if len(names) > 1:
            listed = ", ".join(plain(name) for name in sorted(names))
            yield f"These methods differ only by the case of their names, and each has its row: {listed}."


def file_key(name: str, params: Mapping[str, Any] | None = None) -> str:
    """Lower-case letters, digits and hyphens, for files and addresses. The same for the same name and parameters
    whatever else is there; a name that is not such a key itself, or looks like one with a hash, ends in a hash.

    >>> file_key("label-smoothing")
    'label-smoothing'
    >>> file_key("KD", {"temperature": 8})
    'kd-5d453791'
    """
    readable = re.sub(r"[^a-z0-9]+", "-", name[: 4 * KEY_LENGTH].lower()).strip("-")[:KEY_LENGTH].strip("-")
    if name and readable == name and not params and not HASHED.search(name):
        return readable
    content = json.dumps([name, params or {}], sort_keys=True)
    return "-".join(filter(None, [readable, hashlib.sha256(content.encode()).hexdigest()[:8]]))


def _canonical(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _installed(method: str) -> MethodSpec | None:
    try:
        return load_plugins().methods.get(method)
    except KdbenchError:
        return None


def _family(spec: MethodSpec | None) -> str:
    """The package that brings a method, without the project's name."""
    if spec is None:
        return ""
    module = getattr(spec.target, "func", spec.target).__module__
    return str(module).partition(".")[0].removeprefix("kdbench_").replace("_", " ")
