"""Finished runs of a folder, which stand in the place of planned ones that would measure no more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from kdbench.results.evidence import Evidence
from kdbench.results.store import read_records
from kdbench.running.options import RECORD, is_finished
from kdbench.specs import RunSpec


class Existing:
    """Finished runs of a folder that have all that a planned run would measure, and can stand in its place."""

    def __init__(self, folder: Path, suites: Iterable[str]) -> None:
        there = [folder / suite for suite in dict.fromkeys(suites) if (folder / suite).is_dir()]
        self._runs = [run for place in there for run in read_records(place)[0] if run.record.status == "finished"]

    def find(self, planned: RunSpec) -> Evidence | None:
        """One that trained the same networks, and measured the same under more conditions, or with more tasks, and
        whose files are whole."""
        fit = (run for run in self._runs if covers(run.record.spec, planned))
        return next((run for run in fit if run.path.name != RECORD or is_finished(run.path.parent)), None)


def covers(found: RunSpec, planned: RunSpec) -> bool:
    """Whether a run has at least what another would have: the same seed, source, parameters and suite, and of
    trainings, tasks and data the same and perhaps more."""

    if not (
        (found.method, found.seed, found.method_source) == (planned.method, planned.seed, planned.method_source)
        and found.trainings.items() >= planned.trainings.items()
        and found.tasks.items() >= planned.tasks.items()
        and found.datasets.items() >= planned.datasets.items()
    ):
        return False
    ours, theirs = (json.loads(one.canonical_json()) for one in (found, planned))
    alike = all(ours[key] == theirs[key] for key in ("suite", "corruption_images"))
    return alike and bool(ours["params"].items() >= theirs["params"].items())
