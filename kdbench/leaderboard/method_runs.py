"""The runs that one row averages: one method with one setting of its parameters and one source, one run per seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.leaderboard.alike import why_not_alike
from kdbench.leaderboard.installed import installed_method
from kdbench.leaderboard.parts import Place, joined, measured, planned
from kdbench.leaderboard.staleness import marked
from kdbench.results.evidence import Evidence, Excluded, exclude


@dataclasses.dataclass(frozen=True)
class MethodRuns:
    """The runs of one row."""

    method: str
    params: Mapping[str, Any]
    """As the user gave them."""
    finished: tuple[Evidence, ...]
    """By seed, one per seed."""
    failed: tuple[Evidence, ...]
    """The same of runs that diverged."""

    @property
    def title(self) -> str:
        """The method's name, and the parameters that were given."""
        given = ", ".join(f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(self.params.items()))
        return f"{self.method} ({given})" if given else self.method


def by_method(runs: Sequence[Evidence]) -> tuple[list[MethodRuns], list[Excluded]]:
    """Runs by method and parameters as given; excluded are runs of another source, unless it computes the
    same, and all but one run of a seed."""
    by_row: dict[tuple[str, str], list[Evidence]] = {}
    for run in runs:
        params = json.dumps(run.record.params_passed, sort_keys=True)
        by_row.setdefault((run.record.spec.method, params), []).append(run)
    methods: list[MethodRuns] = []
    excluded: list[Excluded] = []
    for (method, _), same in sorted(by_row.items()):
        of_one_source, of_others = _of_one_source(same)
        kept, repeated = _one_per_seed([marked(run) for run in of_one_source])
        finished = tuple(run for run in kept if run.record.status == "finished")
        failed = tuple(run for run in kept if run.record.status == "failed")
        methods.append(MethodRuns(method, same[0].record.params_passed, finished, failed))
        excluded += [*of_others, *repeated]
    return methods, excluded


def _of_one_source(runs: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """The runs of the method as it is installed here, else as it was last run; but a source with which all that the
    suite plans was measured is preferred to one with parts alone."""
    spec = installed_method(runs[0].record.spec.method)
    here = spec.source if spec is not None else ""
    places: dict[str, set[Place]] = {}
    for run in runs:
        places.setdefault(run.record.spec.method_source, set()).update(measured(run.record))

    def preference(run: Evidence) -> tuple[bool, bool, str]:
        source = run.record.spec.method_source
        return planned(run.record.spec.suite) <= places[source], source == here, run.record.provenance.finished

    ranked = max(runs, key=preference)
    reasons = [(run, why_not_alike(run.record, ranked.record)) for run in runs]
    return [run for run, reason in reasons if not reason], [exclude(run, reason) for run, reason in reasons if reason]


def _one_per_seed(runs: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """By seed. Of several with the same one: the whole run that they are parts of, else the finished one, with more
    scores, that is newer."""

    def preference(run: Evidence) -> tuple[bool, int, str, str]:
        record = run.record
        return record.status == "finished", len(record.scores), record.provenance.finished, record.run_id

    by_seed: dict[int, list[Evidence]] = {}
    for run in runs:
        by_seed.setdefault(run.record.spec.seed, []).append(run)
    kept: list[Evidence] = []
    excluded: list[Excluded] = []
    for seed, same in sorted(by_seed.items()):
        ordered = sorted(same, key=preference, reverse=True)
        best = joined(ordered) or ordered[0]
        kept.append(best)
        ids = [run.record.run_id for run in best.sources]
        reason = f"seed {seed} once more: run {' and '.join(ids)} {'counts' if len(ids) == 1 else 'count'}"
        excluded += [exclude(run, reason) for run in same if all(run is not one for one in best.sources)]
    return kept, excluded
