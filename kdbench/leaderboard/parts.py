"""Records that separate jobs left of one run (``--condition clean``, then ``--condition sym-40``), put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from kdbench.leaderboard.alike import why_not_alike
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record
from kdbench.specs import Suite

Place = tuple[str, str]
"""A condition and a task."""
Owners = Mapping[Place, Evidence]
"""Which part's measurement of a place counts."""


def joined(runs: Sequence[Evidence]) -> Evidence | None:
    """The whole run that several records of one seed make up; None where the first is whole, or all together are not.

    Of two records that measured the same task under the same condition the first counts. A failed part makes the run a
    failed one, as it would have been in one job.

    Args:
        runs: of one method, parameters and seed, the preferred one first.
    """
    whole = planned(runs[0].record.spec.suite)
    if whole <= measured(runs[0].record):
        return None
    owners: dict[Place, Evidence] = {}
    parts: list[Evidence] = []
    for run in runs:
        own = measured(run.record)
        part = not whole <= own and not own <= owners.keys()
        if part and all(_fit(run.record, other.record) for other in parts):
            parts.append(run)
            owners = {**dict.fromkeys(own, run), **owners}
    return _join(parts, owners) if whole <= owners.keys() else None


def planned(suite: Suite) -> set[Place]:
    """What a whole run of a suite measures."""
    places = {(condition, task) for condition in suite.conditions for task in suite.tasks}
    return {place for place in places if suite.plans(place[1], place[0])}


def measured(record: Record) -> set[Place]:
    """What a record says it has measured."""
    spec = record.spec
    return {(condition, task) for condition in spec.params for task in spec.tasks if spec.suite.plans(task, condition)}


def _fit(one: Record, other: Record) -> bool:
    """Whether one job could have left both: method, networks, device and images are the same where both have them."""
    students = ({name: found.sha256 for name, found in record.hashes.students.items()} for record in (one, other))
    return (
        not why_not_alike(one, other)
        and one.provenance.device == other.provenance.device
        and _agree(one.spec.trainings, other.spec.trainings)
        and _agree(one.spec.tasks, other.spec.tasks)
        and _agree(one.spec.datasets, other.spec.datasets)
        and _agree(one.views, other.views)
        and _agree(one.hashes.subsets, other.hashes.subsets)
        # One training on two machines gives two networks, and no seed's scores are of both.
        and _agree(*students)
    )


def _agree(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _join(parts: Sequence[Evidence], owners: Owners) -> Evidence:
    """Every measurement once, from the part that owns it."""
    record = _record(parts, owners)
    trained = _union(dict.fromkeys(part.record.spec.recipes, part) for part in parts)
    logs = [entry for part in parts for entry in part.log or () if trained.get(str(entry.get("condition"))) is part]
    kept = {name: part for part in parts for name in part.predictions or () if _keeps(part, name, owners)}
    ids = ", ".join(part.record.run_id for part in parts)
    return Evidence(
        record,
        parts[0].path,
        tuple(logs) if any(part.log is not None for part in parts) else None,
        _Predictions(kept) if any(part.predictions is not None for part in parts) else None,
        tuple(f"{note} (run {part.record.run_id})" for part in parts for note in part.notes),
        remarks=(f"from {len(parts)} records of separate jobs: {ids}", *(r for part in parts for r in part.remarks)),
        parts=tuple(parts),
    )


def _record(parts: Sequence[Evidence], owners: Owners) -> Record:
    """What one job would have left, but for fingerprints and for hashes of evidence, which lies beside the parts.
    Provenance is that of the first: who asks for machines and times asks the parts."""
    records = [part.record for part in parts]
    specs, hashes = [record.spec for record in records], [record.hashes for record in records]
    order = list(specs[0].suite.conditions)
    spec = specs[0].model_copy(
        update={
            "params": _in_order(order, _union(spec.params for spec in specs)),
            "recipes": _in_order(order, _union(spec.recipes for spec in specs)),
            "trainings": _union(spec.trainings for spec in specs),
            "tasks": dict(sorted(_union(spec.tasks for spec in specs).items())),
            "datasets": _union(spec.datasets for spec in specs),
        }
    )
    errors = [record.error for record in records if record.error is not None]
    return records[0].model_copy(
        update={
            "run_id": spec.run_id,
            "status": "failed" if errors else "finished",
            "error": "; ".join(errors) or None,
            "budget": "extended" if any(record.budget == "extended" for record in records) else "standard",
            "spec": spec,
            "fingerprint": None,
            "views": _in_order(order, _union(record.views for record in records)),
            "scores": [
                one for part in parts for one in part.record.scores if _owns(part, one.condition, [one.task], owners)
            ],
            "checks": [
                one for part in parts for one in part.record.checks if _owns(part, one.condition, one.flags, owners)
            ],
            "hashes": hashes[0].model_copy(
                update={
                    "datasets": _union(one.datasets for one in hashes),
                    "sources": _union(one.sources for one in hashes),
                    "label_noise": _in_order(order, _union(one.label_noise for one in hashes)),
                    "students": _in_order(order, _union(one.students for one in hashes)),
                    "networks": _union(one.networks for one in hashes),
                    "subsets": _union(one.subsets for one in hashes),
                    "evidence": {},
                }
            ),
        }
    )


def _union(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All of them; of the same name the first."""
    found: dict[str, Any] = {}
    for value in values:
        found = {**value, **found}
    return found


def _in_order(order: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in order if name in values}


def _owns(part: Evidence, condition: str, tasks: Iterable[str], owners: Owners) -> bool:
    """Whether a part's measurement counts for any of these tasks under a condition."""
    return any(owners.get((condition, task)) is part for task in tasks)


def _keeps(part: Evidence, name: str, owners: Owners) -> bool:
    """Whether a part's per-example results ``<condition>/<task>/<name>`` count."""
    condition, *task = name.split("/")[:2]
    return _owns(part, condition, task, owners)


class _Predictions(Mapping[str, NDArray[Any]]):
    """Per-example results of several records under their own names, each read from where it lies."""

    def __init__(self, parts: Mapping[str, Evidence]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> NDArray[Any]:
        return (self._parts[name].predictions or {})[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
