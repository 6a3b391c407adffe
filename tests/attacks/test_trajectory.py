"""The engine: every combination of objective, start, step and iterate against a loop, image by image."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.attacks import OBJECTIVES, pgd
from kdbench.attacks._starts import STARTS, starting
from kdbench.attacks.step import STEPS
from kdbench.attacks.trajectory import ITERATES

EPS, STEP_SIZE, KS = 0.02, 0.008, (2, 4)
COMBINATIONS = list(itertools.product(OBJECTIVES, STARTS, STEPS, ITERATES))


def climbed(name: str, logits: Tensor, y: int, t: int) -> Tensor:
    """The objective of one image, from its definition."""
    others = torch.cat([logits[:y], logits[y + 1 :]])
    if name == "cross-entropy":
        return -torch.log_softmax(logits, 0)[y]
    if name == "targeted-cross-entropy":
        return torch.log_softmax(logits, 0)[t]
    if name == "margin":
        return others.max() - logits[y]
    if name == "targeted-margin":
        return logits[t] - torch.cat([logits[:t], logits[t + 1 :]]).max()
    first, _, third, fourth = logits.sort(descending=True).values
    # AutoAttack's 1e-12 below decides where the true class is third: there the quotient is 1 whatever the logits.
    if name == "dlr":
        return (others.max() - logits[y]) / (first - third + 1e-12)
    return (logits[t] - logits[y]) / (first - (third + fourth) / 2 + 1e-12)


def walk(
    model: Any, image: Tensor, start: Tensor, y: int, t: int, combination: tuple[str, ...]
) -> list[tuple[Tensor, bool, float]]:
    """Each iterate, whether it is right, and its objective."""
    objective, _, step, _ = combination
    x, momentum, found = start.clone(), torch.zeros_like(image), []
    for _ in range(max(KS) + 1):
        x = x.detach().requires_grad_(True)
        logits = model(x[None])[0]
        height = climbed(objective, logits, y, t)
        found.append((x.detach(), int(logits.argmax()) == y, height.item()))
        (gradient,) = torch.autograd.grad(height, x)
        momentum = momentum + gradient / gradient.abs().sum()
        direction = momentum if step == "momentum" else gradient
        x = image + torch.clip(x.detach() + STEP_SIZE * direction.sign() - image, -EPS, EPS)
        x = x.clip(0, 1)
    return found


@pytest.mark.parametrize("combination", COMBINATIONS, ids=" ".join)
def test_every_combination_is_what_a_loop_finds(problem: Any, combination: tuple[str, ...]) -> None:
    objective, start, step, iterate = combination
    model = problem.model.eval()
    images, labels = problem.images[:9], problem.labels[:9]
    targets = (labels + 1) % 4 if OBJECTIVES[objective].targeted else None
    result = pgd(
        model, images, labels, eps=EPS, step_size=STEP_SIZE, steps=KS, restarts=2, start=start, objective=objective,
        targets=targets, step_rule=step, iterate=iterate, batch_size=4, full_restarts=True, keep_examples=True,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    begin = starting(start, images, EPS, 2, torch.Generator().manual_seed(5))
    starts = [begin(run, torch.arange(9), images) for run in range(2)]
    for place, (image, y) in enumerate(zip(images, labels.tolist(), strict=True)):
        t = (y + 1) % 4
        walks = [walk(model, image, first[place], y, t, combination) for first in starts]
        for k in KS:
            chosen = [_counted(one[: k + 1], iterate) for one in walks]
            assert result.run_correct[k][:, place].tolist() == [right for _, right, _ in chosen]
            assert bool(result.robust[k][place]) == all(right for _, right, _ in chosen)
            assert bool(result.survived[k][place]) == all(right for one in walks for _, right, _ in one[: k + 1])
        broke = [x for x, right, _ in chosen if not right] or [chosen[-1][0]]
        assert result.examples is not None
        assert torch.allclose(result.examples[place], broke[0], rtol=0, atol=1e-6)


def _counted(iterates: list[tuple[Tensor, bool, float]], rule: str) -> tuple[Tensor, bool, float]:
    return iterates[-1] if rule == "last" else max(iterates, key=lambda one: one[2])


def test_the_rule_over_iterates_matters(problem: Any) -> None:
    """A step this long overshoots, so that the best iterate is often not the last."""
    setting: dict[str, Any] = {"eps": 0.03, "step_size": 0.03, "steps": 6, "start": "zero", "keep_examples": True}
    last, best = (pgd(problem.model, problem.images, problem.labels, iterate=rule, **setting) for rule in ITERATES)
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(problem.model.eval()(one.examples), problem.labels, reduction="none")
            for one in (last, best)
        ]
    assert bool((losses[1] >= losses[0]).all())
    assert int((losses[1] > losses[0]).sum()) > 10


@pytest.mark.parametrize("iterate", ITERATES)
def test_images_that_leave_on_the_way_change_nothing(problem: Any, iterate: str) -> None:
    """Momentum and best iterates go on with those that stay."""
    setting: dict[str, Any] = {
        "eps": 0.005, "step_size": 0.00125, "steps": (1, 2, 3), "restarts": 4,
        "step_rule": "momentum", "iterate": iterate,
    }  # fmt: skip
    some, every = (
        pgd(problem.model, problem.images, problem.labels, full_restarts=full, **setting) for full in (False, True)
    )
    assert int(some.stepped.sum()) < int(every.stepped.sum())
    for k in (1, 2, 3):
        assert torch.equal(some.robust[k], every.robust[k])
        assert torch.equal(some.survived[k], every.survived[k])


def test_under_votes_the_best_iterate_is_judged_by_them_too() -> None:
    """The best of three iterates is x_1; a vote on it is asked for at k = 2, beside one on x_2."""
    asked: list[float] = []

    def model(images: Tensor) -> Tensor:
        moved = images.flatten(1).sum(dim=1) - 0.5
        asked.append(round(float(moved[0].detach()), 3))
        margin = (moved - 0.02).abs() + 0.01 * moved  # up from 0 the objective is highest at .02
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    result = pgd(model, torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long), eps=0.1, step_size=0.02,
                 steps=(1, 2), start="zero", iterate="best", votes=3, keep_examples=True)  # fmt: skip
    assert result.examples is not None
    assert float(result.examples) == pytest.approx(0.52, abs=1e-6)
    assert asked.count(0.02) >= 3
