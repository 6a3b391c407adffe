"""One run: a method at one seed through a suite's conditions and tasks, to a record."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdbench import provenance
from kdbench.checkpoint import write_atomically
from kdbench.data import DataPlace
from kdbench.devices import resolve_device
from kdbench.errors import KdbenchError
from kdbench.evaluation import Materials, Outcome, chosen_tasks, load_materials, run_task, trainings_folder
from kdbench.graph import RunGraph, Trained
from kdbench.plugins import Plugins, load_plugins
from kdbench.progress import bar
from kdbench.records import Hashes, Record, Score, TrainedNetwork, read_record
from kdbench.specs import RunSpec, Suite
from kdbench.suites import load_suite
from kdbench.tasks import EvaluationContext, Task
from kdbench.training import TrainingDivergedError


def run(
    suite: str = "digits",
    method: str = "ce",
    *,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    conditions: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    fresh: bool = False,
    download: bool = True,
    progress: bool = False,
) -> Record:
    """Train ``method`` under a suite's conditions, measure it on the suite's tasks, and write the record.

    The record lies at ``<out>/<suite>/<method>/<run_id>/record.json``. A finished run of the same specification is
    returned as it is; ``fresh`` trains and measures it anew (shared teachers are kept). An interrupted one goes on.
    Data that are nowhere under ``data_dir`` are downloaded, unless ``download`` is false.
    Raises ``KdbenchError`` for every mistake in what was asked, before anything is trained.
    """
    started, clock = provenance.utc_now(), time.perf_counter()
    plugins, setting = load_plugins(), load_suite(suite)
    plan = _Plan.make(setting, plugins, method, dict(params or {}), conditions, tasks)
    where = resolve_device(device)
    _check_writable(Path(out))
    place = DataPlace.default(data_dir, download=download, progress=progress)
    materials = load_materials(setting, plugins, place, ood="ood" in plan.tasks)
    spec = plan.spec(materials, seed)
    folder = Path(out) / setting.name / method / spec.run_id
    finished = folder / "record.json"
    if finished.exists() and not fresh:
        return read_record(finished)
    graph = RunGraph(setting, materials.dataset, plugins, trainings_folder(Path(out), setting), where, progress)
    job = _Job(plan, spec, materials, graph, folder, fresh, started, {"data": time.perf_counter() - clock})
    record = job.work()
    for failure in plugins.record_written(record, finished):
        warnings.warn(f"observer {failure.plugin} of {failure.origin} failed: {failure.error}", stacklevel=2)
    return record


def record_path(record: Record, out: str | Path = "runs") -> Path:
    """Where ``run`` keeps a record."""
    return Path(out) / record.spec.suite.name / record.spec.method / record.run_id / "record.json"


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise KdbenchError(f"cannot write to {out}: {error.strerror}", "name another folder with --out") from None


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What was asked for, checked: every name exists and every value is in its range."""

    suite: Suite
    plugins: Plugins
    method: str
    passed: dict[str, Any]
    params: dict[str, dict[str, Any]]
    tasks: dict[str, tuple[Task, Any]]

    @classmethod
    def make(
        cls,
        suite: Suite,
        plugins: Plugins,
        method: str,
        passed: dict[str, Any],
        conditions: Iterable[str] | None,
        tasks: Iterable[str] | None,
    ) -> _Plan:
        spec = plugins.methods.get(method)
        spec.validate(passed)
        chosen = chosen_tasks(suite, plugins, None if tasks is None else list(tasks))
        names = list(suite.conditions) if conditions is None else list(dict.fromkeys(conditions))
        for model in [suite.student, *(network.model for network in suite.networks.values())]:
            plugins.models.get(model)
        roles = {*spec.needs, *(role for task, settings in chosen.values() for role in task.sources(settings))}
        for role in sorted(roles):
            plugins.methods.get(suite.network(role).method)
        params = {}
        for name in names:
            condition = suite.condition(name)
            if condition.noise:
                plugins.label_noises.get(condition.noise.kind)
            params[name], _ = spec.resolve(passed, suite=suite.name, dataset=suite.dataset, condition=condition)
        plan = cls(suite, plugins, method, passed, params, chosen)
        idle = [name for name in chosen if not any(name in plan.tasks_of(condition) for condition in names)]
        if tasks is not None and idle:
            raise KdbenchError(
                f"task '{idle[0]}' does not apply to condition {', '.join(names)}", "name a condition it is meant for"
            )
        return plan

    def tasks_of(self, condition: str) -> dict[str, tuple[Task, Any]]:
        """The tasks to run on the student of a condition."""
        setting = self.suite.condition(condition)
        planned = {name: self.suite.tasks[name].conditions if name in self.suite.tasks else None for name in self.tasks}
        return {
            name: chosen
            for name, chosen in self.tasks.items()
            if chosen[0].applies(setting) and condition in (planned[name] or (condition,))
        }

    def spec(self, materials: Materials, seed: int) -> RunSpec:
        """The run as a value with a hash."""
        return RunSpec(
            suite=self.suite,
            method=self.method,
            method_source=self.plugins.methods.get(self.method).source,
            params=self.params,
            seed=seed,
            tasks={name: task.version for name, (task, _) in sorted(self.tasks.items())},
            datasets=materials.hashes(),
        )


@dataclasses.dataclass
class _Job:
    """One run on its way to a record."""

    plan: _Plan
    spec: RunSpec
    materials: Materials
    graph: RunGraph
    folder: Path
    fresh: bool
    started: str
    seconds: dict[str, float]
    students: dict[str, TrainedNetwork] = dataclasses.field(default_factory=dict)
    networks: dict[str, TrainedNetwork] = dataclasses.field(default_factory=dict)
    outcomes: dict[tuple[str, str], Outcome] = dataclasses.field(default_factory=dict)

    def work(self) -> Record:
        """Train and measure each condition, then write everything."""
        if self.fresh and (self.folder / "record.json").exists():
            os.replace(self.folder / "record.json", self.folder / "record.previous.json")
            shutil.rmtree(self.folder / "partial", ignore_errors=True)
        error = None
        log: list[dict[str, Any]] = []
        for condition in self.spec.params:
            try:
                log += self._condition(condition)
            except TrainingDivergedError as diverged:
                error = f"condition {condition}: {diverged}"
                break
        return self._write(error, log)

    def _condition(self, condition: str) -> list[dict[str, Any]]:
        """Train and measure one student; returns its training log."""
        spec = self.graph.student(condition, self.spec.method, self.plan.passed, self.spec.seed)
        tasks = self.plan.tasks_of(condition)
        roles = {*spec.needs, *(role for task, settings in tasks.values() for role in task.sources(settings))}
        shared = {}
        for role in sorted(roles):
            shared[role] = self._ensure(condition, role, lambda role=role: self.graph.shared(condition, [role])[role])
            self.networks[f"{condition}/{role}"] = shared[role].describe()
        student = self._ensure(
            condition, "student", lambda: self.graph.ensure(spec, condition, self.spec.method, fresh=self.fresh)
        )
        self.students[condition] = student.describe()
        self._keep_checkpoint(student, condition)
        self._measure(condition, student, shared, tasks)
        return [{"condition": condition, **entry} for entry in student.log()]

    def _ensure(self, condition: str, name: str, train: Any) -> Trained:
        clock = time.perf_counter()
        trained: Trained = train()
        self.seconds[f"train/{condition}/{name}"] = time.perf_counter() - clock
        return trained

    def _keep_checkpoint(self, student: Trained, condition: str) -> None:
        """The run folder holds its own copy, so that it can be moved and published whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"checkpoint-{condition}.safetensors"
        write_atomically(target, student.checkpoint.read_bytes())

    def _measure(
        self, condition: str, student: Trained, shared: Mapping[str, Trained], tasks: Mapping[str, tuple[Task, Any]]
    ) -> None:
        predictor = self.graph.load(student)
        sources = {role: self.graph.load(trained) for role, trained in shared.items()}
        ctx = EvaluationContext(condition, self.graph.device, None, networks=sources)
        for name, (task, settings) in tasks.items():
            store = _Partial(self.folder / "partial", condition, name, self._inputs(condition, shared))
            outcome = store.load()
            if outcome is None:
                with bar(f"measure {name} ({condition})", shown=self.graph.progress) as update:
                    step = dataclasses.replace(ctx, advance=functools.partial(update, note=""))
                    outcome = run_task(task, settings, predictor, self.materials.test, step)
                store.save(outcome)
            self.outcomes[condition, name] = outcome
            self.seconds[f"evaluate/{condition}/{name}"] = outcome.seconds

    def _inputs(self, condition: str, shared: Mapping[str, Trained]) -> dict[str, str]:
        """What a finished measurement depended on, beside the run's own specification."""
        roles = {role: self.networks[f"{condition}/{role}"].sha256 for role in shared}
        return {"student": self.students[condition].sha256, "device": self.graph.device.type, **roles}

    def _write(self, error: str | None, log: Sequence[Mapping[str, Any]]) -> Record:
        """Everything that belongs to the run, the record last, as its being there says that the run is finished."""
        correct = {
            f"{condition}/{task}/{name}": values.numpy()
            for (condition, task), outcome in self.outcomes.items()
            for name, values in outcome.correct.items()
        }
        write_atomically(self.folder / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in log).encode())
        _save_arrays(self.folder / "predictions.npz", correct)
        scores: list[Score] = [score for outcome in self.outcomes.values() for score in outcome.scores]
        noises = {name: self.graph.train_set(self.plan.suite.condition(name))[1] for name in self.spec.params}
        plugins = self.plan.plugins
        record = Record(
            run_id=self.spec.run_id,
            status="failed" if error else "finished",
            error=error,
            spec=self.spec,
            params_passed=self.plan.passed,
            scores=scores,
            provenance=provenance.collect(
                plugins=plugins.loaded, device=self.graph.device, started=self.started, seconds=self.seconds
            ),
            hashes=Hashes(
                datasets=self.materials.hashes(),
                sources=self.materials.sources(),
                label_noise={name: facts for name, facts in noises.items() if facts},
                students=self.students,
                networks=self.networks,
                subsets={task: value for outcome in self.outcomes.values() for task, value in outcome.subsets.items()},
            ),
        )
        record.write(self.folder / "record.json")
        shutil.rmtree(self.folder / "partial", ignore_errors=True)
        return record


@dataclasses.dataclass(frozen=True)
class _Partial:
    """A finished measurement of an unfinished run, kept so that an interruption costs one task at most."""

    folder: Path
    condition: str
    task: str
    inputs: Mapping[str, str]

    def load(self) -> Outcome | None:
        text, arrays = self._paths()
        if not text.exists() or not arrays.exists():
            return None
        stored = json.loads(text.read_text())
        if stored["inputs"] != dict(self.inputs):
            return None
        scores = [Score.model_validate_json(json.dumps(score)) for score in stored["scores"]]
        with np.load(arrays) as file:
            correct = {name: torch.from_numpy(file[name]) for name in file.files}
        return Outcome(scores, correct, stored["subsets"], stored["seconds"])

    def save(self, outcome: Outcome) -> None:
        text, arrays = self._paths()
        _save_arrays(arrays, {name: _numpy(values) for name, values in outcome.correct.items()})
        stored = {
            "inputs": dict(self.inputs),
            "scores": [score.model_dump(mode="json") for score in outcome.scores],
            "subsets": outcome.subsets,
            "seconds": outcome.seconds,
        }
        write_atomically(text, json.dumps(stored).encode())

    def _paths(self) -> tuple[Path, Path]:
        stem = f"{self.condition}-{self.task}"
        return self.folder / f"{stem}.json", self.folder / f"{stem}.npz"


def _numpy(values: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = values.numpy()
    return array


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]  # numpy types the keywords as its options
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
