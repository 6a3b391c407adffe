"""Which records have the numbers of a reproduction: those of its runs, or of a folder of records from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from kdbench.leaderboard.genuine import why_foreign
from kdbench.leaderboard.grouping import other_suite
from kdbench.reproducing.planning import Job
from kdbench.results.evidence import Evidence
from kdbench.results.record import read_record
from kdbench.results.store import read_records
from kdbench.specs import Suite


def read_run(path: Path) -> Evidence | None:
    """A run's record with what lies beside it, None where it was not made yet."""
    return Evidence.of(read_record(path), path) if path.exists() else None


def runs_of(job: Job, evidence: Iterable[Evidence], seeds: Collection[int]) -> tuple[list[Evidence], list[str]]:
    """The runs that a job means, by seed: of its suite, method and resolved parameters under its condition; and why
    others that say so are left out (``unfit``), where their seed has no run.

    Of several with one seed: a finished one, of the method as it is installed, with the cell's task, the newest.
    """
    wanted = _plain(job.plan.params[job.condition])
    spec = job.plan.plugins.methods.get(job.plan.method)

    def preference(run: Evidence) -> tuple[bool, bool, bool, str]:
        record = run.record
        measured = any(score.task == job.cell.task for score in record.scores)
        return (
            record.status == "finished", record.spec.method_source == spec.source, measured, record.provenance.finished
        )  # fmt: skip

    by_seed: dict[int, list[Evidence]] = {}
    left: dict[int, str] = {}
    for run in evidence:
        own = run.record.spec
        if (
            (own.suite.label, own.method) == (job.suite.label, spec.name)
            and own.seed in seeds
            and job.condition in own.params
            and _plain(own.params[job.condition]) == wanted
            and run.record.evaluated is None
        ):
            why = unfit(run, job)
            if why:
                left.setdefault(own.seed, why)
            else:
                by_seed.setdefault(own.seed, []).append(run)
    found = [max(same, key=preference) for _, same in sorted(by_seed.items())]
    missing = {seed: left[seed] for seed in sorted(left.keys() - by_seed.keys())}
    return found, [
        f"seed {', '.join(str(seed) for seed in missing if missing[seed] == why)} left out: {why}"
        for why in dict.fromkeys(missing.values())
    ]


def unfit(run: Evidence, job: Job) -> str:
    """Why a record is not of a job's experiment, though its names say so; "" where it is. No leaderboard ranks such a
    record beside those that are."""
    spec, task = run.record.spec, job.cell.task
    if why := why_foreign(run.record) or other_suite(_for_task(spec.suite, task), _for_task(job.suite, task)):
        return why
    here = job.plan.tasks[task][0].version if task else None
    found = spec.tasks.get(task, here)
    return "" if found == here else f"version {found} of task {task}; here it is {here}"


def _for_task(suite: Suite, task: str) -> Suite:
    """Without its plans of other tasks, which change nothing for this one."""
    return suite.model_copy(update={"tasks": {name: plan for name, plan in suite.tasks.items() if name == task}})


def _plain(params: Any) -> str:
    return json.dumps(params, sort_keys=True)


def read_folders(folders: Sequence[Path]) -> list[Evidence]:
    """All records of folders, each once."""
    return [run for folder in folders for run in read_records(folder)[0]]
