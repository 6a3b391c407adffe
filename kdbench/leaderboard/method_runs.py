"""The runs that one row averages: one method with one setting of its parameters and one source, one run per seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.leaderboard.installed import installed_method
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.untrusted import plain


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
    """Runs by method and parameters as given; excluded are runs of another source, and all but one run of a seed."""
    by_row: dict[tuple[str, str], list[Evidence]] = {}
    for run in runs:
        params = json.dumps(run.record.params_passed, sort_keys=True)
        by_row.setdefault((run.record.spec.method, params), []).append(run)
    methods: list[MethodRuns] = []
    excluded: list[Excluded] = []
    for (method, _), same in sorted(by_row.items()):
        of_one_source, of_others = _of_one_source(same)
        kept, repeated = _one_per_seed(of_one_source)
        finished = tuple(run for run in kept if run.record.status == "finished")
        failed = tuple(run for run in kept if run.record.status == "failed")
        methods.append(MethodRuns(method, same[0].record.params_passed, finished, failed))
        excluded += [*of_others, *repeated]
    return methods, excluded


def _of_one_source(runs: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """The runs of the method as it is installed here, else as it was last run."""
    spec = installed_method(runs[0].record.spec.method)
    here = spec.source if spec is not None else ""
    ranked = max(runs, key=lambda run: (run.record.spec.method_source == here, run.record.provenance.finished))
    reasons = [(run, _why_not_averaged(run, ranked)) for run in runs]
    return [run for run, reason in reasons if not reason], [exclude(run, reason) for run, reason in reasons if reason]


def _why_not_averaged(run: Evidence, ranked: Evidence) -> str:
    """Why a run is not of the same method as the one that is ranked, "" if it is."""
    ours, theirs = ranked.record.spec, run.record.spec
    if ours.method_source != theirs.method_source:
        return f"another source of method {plain(theirs.method)} than the one that is ranked"
    for condition in ours.params.keys() & theirs.params.keys():
        if ours.params[condition] != theirs.params[condition]:
            return f"other resolved parameters under condition {plain(condition)} than the ones that are ranked"
        if ours.recipes.get(condition) != theirs.recipes.get(condition):
            return f"another training recipe under condition {plain(condition)} than the one that is ranked"
    if ranked.record.checkpoint_rule != run.record.checkpoint_rule:
        return f"checkpoint rule {run.record.checkpoint_rule}; here it is {ranked.record.checkpoint_rule}"
    return ""


def _one_per_seed(runs: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """By seed; of two with the same one, the finished one, with more scores, that is newer."""

    def preference(run: Evidence) -> tuple[bool, int, str, str]:
        record = run.record
        return record.status == "finished", len(record.scores), record.provenance.finished, record.run_id

    by_seed: dict[int, list[Evidence]] = {}
    for run in runs:
        by_seed.setdefault(run.record.spec.seed, []).append(run)
    kept: list[Evidence] = []
    excluded: list[Excluded] = []
    for seed, same in sorted(by_seed.items()):
        best = max(same, key=preference)
        kept.append(best)
        reason = f"seed {seed} once more: run {best.record.run_id} counts"
        excluded += [exclude(run, reason) for run in same if run is not best]
    return kept, excluded
