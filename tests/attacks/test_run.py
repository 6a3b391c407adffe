"""What the core owns of every attack: the ball, restarts, stages, judging, randomness, batches, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.attacks import find_attack, pgd, run
from kdbench.errors import KdbenchError
from tests.attacks.dark_and_light import LEVELS, brightness, from_the_ball, grey, made
from tests.attacks.small_models import Linear, curved, labelled, some_images


def test_candidates_outside_the_ball_are_clipped_and_judged_again() -> None:
    """To white breaks every dark image; inside the ball only that which is nearer than eps to the border."""
    seen = []

    def to_white(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        seen.append(len(images))
        return images + 2

    result = run(made(to_white), brightness, grey(*LEVELS), torch.tensor([0, 0, 0, 1]), eps=0.03)
    assert result.robust.tolist() == [True, True, False, True]
    assert torch.allclose(result.examples, grey(*LEVELS) + 0.03, rtol=0, atol=1e-6)
    assert seen == [4]
    assert (result.clean_accuracy(), result.robust_accuracy(), result.conditional_accuracy()) == (1.0, 0.75, 0.75)


def test_candidates_that_lie_far_outside_the_ball_are_counted() -> None:
    """Of a change of .05 clipping to .03 takes .4, of .07 it takes .57; what is no number is lost whole."""
    moves = torch.tensor([0.03, 0.05, 0.07, float("nan")])[:, None, None, None]

    def away(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        images[:, 0, 0, 0] += moves[ctx.index, 0, 0, 0]
        return images

    labels = torch.tensor([0, 0, 0, 1])
    result = run(made(away), brightness, grey(*LEVELS), labels, eps=0.03)
    assert (result.candidates, result.outside, result.outside_share) == (4, 2, 0.5)
    twice = run(made(away), brightness, grey(*LEVELS), labels, eps=0.03, options={"restarts": 2}, every_restart=True)
    assert (twice.candidates, twice.outside) == (8, 4)
    assert run(made(away), brightness, grey(*LEVELS), labels, eps=0).outside_share is None


def test_an_image_that_is_wrong_already_is_not_attacked_and_never_robust() -> None:
    seen = []

    def darken(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        seen.append(len(images))
        return images - 0.05

    result = run(made(darken), brightness, grey(0.51, 0.2), torch.tensor([0, 0]), eps=0.05)
    assert (result.clean_correct.tolist(), result.robust.tolist()) == ([False, True], [False, True])
    assert torch.equal(result.examples[0], grey(0.51)[0])
    assert seen == [1]
    assert result.conditional_accuracy() == 1.0


def test_where_nothing_is_right_nothing_is_attacked() -> None:
    def never(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        raise AssertionError("it was called")

    result = run(made(never), brightness, grey(*LEVELS), torch.tensor([1, 1, 1, 0]), eps=0.1)
    assert not result.clean_correct.any()
    assert torch.equal(result.examples, grey(*LEVELS))
    with pytest.raises(KdbenchError, match="undefined"):
        result.conditional_accuracy()
    result = run(made(never), brightness, (grey(*LEVELS) * 255).byte(), torch.tensor([0, 0, 0, 0]), eps=0)
    assert result.robust.tolist() == result.clean_correct.tolist() == [True, True, True, False]
    assert torch.equal(result.examples, (grey(*LEVELS) * 255).byte() / 255)


def test_pixels_that_are_no_numbers_become_the_images() -> None:
    def nothing(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        return torch.full_like(images, torch.nan)

    result = run(made(nothing), brightness, grey(0.4, 0.4), torch.tensor([0, 0]), eps=0.2)
    assert torch.equal(result.examples, grey(0.4, 0.4))
    assert result.robust.tolist() == [True, True]


@pytest.mark.parametrize(
    ("returned", "message"),
    [(lambda images: images[:1], r"returned shape \(1, 3, 8, 8\)"), (lambda images: [images], "returned list")],
)
def test_what_is_no_candidate_is_refused(returned: Any, message: str) -> None:
    def wrong(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
        return returned(images)

    with pytest.raises(KdbenchError, match=message):
        run(made(wrong), brightness, grey(0.2, 0.3), torch.tensor([0, 0]), eps=0.1)


def test_what_an_attack_writes_into_its_inputs_moves_neither_ball_nor_labels() -> None:
    def writes(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        labels.fill_(1)
        return images.add_(0.5)

    images, labels = grey(0.2, 0.49), torch.tensor([0, 0])
    result = run(made(writes), brightness, images, labels, eps=0.02)
    assert torch.allclose(result.examples, grey(0.22, 0.51), rtol=0, atol=1e-6)
    assert result.robust.tolist() == [True, False]
    assert torch.equal(images, grey(0.2, 0.49))
    assert labels.tolist() == [0, 0]


def by_restart(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    """Restart r reaches images within (r + 1) hundredths of the border."""
    return images + 0.01 * (ctx.restart + 1)


@pytest.mark.parametrize("every", [False, True])
def test_later_restarts_run_on_what_still_stands_unless_every_is_asked_for(every: bool) -> None:
    seen = []

    def counting(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        seen.append((ctx.restart, len(images)))
        return by_restart(model, images, labels, ctx)

    images = grey(0.495, 0.485, 0.475, 0.3)
    result = run(made(counting, restarts=3), brightness, images, torch.tensor([0] * 4), eps=0.1, every_restart=every)
    assert seen == ([(0, 4), (1, 4), (2, 4)] if every else [(0, 4), (1, 3), (2, 2)])
    assert result.robust.tolist() == [False, False, False, True]
    # The example is that of the first restart which broke the image, else of the last one.
    assert result.examples[:, 0, 0, 0].tolist() == pytest.approx([0.505, 0.505, 0.505, 0.33], abs=1e-6)
    if not every:
        assert result.restart_correct is None
    else:
        assert result.restart_correct is not None
        assert result.restart_correct.tolist() == [
            [False, True, True, True], [False, False, True, True], [False, False, False, True],
        ]  # fmt: skip
    assert result.setting == {"attack": "made", "eps": 0.1, "restarts": 3}


class Staged:
    """Two parts, the second twice as strong; a random model gets one."""

    def __init__(self, *, step: float = 0.01) -> None:
        self.step, self.seen = step, list[tuple[str, int]]()

    def stages(self, draws: int) -> Sequence[str]:
        return ("weak", "strong") if draws == 1 else ("only",)

    def __call__(self, model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        calls.append((ctx.restart, ctx.stage, len(images)))
        return images + self.step * {"weak": 1, "strong": 2, "only": 0}[ctx.stage]


calls: list[tuple[int, str, int]] = []


@pytest.mark.parametrize("every", [False, True])
def test_stages_run_on_what_the_ones_before_left_standing(every: bool) -> None:
    calls.clear()
    images = grey(0.495, 0.485, 0.3)
    setting: dict[str, Any] = {"eps": 0.1, "every_restart": every}
    spec = kdbench.attack("staged", restarts=2)(Staged)
    result = run(spec, brightness, images, torch.tensor([0] * 3), **setting)
    again = [(1, "weak", 3), (1, "strong", 2)] if every else [(1, "weak", 1), (1, "strong", 1)]
    assert calls == [(0, "weak", 3), (0, "strong", 2), *again]
    assert result.robust.tolist() == [False, False, True]
    assert result.examples[:, 0, 0, 0].tolist() == pytest.approx([0.505, 0.505, 0.32], abs=1e-6)
    calls.clear()
    run(spec, brightness, images, torch.tensor([0] * 3), gradient_draws=2, options={"step": 0.5}, **setting)
    assert {stage for _, stage, _ in calls} == {"only"}


def test_an_attack_by_name_is_the_engine_it_stands_for() -> None:
    """On the images that are right: the same starts, steps and worst case as ``pgd`` with one restart's seed."""
    model, images = curved(), some_images(30)
    labels = labelled(model, images)
    options = {"steps": 4, "step_size": 0.002, "start": "zero", "restarts": 1}
    found = run("pgd", model, images, labels, eps=0.006, options=options)
    engine = pgd(model, images, labels, eps=0.006, step_size=0.002, steps=4, start="zero", keep_examples=True)
    assert torch.equal(found.robust, engine.robust[4] & engine.clean_correct)
    assert engine.examples is not None
    right = engine.clean_correct
    assert torch.allclose(found.examples[right], engine.examples[right], rtol=0, atol=1e-6)
    assert 0 < found.robust_accuracy() < found.clean_accuracy()


@pytest.mark.parametrize("name", list(kdbench.attacks.OBJECTIVES))
def test_every_objective_breaks_a_linear_model_exactly_where_its_margins_say(name: str) -> None:
    """Targeted ones need a restart for each wrong class: then the nearest is among them."""
    from tests.attacks.small_models import reach

    model, images = Linear(4), some_images(40, low=0.3, high=0.7)
    labels = labelled(model, images, 4)
    radii = reach(model, images, labels)
    eps = float(np.sort(radii)[20] + np.sort(radii)[21]) / 2
    options = {"objective": name, "steps": 40, "restarts": 3}
    result = run("pgd", model, images, labels, eps=eps, options=options)
    exact = not name.endswith(("cross-entropy", "dlr"))  # those weigh other classes too, which costs them the corner
    missed = result.robust.numpy() != (radii > eps)
    assert missed.sum() == 0 if exact else missed.sum() <= 2
    assert not (result.robust.numpy() & (radii <= 0)).any()
    assert result.setting == {
        "attack": "pgd", "eps": eps, "steps": 40, "restarts": 3, "objective": name, "start": "uniform",
        "step_rule": "sign", "iterate": "last", "step_size": 2.5 * eps / 40,
    }  # fmt: skip


def test_the_models_state_comes_back_and_it_is_frozen_meanwhile() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 5))
    model[1].eval()
    model[0].weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    seen = []

    def looks(asked: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        seen.append([module.training for module in asked.modules()] + [p.requires_grad for p in asked.parameters()])
        return images

    images = some_images(20)
    with torch.no_grad():
        labels = model.eval()(images).argmax(1)
    model.train()
    model[1].eval()
    run(made(looks), model, images, labels, eps=0.1)
    assert not any(seen[0])
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    with pytest.raises(ValueError, match="on purpose"):
        run(made(fails), model, images, labels, eps=0.1)
    assert [module.training for module in model.modules()] == modes


def test_an_attack_that_leaves_train_mode_does_not_decide_how_it_is_judged() -> None:
    class Dropped(nn.Module):
        """Right in eval mode, at random in train mode."""

        def forward(self, images: Tensor) -> Tensor:
            return brightness(torch.rand_like(images) if self.training else images)

    def trains(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        model.train()
        return images

    images, labels = grey(*[0.2] * 40), torch.zeros(40, dtype=torch.long)
    assert run(made(trains), Dropped(), images, labels, eps=0.1, options={"restarts": 2}).robust.all()


def fails(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
    raise ValueError("on purpose")


def test_a_full_device_halves_the_batch_and_keeps_every_image() -> None:
    tried = []

    def hungry(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Tensor:
        tried.append(len(images))
        if len(images) > 8:
            raise torch.OutOfMemoryError
        return ctx.uniform(images)

    images, labels = some_images(20, low=0.3, high=0.4), torch.zeros(20, dtype=torch.long)
    found = run(made(hungry), brightness, images, labels, eps=0.1).examples
    assert tried == [20, 10, 5, 5, 5, 5]
    assert torch.equal(found, run(made(from_the_ball), brightness, images, labels, eps=0.1).examples)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_the_caller_switched_gradients_off(context: Any) -> None:
    model, images = curved(), some_images(6)
    labels = labelled(model, images)
    expected = run("pgd", model, images, labels, eps=0.02).examples
    with context():
        assert torch.equal(run("pgd", model, images.clone(), labels.clone(), eps=0.02).examples, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "pdg"}, "no attack named 'pdg' .did you mean 'pgd'"),
        ({"attack": "pgd:x"}, "attack 'pgd' has no members"),
        ({"attack": "torchattacks"}, "family of attacks"),
        ({"options": {"stepz": 3}}, "no option named 'stepz' .did you mean 'steps'.*describe attack pgd"),
        ({"options": {"steps": 0}}, "attack 'pgd', option steps: input should be greater than or equal to 1"),
        ({"options": {"objective": "marign"}}, "attack 'pgd', option objective"),
        ({"eps": -0.1}, "eps is -0.1"),
        ({"eps": float("nan")}, "eps is nan"),
        ({"eps": 1.5}, "eps is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"gradient_draws": 0}, "gradient_draws is 0"),
        ({"votes": 0}, "votes is 0"),
        ({"images": torch.rand(2, 3, 8, 8) + 1}, "expected \\[0, 1\\]"),
        ({"labels": torch.tensor([0])}, "labels have shape"),
        ({"model": lambda images: brightness(images).softmax(1)}, "returned probabilities"),
        ({"model": lambda images: brightness(images.detach())}, "no gradient to the input"),
        ({"options": {"objective": "dlr"}}, "objective 'dlr' compares 3 logits, the model has 2"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {
        "attack": "pgd", "model": brightness, "images": grey(0.2, 0.3), "labels": torch.tensor([0, 0]), "eps": 0.1,
    } | changes  # fmt: skip
    with pytest.raises(KdbenchError, match=message):
        run(call.pop("attack"), call.pop("model"), call.pop("images"), call.pop("labels"), **call)


def test_a_registered_attack_is_found_by_its_name() -> None:
    assert find_attack("pgd") is kdbench.attacks.find_attack("pgd")
    assert find_attack("torchattacks:FGSM").name == "torchattacks:FGSM"
