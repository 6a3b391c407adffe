"""Tasks over a frozen predictor: the part that is the same whether the network was trained here or not."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from kdbench.data import DataFacts, Dataset
from kdbench.devices import reset_peak_memory
from kdbench.errors import KdbenchError
from kdbench.files import check_writable
from kdbench.hashes import integers_sha256
from kdbench.inference.batch_dependence import IMAGES, LIMIT, batch_dependence
from kdbench.inference.batching import noted_cuts
from kdbench.inference.model import as_float
from kdbench.inference.module_kinds import as_network, logits_of
from kdbench.inference.order import sample
from kdbench.inference.prediction import folded_copy, frozen
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.progress import bar, say
from kdbench.results.record import Check, EvaluatedModel, Hashes, Record, Score
from kdbench.running import provenance
from kdbench.running.evaluated import Evaluation, describe_module
from kdbench.running.graph import RunGraph, Trained
from kdbench.running.kept_examples import KeptExamples
from kdbench.running.options import RunOptions
from kdbench.running.plausibility import doubts, examine, preprocessing
from kdbench.running.suite_data import Part, SuiteData, load_suite_data, needed_data
from kdbench.shared_state import left_alone
from kdbench.specs import RunSpec, Suite, first_problem
from kdbench.suites import load_suite
from kdbench.tasks import EvaluationContext, Task, TestData
from kdbench.tasks.attack import with_attacks
from kdbench.torch_state import exclusive
from kdbench.training.seeds import derive_seed

TRIED = 8
"""Images that a model is tried on before it is put to work."""


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """One task's scores for one student, what was checked of them, and the per-example results behind them."""

    scores: list[Score]
    checks: list[Check]
    correct: dict[str, Tensor]
    subsets: dict[str, str]
    seconds: float
    smaller_batch: int | None = None
    """Images of a batch after the memory was too small for more; None: it never was."""


def run_task(
    task: Task,
    settings: Any,
    predictor: nn.Module,
    data: TestData,
    ctx: EvaluationContext,
) -> TaskResult:
    """Run one task and check what it returns: its own name, finite numbers, possible shares (``Score`` does)."""
    ctx = dataclasses.replace(ctx, task=task.name, settings=settings, correct={}, subsets={}, checks=[])
    started = time.perf_counter()
    # A predictor may be random; its draws depend on the task alone, not on what was measured before.
    drawing = own_random_numbers(derive_seed(0, task.name, ctx.condition), ctx.device)
    watched = left_alone(f"task '{task.name}', or the network that it measured,")
    with drawing, watched, frozen(predictor), noted_cuts() as cuts:
        try:
            scores = task.evaluate(predictor, data, ctx)
        except ValidationError as error:
            raise KdbenchError(f"task '{task.name}', score {first_problem(error)}", "tell its author") from None
    if not isinstance(scores, list) or not scores or not all(isinstance(score, Score) for score in scores):
        raise KdbenchError(f"task '{task.name}' returned no list of scores", "return a non-empty list of kdbench.Score")
    stray = {score.task for score in scores} - {task.name} | {score.condition for score in scores} - {ctx.condition}
    if stray:
        raise KdbenchError(f"task '{task.name}' returned scores of {sorted(stray)}", "make them with ctx.share")
    metrics, keys = task.undeclared(scores)
    if metrics:
        raise KdbenchError(f"task '{task.name}' returned scores of {sorted(metrics)}", "name them in other_metrics")
    if keys:
        raise KdbenchError(f"task '{task.name}' returned settings with {sorted(keys)}", "name them in setting_keys")
    headline = task.headline(settings)
    if headline is not None and not all(headline.agrees(score) for score in scores if headline.means(score)):
        raise KdbenchError(
            f"task '{task.name}': its headline has another unit or direction than its score {headline.metric}",
            "give kdbench.Headline the unit and higher_is_better of the score",
        )
    seconds = time.perf_counter() - started
    return TaskResult(scores, ctx.checks, ctx.correct, ctx.subsets, seconds, min(cuts, default=None))


def chosen_tasks(suite: Suite, plugins: Plugins, names: Sequence[str] | None) -> dict[str, tuple[Task, Any]]:
    """The suite's tasks, or those of ``names``, which may be of any plugin, with their resolved settings."""
    if names is not None and not names:
        raise KdbenchError("no task was named", f"the suite has {', '.join(suite.tasks)}")
    chosen = {}
    for name in names if names is not None else suite.tasks:
        task = plugins.tasks.get(name)
        chosen[name] = (task, task.settings_in(suite))
        task.prepare(chosen[name][1])
        task.check_networks(chosen[name][1], {role: network.method for role, network in suite.networks.items()})
    check_tasks(chosen, plugins.datasets.get(suite.dataset).facts)
    return chosen


def check_tasks(chosen: Mapping[str, tuple[Task, Any]], data: DataFacts) -> None:
    """Raise ``KdbenchError`` for a task that can't be measured on a data set, as far as its facts are known."""
    for task, settings in chosen.values():
        task.check_data(settings, data)


def check_batches(
    predictor: nn.Module, images: Tensor, condition: str, device: torch.device, tasks: Iterable[str]
) -> list[Check]:
    """One check that flags all scores of a student whose answer to an image depends on the images beside it.

    [] where nothing is measured, and where it can't be found out. ``images``: uint8 (N, 3, H, W).
    """
    names = list(tasks)
    value = batch_dependence(predictor, images, device) if names else None
    if value is None:
        return []
    return [
        Check(
            name="batch_dependence", task=names[0], condition=condition, passed=value <= LIMIT, value=value,
            limit=LIMIT, n=min(IMAGES, len(images)), flags=names,
            meaning="its answer to an image depends on the other images of the batch: scores hold for these batches",
        )
    ]  # fmt: skip


def check_model(model: nn.Module, dataset: Dataset, device: torch.device) -> nn.Module:
    """The model as it is measured (``logits_of``), for images of a data set; raises before hours are spent on one that
    does not map them to one logit a class."""
    images = as_float(sample(dataset.test.images, TRIED).to(device))
    try:
        return logits_of(model, images, len(dataset.class_names))
    except KdbenchError as error:
        size, classes = dataset.image_size, len(dataset.class_names)
        facts = f"'{dataset.name}' has {size}x{size} RGB images of {classes} classes"
        raise KdbenchError(error.message, f"{error.hint}; {facts}") from error


def _applicable(
    chosen: Mapping[str, tuple[Task, Any]], suite: Suite, condition: str, *, stated: bool, named: bool
) -> dict[str, tuple[Task, Any]]:
    """Those of the tasks that measure a model from elsewhere.

    ``stated``: whether it was said that it was trained under this condition. ``named``: whether the tasks were asked
    for by name; then one that does not apply is an error, and one that the suite does not plan there is measured.
    """
    kept = {}
    for name, (task, settings) in chosen.items():
        applies = task.applies(suite.condition(condition)) and (stated or not task.needs_training)
        if applies and (named or (suite.plans(name, condition) and not task.sources(settings))):
            kept[name] = (task, settings)
        elif named:
            raise KdbenchError(f"task '{name}' does not apply to condition {condition}", "say how it was trained")
    return kept


@exclusive()
def evaluate(
    model: nn.Module,
    suite: str = "digits",
    *,
    tasks: Iterable[str] | None = None,
    attacks: Iterable[str] | None = None,
    data_dir: str | Path | None = None,
    condition: str | None = None,
    examples: int | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    download: bool = True,
    progress: bool = False,
    origin: EvaluatedModel | None = None,
) -> Evaluation:
    """Measure a model that exists already.

    ``model`` maps pixels (B, 3, H, W) float32 in [0, 1] to logits (B, C), alone or among other outputs, by the name
    ``logits`` or as the only one of that shape; its mode and its parameters' gradients are left as they were. Inside
    ``DataParallel`` and ``torch.compile`` the network itself is measured; weights of less than float32 are refused.
    ``tasks``: default all of the suite's that neither need training nor measure it; ``transfer`` trains the suite's
    source networks, or finds them under ``out``. ``condition`` says how the model was trained and is what the scores
    are filed under; by default the suite's first. ``examples`` measures that many test images, a fixed stratified part
    that is the same for every model. ``attacks`` adds the task ``attack`` with attacks of these names, whatever the
    condition. ``origin`` says where the model came from and what else was done to its images; by default its class and
    its tensors stand for it. The result is a record, which says what the model was given and has checks that question
    answers unlike those of a network that was trained for it: near chance, far surer than right, no logits. In threads
    one model is measured at a time, and others wait. Raises ``KdbenchError`` on unknown names, tasks that mean nothing
    there, models that return no logits and a wrong number of classes.
    """
    started, clock = provenance.utc_now(), time.perf_counter()
    provenance.commit()  # read now: the checkout may change while this goes on
    network = as_network(model)
    plugins, setting = load_plugins(), load_suite(suite)
    setting, names = with_attacks(setting, tasks, attacks, everywhere=True)
    stated, condition = condition is not None, condition or next(iter(setting.conditions))
    chosen = _applicable(
        chosen_tasks(setting, plugins, names), setting, condition, stated=stated, named=names is not None
    )
    options = RunOptions.make(data_dir=data_dir, device=device, out=out, download=download, progress=progress)
    suite_data = load_suite_data(setting, plugins, options.place, **needed_data(chosen.values()))
    check_tasks(chosen, suite_data.dataset.facts)
    if examples == len(suite_data.test.test):
        examples = None
    part = suite_data.part(examples)
    graph = RunGraph(setting, suite_data.dataset, plugins, options)
    roles = {role for task, settings in chosen.values() for role in task.sources(settings)}
    if roles:
        check_writable(graph.folder)
    for role in sorted(roles):  # what can't be trained is told before anything is measured
        graph.network(condition, role)
    images = suite_data.test.test.images
    origin = origin or describe_module(network)
    given = {**preprocessing(network, images), **origin.preprocessing}
    origin = origin.model_copy(update={"preprocessing": given})
    measuring = _Measuring(condition, chosen, graph, part, {"data": time.perf_counter() - clock})
    reset_peak_memory(options.device)
    original = next((parameter.device for parameter in network.parameters()), options.device)
    try:
        network.to(options.device)
        with left_alone("the network that is measured"):
            measuring.measure(check_model(network, suite_data.dataset, options.device))
    finally:
        network.to(original)
    return measuring.evaluation(origin, suite_data, examples, started)


@dataclasses.dataclass
class _Measuring:
    """One model on its way to a record."""

    condition: str
    chosen: Mapping[str, tuple[Task, Any]]
    graph: RunGraph
    part: Part
    seconds: dict[str, float]
    checks: list[Check] = dataclasses.field(default_factory=list)
    outcomes: dict[str, TaskResult] = dataclasses.field(default_factory=dict)
    networks: dict[str, Trained] = dataclasses.field(default_factory=dict)
    """The suite's, by role."""

    def measure(self, model: nn.Module) -> None:
        """Check it and run every task on it."""
        where, images, data = self.graph.device, self.graph.dataset.test.images, self.part.data
        predictor = folded_copy(model, images, where)
        ctx = EvaluationContext(self.condition, where, None)
        labels = self.graph.suite.condition(self.condition)
        noisy = labels.noise is not None or labels.noise_unknown
        self.checks += check_batches(model, images, self.condition, where, self.chosen)
        asked = {name: task for name, (task, _) in self.chosen.items()}
        self.checks += examine(model, predictor, data.test, ctx, asked, noisy=noisy)
        say(doubts(self.checks))  # before hours of attacks
        for name, (task, settings) in self.chosen.items():
            roles = sorted(set(task.sources(settings)))
            for role in roles:
                self._ensure(role)
            networks = {role: folded_copy(self.graph.load(self.networks[role]), images, where) for role in roles}
            with bar(f"measure {name}", shown=self.graph.options.progress) as update:
                kept = {role: KeptExamples.of(self.graph, self.networks[role]) for role in roles}
                step = dataclasses.replace(
                    ctx, networks=networks, kept=kept, advance=functools.partial(update, note="")
                )
                outcome = run_task(task, settings, predictor, data, step)
            self.seconds[f"evaluate/{self.condition}/{name}"] = outcome.seconds
            self.outcomes[name] = self._of_all_images(task, outcome)

    def _ensure(self, role: str) -> None:
        """Train one of the suite's networks, or find it."""
        clock = time.perf_counter()
        self.networks |= self.graph.shared(self.condition, [role])
        self.seconds[f"train/{self.condition}/{role}"] = time.perf_counter() - clock

    def _of_all_images(self, task: Task, outcome: TaskResult) -> TaskResult:
        """Of a part of the images: with the rows that they have among all, by which models are paired."""
        rows = self.part.ood_rows if task.needs_ood else self.part.rows
        if rows is None:
            return outcome
        index = outcome.correct.get("index")
        found = rows if index is None else rows[index]
        return dataclasses.replace(
            outcome,
            correct={**outcome.correct, "index": found},
            subsets={**outcome.subsets, task.name: integers_sha256(found)},
        )

    def evaluation(
        self, model: EvaluatedModel, suite_data: SuiteData, examples: int | None, started: str
    ) -> Evaluation:
        """What was measured, as a record."""
        shared = {f"{self.condition}/{role}": trained for role, trained in sorted(self.networks.items())}
        spec = RunSpec(
            suite=self.graph.suite,
            method=model.label,
            method_source=model.digest,
            params={self.condition: {}},
            recipes={},
            trainings={name: trained.spec.digest() for name, trained in shared.items()},
            seed=0,
            tasks={name: task.version for name, (task, _) in sorted(self.chosen.items())},
            datasets=suite_data.hashes(),
            corruption_images=suite_data.test.corruption_images,
            examples=examples,
        )
        outcomes = self.outcomes.items()
        record = Record(
            run_id=spec.run_id,
            status="finished",
            spec=spec,
            params_passed={},
            evaluated=model,
            scores=[score for _, outcome in outcomes for score in outcome.scores],
            checks=[*self.checks, *(check for _, outcome in outcomes for check in outcome.checks)],
            provenance=provenance.collect(
                plugins=self.graph.plugins.loaded,
                device=self.graph.device,
                started=started,
                seconds=self.seconds,
                smaller_batches={f"{self.condition}/{name}": one.smaller_batch for name, one in outcomes},
            ),
            hashes=Hashes(
                datasets=suite_data.hashes(),
                sources=suite_data.sources(),
                label_noise={},
                students={},
                networks={name: trained.describe() for name, trained in shared.items()},
                subsets={task: value for _, outcome in outcomes for task, value in outcome.subsets.items()},
                evidence={},
            ),
        )
        correct = {f"{name}/{key}": value for name, outcome in outcomes for key, value in outcome.correct.items()}
        return Evaluation(record, correct)
