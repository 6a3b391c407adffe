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
from kdbench.errors import KdbenchError
from kdbench.files import check_writable
from kdbench.inference.batch_dependence import IMAGES, LIMIT, batch_dependence
from kdbench.inference.model import as_float
from kdbench.inference.order import sample
from kdbench.inference.prediction import folded_copy, frozen, refuse_probabilities
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.record import Check, Score
from kdbench.results.wording import failed_checks
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.running.plausibility import examine, preprocessing
from kdbench.running.progress import bar, say
from kdbench.running.suite_data import load_suite_data, needed_data
from kdbench.specs import Suite, first_problem
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


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What ``kdbench.evaluate`` measured."""

    suite: str
    scores: list[Score]
    checks: list[Check]
    """Reliability of the scores; those that failed flag scores."""
    datasets: dict[str, str]
    """Data set to the SHA-256 of its images and labels."""
    correct: dict[str, Tensor]
    """Per-example results by ``<task>/<name>``."""
    preprocessing: dict[str, Any]
    """What the images were when the model got them: ``pixels``, ``size`` and the ``normalisation`` of its own first
    layer, None where kdbench knows of none."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; per-example results are left out."""
        scores = [score.model_dump(mode="json") for score in self.scores]
        checks = [check.model_dump(mode="json") for check in self.checks]
        facts = {"suite": self.suite, "datasets": self.datasets, "preprocessing": self.preprocessing}
        return {**facts, "scores": scores, "checks": checks}


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
    with own_random_numbers(derive_seed(0, task.name, ctx.condition), ctx.device), frozen(predictor):
        try:
            scores = task.evaluate(predictor, data, ctx)
        except ValidationError as error:
            raise KdbenchError(f"task '{task.name}', score {first_problem(error)}", "tell its author") from None
    if not isinstance(scores, list) or not scores or not all(isinstance(score, Score) for score in scores):
        raise KdbenchError(f"task '{task.name}' returned no list of scores", "return a non-empty list of kdbench.Score")
    stray = {score.task for score in scores} - {task.name} | {score.condition for score in scores} - {ctx.condition}
    if stray:
        raise KdbenchError(f"task '{task.name}' returned scores of {sorted(stray)}", "make them with ctx.share")
    headline = task.headline(settings)
    if headline is not None and not all(headline.agrees(score) for score in scores if headline.means(score)):
        raise KdbenchError(
            f"task '{task.name}': its headline has another unit or direction than its score {headline.metric}",
            "give kdbench.Headline the unit and higher_is_better of the score",
        )
    return TaskResult(scores, ctx.checks, ctx.correct, ctx.subsets, time.perf_counter() - started)


def chosen_tasks(suite: Suite, plugins: Plugins, names: Sequence[str] | None) -> dict[str, tuple[Task, Any]]:
    """The suite's tasks, or those of ``names``, which may be of any plugin, with their resolved settings."""
    if names is not None and not names:
        raise KdbenchError("no task was named", f"the suite has {', '.join(suite.tasks)}")
    chosen = {}
    for name in names if names is not None else suite.tasks:
        task = plugins.tasks.get(name)
        chosen[name] = (task, task.settings_in(suite))
        task.prepare(chosen[name][1])
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


def check_model(model: nn.Module, dataset: Dataset, device: torch.device) -> None:
    """A model must map pixels to one logit a class; anything else is an error before hours are spent."""
    images = as_float(sample(dataset.test.images, TRIED).to(device))
    try:
        with frozen(model, images, fold=False) as ready, torch.no_grad():
            logits = ready(images)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise KdbenchError(
            f"the model cannot read images of shape {tuple(images.shape)}: {reason}",
            f"'{dataset.name}' has {dataset.image_size}x{dataset.image_size} RGB images",
        ) from error
    classes = len(dataset.class_names)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(images), classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise KdbenchError(
            f"the model returned {shape} for {len(images)} images, expected ({len(images)}, {classes}) logits",
            f"'{dataset.name}' has {classes} classes",
        )
    if not bool(logits.isfinite().all()):
        raise KdbenchError("the model's logits are not finite", "check the checkpoint for NaN weights")
    refuse_probabilities(logits)


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
    device: str = "auto",
    out: str | Path = "runs",
    download: bool = True,
    progress: bool = False,
) -> Evaluation:
    """Measure a model that exists already.

    ``model`` maps pixels (B, 3, H, W) float32 in [0, 1] to logits (B, C); its mode and its parameters' gradients are
    left as they were. ``tasks``: default all of the suite's that neither need training nor measure it; ``transfer``
    trains the suite's source networks, or finds them under ``out``. ``condition`` says how the model was trained and is
    what the scores are filed under; by default the suite's first. ``attacks`` adds the task ``attack`` with attacks of
    these names, whatever the condition. The result says what the model was given, and has checks that question answers
    unlike those of a network that was trained for it: near chance, far surer than right, no logits. In threads one
    model is measured at a time, and others wait. Raises ``KdbenchError`` on unknown names, tasks that mean nothing
    there and a wrong number of classes.
    """
    if not isinstance(model, nn.Module):
        raise KdbenchError(f"the model is a {type(model).__name__}", "give a torch.nn.Module from pixels to logits")
    plugins, setting = load_plugins(), load_suite(suite)
    setting, names = with_attacks(setting, tasks, attacks, everywhere=True)
    stated, condition = condition is not None, condition or next(iter(setting.conditions))
    chosen = _applicable(
        chosen_tasks(setting, plugins, names), setting, condition, stated=stated, named=names is not None
    )
    options = RunOptions.make(data_dir=data_dir, device=device, out=out, download=download, progress=progress)
    suite_data = load_suite_data(setting, plugins, options.place, **needed_data(chosen.values()))
    check_tasks(chosen, suite_data.dataset.facts)
    graph = RunGraph(setting, suite_data.dataset, plugins, options)
    roles = {role for task, settings in chosen.values() for role in task.sources(settings)}
    if roles:
        check_writable(graph.folder)
    for role in sorted(roles):  # what can't be trained is told before anything is measured
        graph.network(condition, role)
    where, images = options.device, suite_data.test.test.images
    original = next((parameter.device for parameter in model.parameters()), where)
    try:
        model.to(where)
        check_model(model, suite_data.dataset, where)
        predictor = folded_copy(model, images, where)
        ctx = EvaluationContext(condition, where, None)
        labels, asked = setting.condition(condition), {name: task for name, (task, _) in chosen.items()}
        noisy = labels.noise is not None or labels.noise_unknown
        scores: list[Score] = []
        checks = check_batches(model, images, condition, where, chosen)
        checks += examine(model, predictor, suite_data.test.test, ctx, asked, noisy=noisy)
        say(failed_checks(checks))  # before hours of attacks
        correct: dict[str, Tensor] = {}
        for name, (task, settings) in chosen.items():
            sources = graph.shared(condition, task.sources(settings))
            networks = {role: folded_copy(graph.load(net), images, where) for role, net in sources.items()}
            with bar(f"measure {name}", shown=progress) as update:
                step = dataclasses.replace(ctx, networks=networks, advance=functools.partial(update, note=""))
                outcome = run_task(task, settings, predictor, suite_data.test, step)
            scores += outcome.scores
            checks += outcome.checks
            correct |= {f"{name}/{key}": value for key, value in outcome.correct.items()}
    finally:
        model.to(original)
    return Evaluation(setting.name, scores, checks, suite_data.hashes(), correct, preprocessing(model, images))
