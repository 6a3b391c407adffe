"""Early stopping on held-out noisy labels, which DMI starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.plugin.loader import load_plugins
from kdbench.suites import load_suite
from kdbench.training.optimisers import learning_rate
from tests.plugins.helpers import digits_graph, make
from tests.plugins.staged_by_hand import CLASSES, draw, gradient_of, knows, legible, loss_of, prepared


def test_nothing_is_learnt_of_what_is_held_out() -> None:
    logits, labels = draw(30)
    ctx = legible()
    gradient = gradient_of(loss_of(prepared("early-stopping", ctx, holdout=0.25), ctx, labels), logits)
    held = ctx.held_out(0.25)
    assert held.sum() == 3
    assert torch.equal(gradient.abs().sum(1) > 0, ~held)
    plain = gradient_of(loss_of(make("ce"), ctx, labels), logits)
    torch.testing.assert_close(gradient[~held], plain[~held] * 12 / 9)


def test_the_best_epoch_by_held_out_labels_is_measured_the_last_of_equals() -> None:
    ctx = legible()
    ctx.student = torch.nn.Linear(1, 1, bias=False)
    _, labels = draw(31)
    held = ctx.held_out(0.5)
    method: Any = prepared("early-stopping", ctx, holdout=0.5)

    def after_epoch(weight: float, right: int) -> float:
        """An epoch that ends with this weight and so many of the held-out labels right; all others are."""
        torch.nn.init.constant_(ctx.student.weight, weight)  # type: ignore[arg-type]  # torch leaves it untyped
        answers = torch.tensor(labels)
        wrong = held.nonzero().squeeze(1)[right:]
        answers[wrong] = (answers[wrong] + 1) % CLASSES
        knows(ctx, torch.nn.functional.one_hot(answers, CLASSES).double(), labels)
        method.epoch_log(ctx)
        return float(method.predictor(ctx).weight)

    assert [after_epoch(*epoch) for epoch in ((1.0, 2), (2.0, 4), (3.0, 3), (4.0, 4), (5.0, 1))] == [1, 2, 2, 4, 4]
    resumed: Any = prepared("early-stopping", ctx, holdout=0.5)
    resumed.load_state(method.state())
    assert resumed.highest == pytest.approx(4 / 6)


def test_dmi_starts_from_the_best_epoch_and_keeps_its_learning_rate(tmp_path: Path) -> None:
    """It started where cross-entropy had memorised, at 73.9 % on noisy digits, and its 1e-6 fell with the suite's."""
    graph = digits_graph(tmp_path)
    student = graph.student("sym-40", "dmi", {}, 0)
    start = graph.own(student)["start"]
    assert (start.method, start.params["holdout"]) == ("early-stopping", 0.1)
    assert start.recipe == graph.student("sym-40", "ce", {}, 0).recipe
    rates = {learning_rate(student.recipe, step, 1230) for step in range(1230)}
    assert rates == {1e-6}
    assert (student.recipe.momentum, student.recipe.nesterov, student.recipe.weight_decay) == (0.9, False, 1e-4)


def test_in_every_suite_dmis_rate_is_constant() -> None:
    from kdbench.running.needs import Needs
    from kdbench.suites import builtin_suites

    for name in (path.stem for path in builtin_suites()):
        suite = load_suite(name)
        for condition in suite.conditions:
            recipe = Needs(suite, load_plugins(), condition).student("dmi", {}, 0).recipe
            total = 10 * recipe.epochs
            assert {learning_rate(recipe, step, total) for step in range(total)} == {1e-6}, name
