"""A reproduction from its cells to its verdicts: planned, what is missing run, records read, judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from kdbench.claims.reproduction import machine_of
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.reproducing.figures import check_figure
from kdbench.reproducing.gathering import read_folders, read_run, runs_of
from kdbench.reproducing.judging import Point, judge, pairs, points
from kdbench.reproducing.outcome import Outcome, SuiteUsed
from kdbench.reproducing.planning import Job, make_studies, plan_jobs
from kdbench.reproducing.reading import read_reproduction
from kdbench.reproducing.reproduction import Reproduction, Scale
from kdbench.reproducing.trying import try_measures
from kdbench.results.evidence import Evidence
from kdbench.running import provenance
from kdbench.running.existing import Existing
from kdbench.running.options import RunOptions, run_folder
from kdbench.specs import RunSpec
from kdbench.studies.executors import make_executor
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.schedule import Executor
from kdbench.studies.sweep import Standing, plan_study

Work = Callable[[StudyFolder, StudyPlan, Executor], Standing]
"""What works a planned study off."""


@dataclasses.dataclass(frozen=True)
class Ready:
    """A reproduction at a scale, all of it looked up."""

    reproduction: Reproduction
    scale: Scale
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]
    plugins: Plugins

    @classmethod
    def make(cls, name: str, scale: str, seeds: Sequence[int] | None = None) -> Ready:
        """Look it up; ``seeds`` replaces the scale's own.

        Raises:
            KdbenchError: no such reproduction or scale, or a cell that can't be measured with what is installed.
        """
        plugins = load_plugins()
        reproduction = read_reproduction(plugins.reproductions.get(name))
        setting = reproduction.at(scale)
        check_figure(reproduction, scale)
        jobs = plan_jobs(reproduction, scale, plugins)
        return cls(reproduction, cast(Scale, scale), tuple(seeds or setting.seeds), tuple(jobs), plugins)

    @property
    def suites(self) -> list[str]:
        """Names, each once."""
        return list(dict.fromkeys(job.suite.name for job in self.jobs))

    def judge(self, evidence: Sequence[Evidence], started: str, device: Any) -> tuple[Outcome, list[Point]]:
        """The verdicts from records, and the numbers with all that is known of each."""
        found = {place: runs_of(job, evidence, job.wish.seeds(self.seeds)) for place, job in enumerate(self.jobs)}
        numbers = points(self.reproduction, self.scale, self.jobs, found)
        used = {(job.suite.label, job.suite.version) for job in self.jobs}
        runs = [run for same, _ in found.values() for run in same]
        item = self.reproduction
        outcome = Outcome(
            id=item.id,
            paper=item.paper,
            title=item.title,
            known=list(item.known),
            scale=self.scale,
            suites=[SuiteUsed(label=label, version=version) for label, version in sorted(used)],
            seeds=list(self.seeds),
            numbers=[judge(point, self.scale) for point in numbers],
            pairs=pairs(item, numbers),
            hardware=sorted({machine_of(run.record.provenance) for run in runs}),
            provenance=provenance.collect(plugins=self.plugins.loaded, device=device, started=started, seconds={}),
        )
        return outcome, numbers


class Planned:
    """The studies of a reproduction, and which runs there already stand in the place of planned ones."""

    def __init__(self, ready: Ready, options: RunOptions, **engine: Any) -> None:
        """``engine``: as for ``make_studies``.

        Raises:
            KdbenchError: as ``plan_study`` does; nothing was trained.
        """
        self.ready, self.options = ready, options
        self.found: list[Evidence] = []
        self.studies: list[tuple[StudyFolder, StudyPlan]] = []
        self._paths: list[Path] = []
        existing = Existing(options.out, ready.suites)

        def wanted(spec: RunSpec) -> bool:
            there = existing.find(spec)
            if there is None:
                self._paths.append(run_folder(spec, options.out) / "record.json")
            else:
                self.found.append(there)
            return there is None

        try_measures(ready.reproduction.id, ready.jobs, options)
        for study in make_studies(ready.reproduction, ready.scale, ready.jobs, ready.seeds, **engine):
            folder = StudyFolder(options.out, study.name)
            self.studies.append((folder, plan_study(study, options, wanted=wanted)))

    def run(self, work: Work) -> list[Standing]:
        """Do what is missing; every engine is made before anything starts."""
        open_ = [(folder, plan) for folder, plan in self.studies if plan.nodes]
        engines = [make_executor(folder, plan.study, self.options) for folder, plan in open_]
        return [work(folder, plan, engine) for (folder, plan), engine in zip(open_, engines, strict=True)]

    def evidence(self) -> list[Evidence]:
        """The records of all its runs, as far as they were made."""
        made = [read_run(path) for path in dict.fromkeys(self._paths)]
        return [*self.found, *(run for run in made if run is not None)]


def from_folders(ready: Ready, folders: Sequence[Path]) -> list[Evidence]:
    """Records from elsewhere in place of runs.

    Raises:
        KdbenchError: there is no such folder, or none of its records is of the reproduction's suites.
    """
    evidence = read_folders(folders)
    if not any(run.record.spec.suite.name in ready.suites for run in evidence):
        raise KdbenchError(
            f"{' and '.join(map(str, folders))}: {len(evidence)} records, none of suite {' or '.join(ready.suites)}",
            f"name a folder of records for scale {ready.scale}",
        )
    return evidence
