"""Smoothed predictions, and what is distilled from them, against NumPy and SciPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from kdbench_smoothing.distilled import smoothed_distillation
from kdbench_smoothing.noisy_network import ColouredNoise, NoisyNetwork
from kdbench_smoothing.smoothed import Smoothed, smooth
from kdbench_smoothing.smoothed_teacher import smoothed_by
from scipy import special
from scipy.special import log_softmax
from torch import Tensor, fx, nn

import kdbench
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.running.needs import Needs
from kdbench.suites import builtin_suites
from kdbench.suites.reading import read_suite
from kdbench.testing import TINY
from tests.plugins.helpers import (
    Fixed,
    Legible,
    draw_pixels,
    image_of,
    make,
    make_batch,
    make_context,
    seeded,
    softmax,
)

# Smoothing


@pytest.mark.parametrize("draws", [1, 4, 9])
@pytest.mark.parametrize("scale", [0.5, 5.0, 300.0])
def test_smoothing_equals_numpy(draws: int, scale: float) -> None:
    logits = scale * torch.randn(draws, 6, 4, generator=seeded(draws), dtype=torch.float64)
    z = logits.numpy()
    votes = np.stack([(z.argmax(2) == c).sum(0) for c in range(4)], axis=1)
    expected = {
        "votes": np.log((votes + 0.25) / (draws + 1)),
        "mean-logit": z.mean(0),
    }
    for aggregation, by_hand in expected.items():
        np.testing.assert_allclose(smoothed(logits, aggregation).numpy(), by_hand, rtol=1e-10, atol=1e-10)
    soft = smoothed(logits, "soft")
    np.testing.assert_allclose(soft.exp().numpy(), special.softmax(z, axis=2).mean(0), rtol=1e-10, atol=1e-300)
    assert soft.isfinite().all()


def smoothed(logits: Tensor, aggregation: Any) -> Tensor:
    """``smooth`` over the first dimension."""
    draws = iter(logits)
    return smooth(lambda _: next(draws), logits, len(logits), aggregation)


def test_reduction_13_one_draw_is_a_single_forward() -> None:
    network, pixels = build(TINY, num_classes=5, seed=0).eval(), draw_pixels(0, 6, 3, 32, 32)
    noisy = NoisyNetwork(network, ColouredNoise(network))

    def under(smoothing: Any) -> Tensor:
        torch.manual_seed(4)
        return Smoothed(noisy, smoothing=smoothing, draws=1)(pixels)

    torch.manual_seed(4)
    single = noisy(pixels)
    assert torch.equal(under("none"), single)
    assert torch.equal(under("mean-logit"), single)
    torch.testing.assert_close(under("soft"), single.log_softmax(1))
    assert torch.equal(under("votes").argmax(1), single.argmax(1))


@pytest.mark.parametrize("aggregation", ["votes", "soft", "mean-logit"])
def test_reduction_13_the_variance_over_repeats_falls_as_1_over_m(aggregation: Any) -> None:
    variances = []
    for draws in (1, 4, 16):
        logits = torch.randn(draws, 4000, 3, generator=seeded(draws))  # 4000 repeats of one image
        found = smoothed(logits, aggregation).double()
        # Votes without their pseudo-count, logits as they are: what is averaged in each case.
        averaged = {"votes": lambda z, m: (z.exp() * (m + 1) - 1 / 3) / m, "soft": lambda z, m: z.exp()}
        values = averaged.get(aggregation, lambda z, m: z)(found, draws)
        variances.append(values.var(0).mean().item() * draws)
    assert variances[1:] == pytest.approx(variances[:1] * 2, rel=0.1)


def test_votes_have_the_gradient_of_mean_probabilities_and_ties_go_to_the_lowest_class() -> None:
    logits = torch.randn(6, 5, 4, generator=seeded(0), dtype=torch.float64)
    gradients = []
    for aggregation in ("votes", "soft"):
        leaf = logits.clone().requires_grad_()
        gradients.append(torch.autograd.grad((smoothed(leaf, aggregation) * logits[0]).sum(), leaf)[0])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0
    tied = torch.tensor([[[0.0, 100.0, 1.0]], [[0.0, 1.0, 300.0]]])
    for requires_grad in (False, True):
        found = smoothed(tied.clone().requires_grad_(requires_grad), "votes")
        assert found[0, 1] == found[0, 2]
        assert found.argmax(1).item() == 1


@pytest.mark.parametrize("aggregation", ["soft", "mean-logit"])
def test_smoothing_passes_gradcheck(aggregation: Any) -> None:
    logits = torch.randn(3, 2, 4, generator=seeded(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: smoothed(z, aggregation), logits)


def test_input_noise_is_added_to_the_pixels_of_each_draw_pixels() -> None:
    pixels = torch.full((4000, 3, 2, 2), 0.5)
    torch.manual_seed(0)
    model = Smoothed(Legible(12), smoothing="mean-logit", draws=4, input_sigma=0.25)
    assert model(pixels).std().item() == pytest.approx(0.25 / 2, rel=0.02)


@pytest.mark.parametrize("smoothing", ["votes", "none"])
def test_a_tracer_gives_up_before_a_draw_is_made(smoothing: Any) -> None:
    network = build(TINY, num_classes=5, seed=0).eval()
    model = Smoothed(NoisyNetwork(network, ColouredNoise(network)), smoothing=smoothing, draws=2)
    before = torch.get_rng_state()
    with pytest.raises(fx.proxy.TraceError):
        fx.symbolic_trace(model)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(kdbench.KdbenchError, match=r"shape \(3, 32, 32\), expected \(B, 3, H, W\)"):
        model(draw_pixels(0, 3, 32, 32))


# Distillation


class Reader(nn.Module):
    """A teacher that knows each image by the number written in it: image i is of class i mod C."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.calls = classes, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        number = (pixels.flatten(1)[:, -1] * 1000).round().long()
        return 4.0 * nn.functional.one_hot(number % self.classes, self.classes).double()


def numbered(logits: Tensor, index: list[int]) -> Tensor:
    images = image_of(logits).clone()
    images.view(len(index), -1)[:, -1] = torch.tensor(index) / 1000
    return images


def shuffled_batch(index: list[int], classes: int, seed: int = 0) -> tuple[kdbench.Batch, Any]:
    """A batch of these examples, whose images hold number and the student's logits in [0, 1]; and those logits."""
    logits = draw_pixels(seed, len(index), classes)
    images = numbered(logits, index)
    labels = torch.randint(classes, (len(index),), generator=seeded(seed))
    return kdbench.Batch(images, labels, torch.tensor(index), {"images": images}), logits.double().numpy()


def targets(index: list[int], classes: int, smoothing: str, draws: int) -> Any:
    """What the teacher of ``Reader`` says: probabilities (B,C)."""
    z = 4.0 * np.eye(classes)[np.array(index) % classes]
    if smoothing == "votes":
        return (draws * (z > 0) + 1 / classes) / (draws + 1)
    return softmax(z)


def distillation(z: Any, p: Any, labels: Any, w: float, t: float) -> Any:
    target = p ** (1 / t) / (p ** (1 / t)).sum(1, keepdims=True)
    hard = -log_softmax(z, axis=1)[range(len(z)), labels]
    return (1 - w) * hard - w * t**2 * (target * log_softmax(z / t, axis=1)).sum(1)


@pytest.mark.parametrize("smoothing", ["votes", "soft", "mean-logit"])
@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 1.0), (0.5, 2.0), (0.9, 4.0), (1.0, 0.5)])
def test_reduction_14_each_image_has_its_own_teacher_row_in_the_formula(
    smoothing: str, weight: float, temperature: float
) -> None:
    classes = 5
    for index in ([7, 3, 11, 0, 4, 9], [12, 1, 8, 2, 13, 6]):
        batch, z = shuffled_batch(index, classes)
        ctx = make_context(Legible(classes), Reader(classes), classes=classes)
        method = make("kd-smoothed", weight=weight, temperature=temperature, smoothing=smoothing, draws=3)
        p = targets(index, classes, smoothing, 3)
        expected = distillation(z, p, batch.labels.numpy(), weight, temperature).mean()
        assert method.loss(batch, ctx).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", ["votes", "soft", "mean-logit"])
@pytest.mark.parametrize(
    ("weight", "adversarial_weight", "eps"), [(0.75, 0.25, 8 / 255), (0.2, 1.0, 0.0), (0.5, 0.5, 0.2)]
)
def test_adversarial_distillation_is_its_formula_with_the_clean_images_targets(
    smoothing: str, weight: float, adversarial_weight: float, eps: float
) -> None:
    classes, index = 4, [5, 2, 8, 3]
    batch, z = shuffled_batch(index, classes)
    labels = batch.labels.numpy()
    method = make(
        "kd-smoothed-adversarial", weight=weight, adversarial_weight=adversarial_weight, eps=eps, smoothing=smoothing,
        draws=3, step_size=0.006, steps=10,
    )  # fmt: skip
    loss = method.loss(batch, make_context(Legible(classes), Reader(classes), classes=classes)).item()
    # The student's logits are pixels: the loss rises fastest, at every step alike, by the sign of softmax - label.
    away = np.where(np.eye(classes)[labels] > 0, -1.0, 1.0)
    attacked = np.clip(z + min(eps, 0.06) * away, 0, 1)
    p = targets(index, classes, smoothing, 3)
    expected = 0.5 * distillation(z, p, labels, weight, 2.0) + 0.5 * distillation(
        attacked, p, labels, adversarial_weight, 2.0
    )
    assert loss == pytest.approx(expected.mean(), rel=1e-5)


def test_adversarial_distillation_without_a_budget_and_with_one_weight_is_the_clean_one() -> None:
    batch, _ = shuffled_batch([3, 1, 2], 4)
    ctx = make_context(Legible(4), Reader(4), classes=4)
    clean = make("kd-smoothed", weight=0.4).loss(batch, ctx)
    both = make("kd-smoothed-adversarial", weight=0.4, adversarial_weight=0.4, eps=0.0).loss(batch, ctx)
    torch.testing.assert_close(clean, both)


def test_distillation_passes_gradcheck_and_differs_from_a_divergence_by_a_constant() -> None:
    teacher, student = (torch.randn(4, 5, generator=seeded(s), dtype=torch.float64) for s in (0, 1))
    labels = torch.tensor([0, 1, 2, 3])
    student.requires_grad_()

    def loss(z: Tensor) -> Tensor:
        return smoothed_distillation(teacher, z, labels, weight=0.7, temperature=2.0)

    assert torch.autograd.gradcheck(loss, student)
    divergence = kdbench.losses.distillation(teacher, student, labels, temperature=2.0, alpha=0.7)
    torch.testing.assert_close(
        torch.autograd.grad(loss(student).sum(), student), torch.autograd.grad(divergence.sum(), student)
    )


@pytest.mark.parametrize(
    ("name", "params"), [("kd-smoothed", {"smoothing": "votes"}), ("katz-as-published", {"run": "clean"})]
)
def test_gradients_of_the_methods_match_finite_differences(name: str, params: dict[str, Any]) -> None:
    index = [5, 2, 8, 3]
    labels = torch.tensor([0, 3, 1, 1])
    ctx = dataclasses.replace(make_context(Legible(4), Reader(4), classes=4), train_size=10)
    method = make(name, draws=3, **params)
    method.setup(ctx)

    def loss(logits: Tensor) -> Tensor:
        images = numbered(logits, index)
        return method.loss(kdbench.Batch(images, labels, torch.tensor(index), {"images": images}), ctx)

    assert torch.autograd.gradcheck(loss, draw_pixels(4, 4, 4).double().requires_grad_())


def test_targets_are_m_single_draws_whatever_the_teacher_smooths_over_itself() -> None:
    images, reader = numbered(draw_pixels(0, 3, 4), [1, 2, 3]), Reader(4)
    plain = smoothed_by(reader, draws=6, smoothing="soft")(images)
    assert reader.calls == 6
    for own in ("votes", "none"):
        reader.calls = 0
        smoothing = Smoothed(reader, smoothing=own, draws=50)  # type: ignore[arg-type]  # a literal in a loop
        assert torch.equal(smoothed_by(smoothing, draws=6, smoothing="soft")(images), plain)
        assert reader.calls == 6


def test_no_gradient_reaches_the_teacher() -> None:
    for name in ("kd-smoothed", "kd-smoothed-adversarial", "katz-as-published"):
        teacher, student = Fixed([[1.0, 2.0, 0.0]] * 2), build(TINY, num_classes=3, seed=0)
        ctx, method = make_context(student, teacher), make(name)
        method.setup(ctx)
        method.loss(make_batch([0, 1]), ctx).backward()
        assert teacher.logits.grad is None, name


@pytest.mark.parametrize("name", ["kd-smoothed", "kd-smoothed-adversarial"])
def test_reduction_2_doubling_the_batch_by_repetition_changes_nothing(name: str) -> None:
    batch, _ = shuffled_batch([3, 1, 2], 4)
    twice = kdbench.Batch(batch.images.repeat(2, 1, 1, 1), batch.labels.repeat(2), batch.index.repeat(2), {})
    ctx = make_context(Legible(4), Reader(4), classes=4)
    torch.testing.assert_close(make(name).loss(batch, ctx), make(name).loss(twice, ctx))


# As published


@pytest.mark.parametrize("smoothing", ["votes", "mean-logit"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("run", ["clean", "adversarial"])
def test_the_published_loss_has_its_slips(smoothing: str, temperature: float, run: str) -> None:
    classes, index = 4, [5, 2, 8, 3, 7, 0]
    batch, z = shuffled_batch(index, classes)
    labels = batch.labels.numpy()
    ctx = dataclasses.replace(make_context(Legible(classes), Reader(classes), classes=classes), train_size=10)
    method = make("katz-as-published", run=run, smoothing=smoothing, temperature=temperature, draws=3)
    method.setup(ctx)
    place = torch.randperm(10, generator=seeded(0)).numpy()  # the first draw of the context's generator
    in_file_order = sorted(index, key=lambda i: place[i])
    assert in_file_order != index
    stored = np.eye(classes)[np.array(in_file_order) % classes] * (1.0 if smoothing == "votes" else 4.0)
    target = log_softmax(softmax(stored / temperature), axis=1)  # a second softmax

    def by_hand(logits: Any, w: float) -> Any:
        hard = -log_softmax(logits, axis=1)[range(len(logits)), labels]
        return (1 - w) * hard - w * temperature**2 * (softmax(logits / temperature) * target).sum(1)

    attacked = np.clip(z + 8 / 255 * np.where(np.eye(classes)[labels] > 0, -1.0, 1.0), 0, 1)
    expected = by_hand(z, 0.5) if run == "clean" else 0.5 * by_hand(z, 0.75) + 0.5 * by_hand(attacked, 0.25)
    assert method.loss(batch, ctx).item() == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize(("run", "trained"), [("adversarial", []), ("clean", [0])])
def test_the_published_batch_norm_learns_in_the_first_epoch_at_most(run: str, trained: list[int]) -> None:
    student = build(TINY, num_classes=3, seed=0)
    ctx, method = make_context(student, build(TINY, num_classes=3, seed=1).eval()), make("katz-as-published", run=run)
    method.setup(ctx)
    moved = []
    for epoch in range(3):
        student.train()
        ctx.epoch = epoch
        method.on_epoch_start(ctx)
        before = [buffer.clone() for buffer in student.buffers()]
        method.loss(make_batch([0, 1], images=draw_pixels(epoch, 2, 3, 32, 32)), ctx).backward()
        if not all(torch.equal(old, new) for old, new in zip(before, student.buffers(), strict=True)):
            moved.append(epoch)
    assert moved == trained


# The suite


def test_the_suites_teacher_is_the_one_that_students_distil_from() -> None:
    suite = read_suite(next(path for path in builtin_suites() if path.stem == "katz"))
    needs = Needs(suite, load_plugins(), "clean")
    own = needs.network("teacher")
    for name in ("kd-smoothed", "kd-smoothed-adversarial", "katz-as-published"):
        teacher = needs.student(name, {}, 0).needs["teacher"]
        for fact in ("method", "model", "dropout", "params", "recipe", "seed", "needs"):
            assert getattr(teacher, fact) == getattr(own, fact), fact
    recipe = needs.student("cni", {}, 0).recipe
    found = (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay, recipe.batch_size, recipe.epochs)
    assert found == ("adam", 1e-4, 0.9, 1e-4, 256, 100)
    assert recipe.milestones == ()


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("cni", {"draws": 0}, "draws: input should be greater than or equal to 1, found 0"),
        ("cni", {"smoothing": "mode"}, "smoothing: input should be 'votes', 'soft', 'mean-logit' or 'none'"),
        ("cni", {"input_sigma": -0.1}, "input_sigma: input should be greater than or equal to 0"),
        ("cni", {"rank": 0}, "rank: input should be greater than or equal to 1"),
        ("cni", {"adversarial_share": 1.5}, "adversarial_share: input should be less than or equal to 1"),
        ("cni", {"eps": 8}, "eps: input should be less than or equal to 1, found 8"),
        ("kd-smoothed", {"temperature": 0}, "temperature: input should be greater than 0"),
        ("kd-smoothed", {"draws": 0}, "draws: input should be greater than or equal to 1"),
        ("kd-smoothed", {"weight": -1}, "weight: input should be greater than or equal to 0"),
        ("kd-smoothed", {"smoothing": "none"}, "smoothing: input should be 'votes', 'soft' or 'mean-logit'"),
        ("kd-smoothed-adversarial", {"steps": 0}, "steps: input should be greater than or equal to 1"),
        ("kd-smoothed-adversarial", {"step_size": 0}, "step_size: input should be greater than 0"),
        ("katz-as-published", {"smoothing": "soft"}, "smoothing: input should be 'votes' or 'mean-logit'"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)
