"""One run: a method at one seed through a suite's conditions and tasks, to a record."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.devices import reset_peak_memory
from kdbench.errors import KdbenchError
from kdbench.files import arrays_bytes, check_writable, writing
from kdbench.inference.prediction import NotFiniteError, folded_copy
from kdbench.locks import locked
from kdbench.plugin.loader import load_plugins
from kdbench.progress import bar, say
from kdbench.results.evidence import PREDICTIONS
from kdbench.results.record import Check, Fingerprint, Hashes, Record, Score, TrainedNetwork, read_record
from kdbench.running import provenance
from kdbench.running.begun import BEGUN, Begun, Part
from kdbench.running.dry_run import dry_run
from kdbench.running.evaluation import TaskResult, check_batches, check_tasks, run_task
from kdbench.running.fingerprint import plan_fingerprint
from kdbench.running.finished import Done, finished_notes
from kdbench.running.graph import RunGraph, Trained, is_mistake
from kdbench.running.isolated.client import words
from kdbench.running.isolated.runs import plugins_apart, run_apart
from kdbench.running.kept_examples import KeptExamples
from kdbench.running.observers import tell_observers
from kdbench.running.options import (
    CRASH,
    PREVIOUS,
    RECORD,
    RunOptions,
    checkpoint_name,
    is_finished,
    mend_run,
    run_folder,
    softmax_name,
)
from kdbench.running.partials import Partial
from kdbench.running.plan import Plan
from kdbench.running.suite_data import SuiteData, load_suite_data, needed_data
from kdbench.running.time_limit import TookTooLongError, time_limit
from kdbench.running.tracking import Tracking, chosen_trackers
from kdbench.sealed import FRESH, PARTS, Sealed, mend
from kdbench.shared_state import left_alone
from kdbench.specs import RunSpec, Suite, Training
from kdbench.suites import load_suite
from kdbench.suites.changes import with_changes
from kdbench.tasks import EvaluationContext
from kdbench.torch_state import exclusive
from kdbench.training.checkpoint import checkpoint_bytes, load_checkpoint
from kdbench.training.log import LOG, log_bytes, read_log
from kdbench.training.loop import TrainingDivergedError
from kdbench.training.monitor import SOFTMAX


@exclusive()
def run(
    suite: str | Suite = "digits",
    method: str = "ce",
    *,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    conditions: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    attacks: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    fresh: bool = False,
    download: bool = True,
    track: Iterable[str] = (),
    progress: bool = False,
    compile: bool = True,
    timeout: float | None = None,
) -> Record:
    """Train ``method`` under a suite's conditions, measure it on the suite's tasks, and write the record.

    The record lies at ``<out>/<suite>/<method>/<run_id>/record.json``. A finished run of the same specification is
    returned as it is, with a note where another machine, other threads or versions made it; ``fresh`` trains and
    measures it again (shared teachers are kept). An interrupted one goes on.
    ``changes`` sets values of the suite by hand, ``{"recipe.epochs": 30}``: another setting, which the record states.
    ``attacks`` adds the task ``attack`` with attacks of these names, under the conditions that have ``pgd``. Without
    ``conditions`` nothing is trained under one to which none of ``tasks`` applies.
    Data that are nowhere under ``data_dir`` are downloaded, unless ``download`` is false. ``track`` names trackers,
    such as ``tensorboard``, which get the student's log epoch by epoch and the scores; also of a finished run.
    Networks of long trainings on a GPU are compiled, unless ``compile`` is false. ``timeout``: minutes after which the
    run ends as a failed one.
    In threads one run goes on at a time, and others wait. Raises ``KdbenchError`` for every mistake in what was asked,
    before anything is trained. A training that diverges, and a method or task that raises, leave a failed record with
    the error; the second is tried again by the next call, and goes on from the last epoch.
    """
    setting = with_changes(load_suite(suite), changes or {})
    plan = Plan.make(setting, load_plugins(), method, dict(params or {}), conditions, tasks, attacks)
    options = RunOptions.make(
        data_dir=data_dir, device=device, out=out, download=download, progress=progress, compile=compile,
        timeout=timeout,
    )  # fmt: skip
    return run_plan(plan, seed, options, fresh=fresh, track=track)


@exclusive()
def run_plan(plan: Plan, seed: int, options: RunOptions, *, fresh: bool = False, track: Iterable[str] = ()) -> Record:
    """``run`` of what was planned already: here, or in a process of its own where third parties' plugins are loaded."""
    track = [one.name for one in chosen_trackers(track, plan.plugins.trackers)]
    apart = plugins_apart(plan, track)
    if apart is None:
        done = run_here(plan, seed, options, fresh=fresh, track=track)
    else:
        path, whole = run_apart(plan, seed, options, fresh=fresh, track=track, plugins=apart)
        done = Done(read_record(path), path, whole)
    if not done.whole:
        tell_observers(plan.plugins, done.record, done.path)
    return done.record


def run_here(
    plan: Plan, seed: int, options: RunOptions, *, fresh: bool, track: Iterable[str], died: str | None = None
) -> Done:
    """A run in this process.

    Args:
        died: how the process ended that was to do it: the record says so, and nothing else is done.
    """
    started, clock = provenance.utc_now(), time.perf_counter()
    provenance.commit()  # read now: the checkout may change while the run goes on
    suite, plugins = plan.suite, plan.plugins
    trackers = chosen_trackers(track, plugins.trackers)
    try:
        with time_limit(options.timeout):
            suite_data = load_suite_data(suite, plugins, options.place, **needed_data(plan.tasks.values()))
    except TookTooLongError as late:
        raise KdbenchError(f"the data of suite '{suite.name}' were not loaded: {late}", "allow more") from None
    check_tasks(plan.tasks, suite_data.dataset.facts)
    graph = RunGraph(suite, suite_data.dataset, plugins, options)
    spec = plan.spec(suite_data, graph, seed)
    folder = run_folder(spec, options.out)
    with contextlib.ExitStack() as stack:
        whole = not fresh and is_finished(folder)
        if not whole:
            check_writable(folder, graph.folder)
            stack.enter_context(locked(folder.parent / f"{folder.name}.lease", _waiting(spec)))
            mend_run(folder)
            whole = not fresh and is_finished(folder)  # by the process that this one has waited for
        tracking = Tracking(trackers, spec, folder, options.device, options.timeout)
        stack.callback(tracking.close)
        if whole:
            record = read_record(folder / RECORD)
            say(finished_notes(plan, record, options))
        else:
            reset_peak_memory(options.device)
            job = _Job(plan, spec, suite_data, graph, folder, fresh, started, tracking)
            job.seconds["data"] = time.perf_counter() - clock
            record = job.work() if died is None else job.write(died, died)
        tracking.run(record, folder / RECORD)
    return Done(record, folder / RECORD, whole)


def _waiting(spec: RunSpec) -> Callable[[str], None]:
    return lambda holder: say([f"run {spec.run_id} of '{spec.method}' is being done by {holder}: waiting for it"])


def record_path(record: Record, out: str | Path = "runs") -> Path:
    """Where ``run`` keeps a record."""
    return run_folder(record.spec, Path(out)) / RECORD


@dataclasses.dataclass
class _Job:
    """One run on its way to a record."""

    plan: Plan
    spec: RunSpec
    suite_data: SuiteData
    graph: RunGraph
    folder: Path
    fresh: bool
    started: str
    tracking: Tracking
    fingerprint: Fingerprint | None = None
    files: Sealed = dataclasses.field(init=False)
    """Where it works: a fresh run beside the finished one, whose place it takes in the end."""
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    students: dict[str, TrainedNetwork] = dataclasses.field(default_factory=dict)
    networks: dict[str, TrainedNetwork] = dataclasses.field(default_factory=dict)
    outcomes: dict[tuple[str, str], TaskResult] = dataclasses.field(default_factory=dict)
    checks: list[Check] = dataclasses.field(default_factory=list)
    """Of whole students, not of a task."""
    log: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    extended: bool = False
    """Whether a student, or a network trained for it, got a longer schedule than the suite grants."""

    def __post_init__(self) -> None:
        work = self.folder / FRESH if self.fresh else self.folder
        if self.fresh:
            mend(work)
        self.files = Sealed(work)

    def work(self) -> Record:
        """Try each condition with untrained networks, train and measure each, then write everything."""
        try:
            with time_limit(self.graph.options.timeout):
                failure = self._work()
        except TookTooLongError as late:
            failure = str(late), traceback.format_exc()
        return self.write(*failure or (None, None))

    def _work(self) -> tuple[str, str | None] | None:
        failure = self._through(self._try)
        if failure is None:
            say(self.plan.notes())
            self._begun().write(self.folder)
            self.fingerprint = plan_fingerprint(self.plan)
            failure = self._through(self._condition)
        return failure

    def _through(self, step: Callable[[str], None]) -> tuple[str, str | None] | None:
        """Take a step for each condition. What ends it: the error, and the traceback of what none expected."""
        for condition in self.spec.params:
            try:
                with left_alone(f"method '{self.spec.method}'"):
                    step(condition)
            except (TrainingDivergedError, NotFiniteError) as failure:
                return f"condition {condition}: {failure}", None
            except KdbenchError:
                raise
            except (Exception, SystemExit) as failure:  # a method or a task may be anybody's
                return f"condition {condition}: {words(failure)}", traceback.format_exc()
        return None

    def _begun(self) -> Begun:
        parts = {}
        for condition in self.spec.params:
            own = [where for where in self.spec.trainings if where.startswith(f"{condition}/")]
            for where in sorted(own, key=lambda where: where == f"{condition}/student"):
                spec = self.graph.planned(self.spec.trainings[where]).training
                parts[where] = Part(folder=self.graph.path(spec).name, epochs=spec.recipe.epochs)
        changes = self.plan.suite.changed
        return Begun(params=self.plan.params_passed, changes=changes, seed=self.spec.seed, trainings=parts)

    def _try(self, condition: str) -> None:
        """What only networks show of a mistake, before any is trained."""
        dry_run(
            self.graph,
            self.graph.student(condition, self.plan.method, self.plan.params_passed, self.spec.seed),
            condition,
        )

    def _condition(self, condition: str) -> None:
        """Train and measure one student."""
        spec = self.graph.student(condition, self.spec.method, self.plan.params_passed, self.spec.seed)
        shared = {}
        for role in self.plan.roles(condition):
            shared[role] = self._ensure(self.graph.network(condition, role), condition, role)
            self.networks[f"{condition}/{role}"] = shared[role].describe()
        for path, needed in self.graph.own(spec).items():
            own = self._ensure(needed, condition, f"student/{path}")
            self.networks[f"{condition}/student/{path}"] = own.describe()
        self.extended |= self.graph.extended(spec, condition)
        self._measure(condition, self._ensure(spec, condition, "student"), shared)

    def _ensure(self, spec: Training, condition: str, network: str) -> Trained:
        """Train a network, or find it; a student's log becomes part of the run's, also when it diverges."""
        clock = time.perf_counter()
        if network != "student":
            try:
                return self.graph.ensure(spec, condition, network)
            except TrainingDivergedError as error:
                raise TrainingDivergedError(error.epoch, f"{network}: {error.what}") from None
            finally:
                self.seconds[f"train/{condition}/{network}"] = time.perf_counter() - clock
        fresh = self.fresh and not (self.files.folder / checkpoint_name(condition)).exists()
        folder = self.graph.working(spec, fresh=fresh)
        try:
            return self.graph.ensure(
                spec, condition, self.spec.method, fresh=fresh,
                on_epoch=lambda: self.tracking.follow(condition, functools.partial(read_log, folder)),
                use=lambda trained: self._keep(trained, condition),
            )  # fmt: skip
        except (Exception, SystemExit) as error:
            if not is_mistake(error):
                self._keep_log(spec, condition)
            raise
        finally:
            self.seconds[f"train/{condition}/{network}"] = time.perf_counter() - clock

    def _keep_log(self, spec: Training, condition: str) -> None:
        self.log += [{"condition": condition, **entry} for entry in read_log(self.graph.path(spec))]

    def _keep(self, student: Trained, condition: str) -> None:
        """The run folder holds its own copies, so that it can be moved and published whole."""
        content = student.checkpoint.read_bytes()
        if student.spec.measured:  # the copy says how the run measured it
            tensors, metadata = load_checkpoint(student.checkpoint)
            content = checkpoint_bytes(tensors, {**metadata, "training": student.spec.model_dump(mode="json")})
        target = checkpoint_name(condition)
        self.files.write({softmax_name(condition): (student.folder / SOFTMAX).read_bytes(), target: content})
        self.students[condition] = student.describe().model_copy(update={"sha256": self.files.sha256(target)})
        self._keep_log(student.spec, condition)

    def _measure(self, condition: str, student: Trained, shared: Mapping[str, Trained]) -> None:
        images, device = self.suite_data.test.test.images, self.graph.device
        predictor = folded_copy(self.graph.load(student), images, device)
        sources = {role: folded_copy(self.graph.load(trained), images, device) for role, trained in shared.items()}
        kept = {role: KeptExamples.of(self.graph, trained) for role, trained in shared.items()}
        training = functools.partial(self.graph.training_labels, condition)
        ctx = EvaluationContext(condition, device, None, networks=sources, kept=kept, training=training)
        tasks = self.plan.tasks_of(condition)
        self.checks += check_batches(predictor, images, condition, device, tasks)
        for name, (task, settings) in tasks.items():
            store = Partial(self.files, condition, name, self._inputs(condition, shared))
            outcome = store.load()
            if outcome is None:
                others = {
                    key: folded_copy(self.graph.load(student, params), images, device)
                    for key, params in task.predictors(self.plan.plugins.methods.get(self.spec.method)).items()
                }
                with bar(f"measure {name} ({condition})", shown=self.graph.options.progress) as update:
                    step = dataclasses.replace(
                        ctx, networks={**sources, **others}, advance=functools.partial(update, note="")
                    )
                    outcome = run_task(task, settings, predictor, self.suite_data.test, step)
                store.save(outcome)
            self.outcomes[condition, name] = outcome
            self.seconds[f"evaluate/{condition}/{name}"] = outcome.seconds

    def _inputs(self, condition: str, shared: Mapping[str, Trained]) -> dict[str, str]:
        """What a finished measurement depended on, beside the run's own specification."""
        roles = {role: self.networks[f"{condition}/{role}"].sha256 for role in shared}
        return {"student": self.students[condition].sha256, "device": self.graph.device.type, **roles}

    def write(self, error: str | None, crash: str | None) -> Record:
        """Everything that belongs to the run, the record last, as its being there says that the run is finished."""
        correct = {
            f"{condition}/{task}/{name}": values
            for (condition, task), outcome in self.outcomes.items()
            for name, values in outcome.correct.items()
        }
        contents = {LOG: log_bytes(self.log), PREDICTIONS: arrays_bytes(correct)}
        evidence = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        evidence |= {softmax_name(condition): self.files.sha256(softmax_name(condition)) for condition in self.students}
        scores: list[Score] = [score for outcome in self.outcomes.values() for score in outcome.scores]
        noises = {name: self.graph.train_set(name)[1] for name in self.spec.params}
        plugins = self.plan.plugins
        record = Record(
            run_id=self.spec.run_id,
            status="failed" if error else "finished",
            error=error,
            budget="extended" if self.extended else "standard",
            spec=self.spec,
            params_passed=self.plan.params_passed,
            views=self.plan.views,
            fingerprint=self.fingerprint,
            scores=scores,
            checks=[*self.checks, *(check for outcome in self.outcomes.values() for check in outcome.checks)],
            provenance=provenance.collect(
                plugins=plugins.loaded,
                device=self.graph.device,
                started=self.started,
                seconds=self.seconds,
                smaller_batches={"/".join(place): one.smaller_batch for place, one in self.outcomes.items()},
            ),
            hashes=Hashes(
                datasets=self.suite_data.hashes(),
                sources=self.suite_data.sources(),
                label_noise={name: facts for name, facts in noises.items() if facts},
                students=self.students,
                networks=self.networks,
                subsets={task: value for outcome in self.outcomes.values() for task, value in outcome.subsets.items()},
                evidence=evidence,
            ),
        )
        self._finish(record, contents, crash)
        return record

    def _finish(self, record: Record, contents: dict[str, bytes], crash: str | None) -> None:
        """Write the record and what lies beside it; a fresh run takes the place of the finished one."""
        old = self.folder / RECORD
        if self.fresh and old.exists():
            contents[PREVIOUS] = old.read_bytes()
        if crash:
            contents[CRASH] = crash.encode()
        gone = [] if crash else [*self.files.listed(f"{PARTS}/"), CRASH]
        self.files.write({**contents, RECORD: record.to_json().encode()}, gone)
        self.files.settle()
        with writing(self.folder / BEGUN):
            (self.folder / BEGUN).unlink(missing_ok=True)
        if not crash:
            shutil.rmtree(self.files.folder / PARTS, ignore_errors=True)
        if self.fresh:
            Sealed(self.folder).take(self.files.folder)
