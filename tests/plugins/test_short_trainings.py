"""Warm-ups, ramps and estimators that are shares of a training have steps enough in a short one too.

One epoch of 30 on noisy digits, DivideMix's published share, is 41 steps: its networks told labels apart by losses that
said nothing yet and ended at 59.2 %. Forward correction with an estimator of 123 steps ended at 55.9 %.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import kdbench
from kdbench.errors import KdbenchError
from kdbench.specs import Recipe
from tests.plugins.helpers import digits_graph, make
from tests.plugins.staged_by_hand import knows, legible
from tests.plugins.two_networks import CLASSES, draw, two_of_them

DIGITS = 1230
"""Steps of suite digits under noise: 30 epochs of 1,297 images, 32 at a time."""


@pytest.mark.parametrize(
    ("share", "least", "expected"),
    [(0.1, 500, 500 / DIGITS), (0.1, 0, 0.1), (0.5, 500, 0.5), (0.1, 900, 0.5), (0.0, 500, 0.0), (0.9, 900, 0.9)],
)
def test_a_share_has_at_least_so_many_steps_up_to_half_of_training(share: float, least: int, expected: float) -> None:
    ctx = two_of_them()
    ctx.steps = DIGITS
    assert ctx.share_at_least(share, least) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("recipe", "images", "share", "least", "epochs"),
    [
        ({"epochs": 30, "batch_size": 32}, 1297, 0.1, 500, 13),  # 13 x 41 = 533
        ({"epochs": 30, "batch_size": 32}, 1297, 0.1, 0, 3),
        ({"epochs": 30, "batch_size": 32}, 1297, 0.1, 492, 12),
        ({"epochs": 30, "batch_size": 32}, 1297, 0.1, 5000, 15),
        ({"epochs": 30, "batch_size": 32}, 1297, 0.6, 500, 18),
        ({"epochs": 200, "batch_size": 128}, 50000, 0.1, 500, 20),  # 7,820 steps: published budgets are as they were
        ({"epochs": 1, "batch_size": 32}, 1297, 0.1, 500, 1),
        ({"epochs": 10, "batch_size": 10, "drop_last": True}, 25, 0.1, 7, 4),
    ],
)
def test_a_needed_network_has_at_least_so_many_steps(
    recipe: dict[str, Any], images: int, share: float, least: int, epochs: int
) -> None:
    whole = Recipe(lr=0.1, **recipe)
    part = whole.with_share(share, least_steps=least, images=images)
    assert part.epochs == epochs
    assert whole.with_share(share).epochs == whole.with_share(share, images=images).epochs


def test_milestones_move_with_the_floor() -> None:
    whole = Recipe(lr=0.1, epochs=40, batch_size=64, milestones=(20, 30))
    assert whole.with_share(0.1, least_steps=500, images=5000).milestones == (4, 5)  # 7 of 40 epochs
    assert whole.with_share(0.1, least_steps=500, images=5000).epochs == 7


def test_a_floor_below_0_is_refused() -> None:
    with pytest.raises(KdbenchError, match="least_steps found -1, expected a number >= 0"):
        kdbench.Network(least_steps=-1)


@pytest.mark.parametrize(
    ("name", "role"), [("forward", "estimator"), ("t-revision", "estimator"), ("s2e", "candidate0")]
)
def test_estimators_and_searches_on_digits_train_for_at_least_500_steps(name: str, role: str, tmp_path: Path) -> None:
    graph = digits_graph(tmp_path)
    needed = graph.own(graph.student("sym-40", name, {}, 0))[role]
    assert (needed.recipe.epochs, needed.recipe.steps_per_epoch(1297)) == (13, 41)
    bare = graph.own(graph.student("sym-40", name, {"least_steps": 0}, 0))[role]
    assert bare.recipe.epochs == {"s2e": 6}.get(name, 3)


@pytest.mark.parametrize("name", ["co-teaching", "co-teaching-plus", "mentornet"])
def test_the_kept_share_falls_over_at_least_500_steps(name: str) -> None:
    ctx = two_of_them()
    ctx.steps = DIGITS
    for step, done in ((0, 0.0), (125, 0.25), (250, 0.5), (500, 1.0), (1000, 1.0)):
        ctx.step = step
        assert make(name).keep(ctx) == pytest.approx(1 - 0.4 * done)  # type: ignore[attr-defined]  # of these three
    ctx.step = 31
    published = make(name, least_steps=0).keep(ctx)  # type: ignore[attr-defined]  # as above
    assert published == pytest.approx(1 - 0.4 * 31 / (0.05 * DIGITS))


def test_co_teaching_plus_warms_up_for_at_least_500_steps() -> None:
    from tests.plugins.two_networks import batch_of, image_of, prepared

    first, second, labels = draw(4, batch=10)
    ctx = two_of_them()
    ctx.steps = DIGITS
    batch = batch_of(labels, images=image_of(first, second))
    for step, alike in ((499, True), (500, False)):
        ctx.step = step
        losses = [prepared(name, ctx, noise_rate=0.5).loss(batch, ctx) for name in ("co-teaching", "co-teaching-plus")]
        assert (losses[0].item() == pytest.approx(losses[1].item())) == alike


@pytest.mark.parametrize(
    ("epochs", "steps", "params", "expected"),
    [
        (30, DIGITS, {}, 13),
        (30, DIGITS, {"least_steps": 0}, 1),
        (300, 234600, {}, 10),
        (300, 234600, {"warmup_share": 0.1}, 30),
        (8, 3128, {}, 2),
        (2, 4, {}, 1),
    ],
)
def test_dividemix_warms_up_for_at_least_500_steps(
    epochs: int, steps: int, params: dict[str, Any], expected: int
) -> None:
    ctx = two_of_them()
    ctx.epochs, ctx.steps = epochs, steps
    method: Any = make("dividemix", **params)
    method.setup(ctx)
    assert method.warmup == expected


@pytest.mark.parametrize(("params", "first"), [({}, 13), ({"least_steps": 0}, 11)])
def test_joint_optimisation_replaces_labels_after_at_least_500_steps(params: dict[str, Any], first: int) -> None:
    ctx = legible()
    ctx.epochs, ctx.steps = 30, DIGITS
    knows(ctx, torch.zeros(12, CLASSES), [0] * 12)
    method: Any = make("joint-relabelling", averaged=1, **params)
    method.setup(ctx)
    replaced = []
    for ctx.epoch in range(30):
        method.on_epoch_start(ctx)
        replaced.append(bool((method.labels[:, 0] != 1).any()))
        method.recent[:] = 0.25
    assert replaced.index(True) == first
