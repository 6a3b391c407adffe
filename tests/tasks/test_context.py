"""What the harness provides to a task: subsets, settings, and the checks of what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.errors import KdbenchError
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.running.evaluation import run_task
from kdbench.tasks import EvaluationContext, Task, TestData
from kdbench.tasks.calibration import Calibration
from kdbench.tasks.clean import Clean
from kdbench.tasks.corruption import Corruption
from kdbench.tasks.pgd import PGD
from kdbench.tasks.settings import TaskSettings
from kdbench.tasks.transfer import Transfer
from tests.tasks.helpers import CPU, Nearest, flat, image_set, measure, ten_classes


def test_a_subset_is_stratified_fixed_and_recorded() -> None:
    data = ten_classes(count=200, wrong=0)
    found = []
    for condition in ("clean", "sym-40"):
        ctx = EvaluationContext(condition, CPU, None, task="pgd")
        index = ctx.subset(data.test, 40)
        assert np.bincount(data.test.labels[index].numpy(), minlength=10).tolist() == [4] * 10
        assert len(set(index.tolist())) == 40
        assert torch.equal(ctx.correct["index"], index)
        assert ctx.subsets == {"pgd": hashlib.sha256(np.array(index.tolist(), dtype="<i8").tobytes()).hexdigest()}
        found.append(index)
    assert torch.equal(*found)
    assert not torch.equal(found[0], torch.arange(40))


def test_a_subset_depends_on_labels_alone_so_that_every_method_gets_the_same() -> None:
    labels = [number % 10 for number in range(100)]
    first, second = (image_set(flat([seed] * 100, seed=seed), labels) for seed in (1, 2))
    assert first.sha256 != second.sha256
    indices = [EvaluationContext("clean", CPU, None, task="t").subset(images, 30) for images in (first, second)]
    assert torch.equal(*indices)


@pytest.mark.parametrize("size", [None, 60, 1000])
def test_a_subset_of_all_is_all_and_recorded_too(size: int | None) -> None:
    ctx = EvaluationContext("clean", CPU, None, task="t")
    assert torch.equal(ctx.subset(ten_classes(count=60).test, size), torch.arange(60))
    assert ctx.subsets["t"] == hashlib.sha256(np.arange(60, dtype="<i8").tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (PGD(), {"restart": 3}, "no setting of task 'pgd' named 'restart' .did you mean 'restarts'"),
        (Transfer(), {"source": ["teacher"]}, "no setting of task 'transfer' named 'source' .did you mean 'sources'"),
        (Calibration(), {"binz": [15]}, "no setting of task 'calibration' named 'binz' .did you mean 'bins'"),
        (Clean(), {"subset": 5}, "no setting of task 'clean' named 'subset'"),
        (PGD(), {"eps": 1.5}, "task 'pgd', setting eps: input should be less than or equal to 1, found 1.5"),
        (PGD(), {"eps": -0.1}, "task 'pgd', setting eps: .*greater than or equal to 0, found -0.1"),
        (PGD(), {"eps": float("nan")}, "task 'pgd', setting eps: .*finite number"),
        (PGD(), {"restarts": 0}, "task 'pgd', setting restarts: .*greater than or equal to 1, found 0"),
        (PGD(), {"steps": [10, 0]}, "task 'pgd', setting steps.1: .*greater than or equal to 1, found 0"),
        (PGD(), {"steps": "many"}, "task 'pgd', setting steps: "),
        (PGD(), {"subset": 0}, "task 'pgd', setting subset: .*greater than or equal to 1, found 0"),
        (Transfer(), {"step_size": 0}, "task 'transfer', setting step_size: .*greater than 0, found 0"),
        (Transfer(), {"steps": 0}, "task 'transfer', setting steps: .*greater than or equal to 1, found 0"),
        (Calibration(), {"bins": [0]}, "task 'calibration', setting bins.0: .*greater than or equal to 1, found 0"),
        (Corruption(), {"subset": -1}, "task 'corruption', setting subset: .*greater than or equal to 1, found -1"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(task: Task, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        task.resolve(settings)
    assert "\n" not in str(caught.value)


def test_defaults_are_those_of_the_protocol() -> None:
    pgd, transfer = PGD().resolve({}), Transfer().resolve({})
    assert (pgd.eps, pgd.steps, pgd.restarts, pgd.subset) == (0.031, (10, 15, 20), 5, None)
    assert (transfer.eps, transfer.step_size, transfer.steps) == (8 / 255, 0.006, 10)
    assert transfer.sources == ("teacher", "reference")


class Probe(Task):
    """Returns whatever it is made with."""

    name = "probe"

    def __init__(self, answer: Callable[[EvaluationContext], Any]) -> None:
        self.answer = answer

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        assert not any(module.training for module in predictor.modules())
        assert not any(parameter.requires_grad for parameter in predictor.parameters())
        found: list[Score] = self.answer(ctx)
        return found


def a_score(ctx: EvaluationContext, **changes: Any) -> Score:
    return ctx.score("m", 0.5, 2, (0.1, 0.9)).model_copy(update=changes)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda ctx: None, "task 'probe' returned no list of scores"),
        (lambda ctx: [], "task 'probe' returned no list of scores"),
        (lambda ctx: (a_score(ctx),), "task 'probe' returned no list of scores"),
        (lambda ctx: a_score(ctx), "task 'probe' returned no list of scores"),
        (lambda ctx: [a_score(ctx), 0.5], "task 'probe' returned no list of scores"),
        (lambda ctx: [a_score(ctx), a_score(ctx, task="clean")], "task 'probe' returned scores of .'clean'"),
        (lambda ctx: [a_score(ctx), a_score(ctx, condition="sym-40")], "task 'probe' returned scores of .'sym-40'"),
    ],
)
def test_a_task_that_returns_something_else_is_refused(
    answer: Callable[[EvaluationContext], Any], message: str
) -> None:
    with pytest.raises(KdbenchError, match=message):
        measure(Probe(answer), Nearest(), ten_classes())


class Turned(Probe):
    """Its score is good when it is low, and its headline does not say so."""

    def headline(self, settings: Any) -> Headline:
        return Headline("probe", "share")


def test_a_headline_that_contradicts_its_score_is_refused() -> None:
    def returned(ctx: EvaluationContext) -> list[Score]:
        return [ctx.share("share", torch.tensor([True]), higher_is_better=False)]

    with pytest.raises(KdbenchError, match="task 'probe': its headline has another unit or direction than its score"):
        measure(Turned(returned), Nearest(), ten_classes(count=20, wrong=0))


def partly_frozen() -> nn.Module:
    """Modules in different modes, parameters with different needs of gradients."""
    model = nn.Sequential(Nearest(), nn.BatchNorm1d(10), nn.Linear(10, 10))
    model.train()
    model[1].eval()
    model[2].weight.requires_grad_(False)
    return model


def state_of(model: nn.Module) -> tuple[list[bool], list[bool]]:
    return [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]


def test_the_predictor_is_as_it_was_after_a_task() -> None:
    model = partly_frozen()
    before = state_of(model)
    outcome = measure(Probe(lambda ctx: [a_score(ctx)]), model, ten_classes())
    assert len(outcome.scores) == 1
    assert state_of(model) == before


def test_the_predictor_is_as_it_was_after_a_task_that_failed() -> None:
    model = partly_frozen()
    before = state_of(model)
    with pytest.raises(ZeroDivisionError):
        measure(Probe(lambda ctx: [1 / 0]), model, ten_classes())
    assert state_of(model) == before


def test_a_task_gets_its_settings_a_clean_slate_and_leaves_the_context_alone() -> None:
    ctx = EvaluationContext("clean", CPU, None)

    def answer(lent: EvaluationContext) -> list[Score]:
        assert (lent.task, lent.settings, lent.correct, lent.subsets) == ("probe", settings, {}, {})
        lent.keep("mine", torch.tensor([True]))
        return [a_score(lent)]

    settings = TaskSettings()
    for _ in range(2):
        outcome = run_task(Probe(answer), settings, Nearest(), ten_classes(), ctx)
        assert set(outcome.correct) == {"mine"}
    assert ctx.correct == {}
    assert ctx.task == ""


def test_a_task_without_evaluate_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Task must define evaluate"):
        measure(Task(), Nearest(), ten_classes())


class Wavering(Nearest):
    """Logits with noise from the global generator."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + torch.randn(len(images), 10)


def test_a_random_predictor_gets_the_same_scores_whatever_was_measured_before() -> None:
    data = ten_classes()
    alone = measure(Calibration(), Wavering(), data)
    ctx, model = EvaluationContext("clean", CPU, None), Wavering()
    run_task(Clean(), Clean().resolve({}), model, data, ctx)
    after = run_task(Calibration(), Calibration().resolve({}), model, data, ctx)
    assert after.scores == alone.scores


def test_asking_for_logits_moves_no_other_draw() -> None:
    data, model = ten_classes(), Wavering()
    ctx = EvaluationContext("clean", CPU, None)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    ctx.logits(model, data.test)
    assert torch.equal(torch.rand(3), expected)
