"""What the core owns of an attack's chances: seeds, a model that is random, votes, gradients averaged and counted."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import run
from kdbench.attacks._judge import judge
from kdbench.errors import KdbenchError
from tests.attacks.dark_and_light import brightness, from_the_ball, grey, made
from tests.attacks.small_models import some_images


def drawing(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    return images + ctx.eps * torch.rand(images.shape, generator=ctx.generator)


def globally(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    noise = torch.rand_like(images[:, :1]) + random.random() + np.random.rand()
    return images + ctx.eps * noise / 3


@pytest.mark.parametrize("attack", [drawing, from_the_ball, globally])
def test_the_seed_decides_all_draws_and_the_callers_numbers_go_on(attack: Any) -> None:
    images, labels = some_images(12, low=0.3, high=0.4), torch.zeros(12, dtype=torch.long)

    def examples(seed: int) -> Tensor:
        return run(made(attack), brightness, images, labels, eps=0.03, seed=seed, batch_size=5).examples

    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    alone = torch.rand(3).tolist(), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    first = examples(1)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == alone
    assert torch.equal(examples(1), first)
    assert not torch.equal(examples(2), first)
    changes = first - images
    assert not torch.equal(changes[:5], changes[5:10])  # nor does a batch repeat another's draws


def test_random_points_of_the_ball_depend_on_restart_and_place_alone() -> None:
    images, labels = some_images(12, low=0.3, high=0.4), torch.zeros(12, dtype=torch.long)
    spec = made(from_the_ball, batch_size=None)
    whole = run(spec, brightness, images, labels, eps=0.03).examples
    assert torch.equal(run(spec, brightness, images, labels, eps=0.03, batch_size=5).examples, whole)
    two = run(spec, brightness, images, labels, eps=0.03, options={"restarts": 2}).examples
    assert not torch.equal(two, whole)


class Shaky(nn.Module):
    """Brightness with a border that moves by up to a tenth from one call to the next."""

    def forward(self, images: Tensor) -> Tensor:
        return brightness(images + 0.2 * (torch.rand(len(images), 1, 1, 1) - 0.5))


def unchanged(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    return images


def test_a_random_model_is_judged_by_votes_and_says_so() -> None:
    """At .46 a single answer is wrong for 30 of 100 shifts, a vote of 201 is right."""
    images, labels = grey(*[0.46] * 60), torch.zeros(60, dtype=torch.long)
    result = run(made(unchanged), Shaky(), images, labels, eps=0.001, votes=201)
    assert result.robust.all()
    assert (result.setting["gradient_draws"], result.setting["votes"]) == (20, 201)
    single = run(made(unchanged), Shaky(), images, labels, eps=0.001, votes=1, gradient_draws=1)
    assert 0.2 < single.clean_accuracy() - single.robust_accuracy() + 1 - single.clean_accuracy() < 0.8
    assert "votes" not in single.setting
    steady = run(made(unchanged), brightness, images, labels, eps=0.001)
    assert steady.setting == {"attack": "made", "eps": 0.001, "restarts": 1}


def test_a_vote_that_is_no_number_is_an_error_and_no_vote_for_the_first_class() -> None:
    calls = 0

    def model(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return brightness(images) if calls == 1 else torch.full((len(images), 2), torch.nan)

    with pytest.raises(KdbenchError, match="not finite"):
        judge(model, grey(0.9, 0.9), torch.tensor([0, 1]), votes=5)


@pytest.mark.parametrize("averages", [False, True])
def test_gradients_are_averaged_by_the_model_or_by_the_attack(averages: bool) -> None:
    seen = []
    count = 0

    def model(images: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return brightness(images) * (1 if count % 2 else 3)

    def asks_once(asked: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        before = count
        logits = asked(images)
        seen.append((ctx.draws, count - before, float((logits / brightness(images)).mean())))
        return images

    run(made(asks_once, averages=averages), model, grey(0.2, 0.3), torch.tensor([0, 0]), eps=0.1, gradient_draws=6,
        votes=1)  # fmt: skip
    [(draws, calls_made, factor)] = seen
    assert draws == 6
    assert calls_made == (1 if averages else 6)
    assert factor == pytest.approx(2.0) if not averages else factor in (1.0, 3.0)


def test_gradients_are_counted_and_those_that_lead_nowhere() -> None:
    """One image in four is too dark to pass any on; only the first look of each call counts."""

    def model(images: Tensor) -> Tensor:
        lit = (images[:, 0, 0, 0] > 0.25).float()
        return brightness(0.1 * images) * lit[:, None] + torch.tensor([1e-3, 0.0])

    def follows(asked: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        for _ in range(2):
            leaf = images.clone().requires_grad_(True)
            torch.autograd.grad(asked(leaf)[:, 1].sum(), leaf)
        asked(images)
        return images

    images, labels = grey(0.1, 0.3, 0.35, 0.4), torch.zeros(4, dtype=torch.long)
    result = run(made(follows), model, images, labels, eps=0.01)
    assert (result.gradients, result.zero_gradients, result.zero_gradient_share) == (4, 1, 0.25)
    twice = run(made(follows), model, images, labels, eps=0.01, options={"restarts": 2}, batch_size=3)
    assert (twice.gradients, twice.zero_gradients) == (8, 2)
    blind = run(made(unchanged), model, images, labels, eps=0.01)
    assert (blind.gradients, blind.zero_gradient_share) == (0, None)


def test_a_gradient_that_is_no_number_leads_nowhere() -> None:
    def model(images: Tensor) -> Tensor:
        return brightness(images) + 0 * (images - 0.25).abs().sqrt().sum((1, 2, 3))[:, None]

    def follows(asked: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        leaf = images.clone().requires_grad_(True)
        torch.autograd.grad(asked(leaf)[:, 1].sum(), leaf)
        return images

    result = run(made(follows), model, grey(0.25, 0.3), torch.zeros(2, dtype=torch.long), eps=0.01)
    assert (result.gradients, result.zero_gradients) == (2, 1)
