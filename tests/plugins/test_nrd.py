"""NRD's options: any weights, its parts without vicinity or without average, and the reductions it must satisfy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.methods.recipes import Setting
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Condition, Recipe
from kdbench.testing import TINY
from tests.plugins.helpers import Legible, draw_pixels, image_of, make, make_batch, make_context

LABELS = [0, 2, 1, 1]


def logits(seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_of(student: Tensor, teacher: Tensor, **params: Any) -> Tensor:
    ctx, method = make_context(Legible(3)), make("nrd", **params)
    method.setup(ctx)
    return method.loss(make_batch(LABELS, images=image_of(student), teacher=image_of(teacher)), ctx)


@pytest.mark.parametrize("pi1", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("scale", ["gjs", "none"])
def test_reduction_5_without_a_teacher_it_is_js_in_value_and_gradient(pi1: float, scale: str) -> None:
    found = []
    for name in ("nrd", "js"):
        student = logits(0).requires_grad_()
        if name == "nrd":
            loss = loss_of(student, logits(1), pi=(pi1, 1 - pi1, 0.0), scale=scale)
        else:
            batch = make_batch(LABELS, images=image_of(student))
            loss = make("js", pi1=pi1, scale=scale).loss(batch, make_context(Legible(3)))
        found.append((loss, *torch.autograd.grad(loss, student)))
    torch.testing.assert_close(*found)


def test_reduction_5_no_gradient_reaches_the_teachers_forward() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    gradients = torch.autograd.grad(loss_of(student, teacher), (student, teacher), allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None


def test_reduction_5_after_one_step_the_teacher_is_99_parts_old_and_one_part_new() -> None:
    student = build(TINY, num_classes=3, seed=0)
    ctx, method = make_context(student), make("nrd")
    method.setup(ctx)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    method.after_step(ctx)
    before, now = build(TINY, num_classes=3, seed=0), method.networks()["ema"]
    for old, average in zip(before.parameters(), now.parameters(), strict=True):
        torch.testing.assert_close(average.detach(), old.detach() + 0.01)


@pytest.mark.parametrize("pi", [(0.2, 0.6, 0.2), (0.1, 0.8, 0.1), (0.4, 0.2, 0.4), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_reduction_5_the_unscaled_loss_lies_between_0_and_the_entropy_of_the_weights(
    pi: tuple[float, float, float], scale: float
) -> None:
    entropy = -sum(weight * math.log(weight) for weight in pi)
    for seed in range(5):
        assert 0 <= loss_of(logits(seed, scale), logits(seed + 9, scale), pi=pi, scale="none").item() <= entropy


def test_the_gradient_goes_through_the_mixture_as_well() -> None:
    assert torch.autograd.gradcheck(lambda z: loss_of(z, logits(1)), logits(0).requires_grad_())


def test_pi2_alone_gives_labels_and_teacher_equal_weights() -> None:
    short, long = (loss_of(logits(0), logits(1), **p) for p in ({"pi2": 0.8}, {"pi": (0.1, 0.8, 0.1), "pi2": 0.3}))
    torch.testing.assert_close(short, long)


def test_nvr_has_the_students_present_weights() -> None:
    student = build(TINY, num_classes=3, seed=0).train()
    ctx, method = make_context(student), make("nrd", variant="nvr")
    method.setup(ctx)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.5)
        student(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2)))
    method.after_step(ctx)
    average = method.networks()["ema"]
    for present, copied in zip(student.parameters(), average.parameters(), strict=True):
        assert torch.equal(copied, present)


def after_a_step(**params: Any) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d, Tensor]:
    """Batch norms of student and teacher after one step from statistics that differ, and what the teacher's saw."""
    student = build(TINY, num_classes=3, seed=0).train()
    ctx, method = make_context(student), make("nrd", **params)
    method.setup(ctx)
    teacher = method.networks()["ema"]
    method.on_epoch_start(ctx)
    views = {"images": draw_pixels(1, 4, 3, 32, 32), "teacher": draw_pixels(2, 4, 3, 32, 32)}
    with torch.no_grad():
        seen = teacher.get_submodule("network.features.0")(views["teacher"])
        for parameter in student.parameters():
            parameter.add_(0.5)
    method.loss(make_batch([0, 1, 2, 0], **views), ctx)
    method.after_step(ctx)
    found = (network.get_submodule("network.features.1") for network in (student, teacher))
    return (*found, seen)  # type: ignore[return-value]  # torch leaves them untyped


def test_the_averages_statistics_are_its_own() -> None:
    """They were the student's: of other weights, seen through other views."""
    student, teacher, seen = after_a_step()
    expected = 0.1 * seen.mean((0, 2, 3))  # from 0, momentum .1
    torch.testing.assert_close(teacher.running_mean, expected)
    assert student.running_mean is not None
    assert (student.running_mean - expected).abs().max() > 0.01


def test_a_teacher_in_eval_mode_has_averaged_statistics() -> None:
    student, teacher, _ = after_a_step(teacher_bn="eval", decay=0.75)
    assert student.running_mean is not None
    torch.testing.assert_close(teacher.running_mean, 0.25 * student.running_mean)
    assert teacher.num_batches_tracked == student.num_batches_tracked == 1


@pytest.mark.parametrize(("variant", "alike"), [("ner", True), ("nrd", False), ("nvr", False)])
def test_ner_shows_the_teacher_a_view_without_vicinity(variant: str, alike: bool) -> None:
    """Grey images with black borders: crop and flip bring no other value, AugMix does."""
    ctx, method = make_context(build(TINY, num_classes=3, seed=0)), make("nrd", variant=variant)
    views: Any = method.views(torch.full((32, 3, 32, 32), 0.6), ctx)
    values = views["teacher"]
    assert bool(((values == 0) | ((values - 0.6).abs() < 1e-6)).all()) is alike
    assert views["images"].shape == values.shape


@pytest.mark.parametrize(("params", "alike"), [({"view": "suite"}, True), ({}, False)])
def test_the_student_can_see_the_suites_own_view_as_its_rivals_do(params: dict[str, Any], alike: bool) -> None:
    """The suite of this context augments nothing."""
    ctx, method = make_context(build(TINY, num_classes=3, seed=0)), make("nrd", **params)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    views: Any = method.views(images, ctx)
    assert torch.equal(views["images"], ctx.augment(images)) is alike


def test_the_network_that_is_asked_for_is_measured() -> None:
    for evaluated in ("student", "ema"):
        ctx, method = make_context(build(TINY, num_classes=3, seed=0)), make("nrd", evaluated=evaluated)
        method.setup(ctx)
        assert method.predictor(ctx) is {"student": ctx.student, "ema": method.networks()["ema"]}[evaluated]


def test_the_scale_is_a_factor_of_the_loss() -> None:
    for pi2, factor in ((0.6, 5.601775), (0.8, 10.545802), (0.5, 4.634746), (0.2, 3.262692)):
        scaled, plain = (loss_of(logits(0), logits(1), pi2=pi2, scale=scale) for scale in ("gjs", "none"))
        assert (scaled / plain).item() == pytest.approx(factor, rel=1e-6)


def test_unscaled_on_webvision_with_the_papers_weights() -> None:
    condition = Condition(recipe=Recipe(epochs=1, batch_size=1, lr=0.1))
    spec = load_plugins().methods.get("nrd")
    datasets = {name for recipe in spec.recipes for name in recipe.get("dataset", ()) if "webvision" in name}
    assert datasets
    for dataset in datasets:
        found = spec.resolve({}, Setting("mine", dataset, "wrn-10-1", condition))
        assert [found.params[key] for key in ("pi2", "scale", "decay")] == [0.8, "none", 0.99]
        assert found.tuned == {}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"pi": (0.2, 0.6, 0.3)}, r"parameter pi: weights \(0.2, 0.6, 0.3\) sum to 1.1, expected 1"),
        ({"pi": (0.5, 0.0, 0.5)}, "leave the student out"),
        ({"pi": (0.0, 0.6, 0.4)}, "have no scale"),
        ({"pi": (-0.1, 0.6, 0.5)}, "pi.0: input should be greater than or equal to 0"),
        ({"pi": (0.5, 0.5)}, "pi.2: field required"),
        ({"variant": "nvr", "decay": 0.5}, "decay: 0.5 has no effect with variant='nvr'"),
        ({"variant": "nmr"}, "variant: input should be 'nrd', 'ner' or 'nvr'"),
    ],
)
def test_weights_that_are_none_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make("nrd", **params)
