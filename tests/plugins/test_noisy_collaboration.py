"""Each loss of noisy collaboration against a float64 NumPy computation written here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_noisy_collaboration.fixed_corruption import corrupted
from kdbench_noisy_collaboration.input_noise import add_gaussian
from kdbench_noisy_collaboration.signal_noise import scaled_at_random
from kdbench_noisy_collaboration.swapping import swapped
from kdbench_noisy_collaboration.target_variability import redrawn

import kdbench
from tests.plugins.helpers import image_of, make, make_batch, make_context, softmax
from tests.plugins.noisy_by_hand import (
    CLASSES,
    QUIET,
    SETTINGS,
    Seen,
    context,
    distillation,
    draw,
    fresh,
    loss_of,
)

Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", QUIET)
def test_without_noise_the_loss_is_hintons(name: str, settings: dict[str, Any]) -> None:
    student, teacher, labels = draw(0)
    expected = distillation(
        student.numpy(), softmax(teacher.numpy(), settings.get("temperature", 4.0)), labels, **settings
    )
    found = loss_of(name, student, teacher, labels, **QUIET[name], **settings)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_known_answer() -> None:
    student, teacher = torch.tensor([[2.0, 1.0, 0.0, -99, -99]]), torch.tensor([[3.0, 0.0, -1.0, -99, -99]])
    for name, quiet in QUIET.items():
        assert loss_of(name, student, teacher, [0], **quiet).item() == pytest.approx(0.489198, abs=2e-6)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_soft_randomization_shows_noise_to_the_student_alone(clip: bool, settings: dict[str, Any]) -> None:
    _, logits, labels = draw(1, batch=64)
    student, teacher = Seen(), Seen(logits)
    ctx = context(teacher, labels)
    ctx.student = student
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    method = make("soft-randomization", sigma=0.1, clip=clip, **settings)
    losses = [method.loss(make_batch(labels, images=images), ctx).item() for _ in range(2)]
    assert all(torch.equal(seen, images) for seen in teacher.images)
    for seen, loss in zip(student.images, losses, strict=True):  # the noise is the same in both terms
        teaching = softmax(logits.numpy(), settings.get("temperature", 4.0))
        expected = distillation(seen.flatten(1)[:, :CLASSES].double().numpy(), teaching, labels, **settings)
        assert loss == pytest.approx(expected, rel=1e-5)
    first, second = (seen - images for seen in student.images)
    low, high = (bound.item() for bound in student.images[0].aminmax())
    assert (low >= 0 and high <= 1) is clip
    noise = first[(images > 0.45) & (images < 0.55)]  # at least 4.5 standard deviations from being clipped
    assert noise.mean().item() == pytest.approx(0, abs=0.004)
    assert noise.std().item() == pytest.approx(0.1, abs=0.003)
    assert not torch.equal(first, second)
    assert first.flatten(1).std(1).amin() > 0.05, "one draw for each value"


@pytest.mark.parametrize("params", [{}, {"sigma": 0.2}, {"sigma": 0.2, "clip": True}, {"sigma": 0.0}], ids=str)
def test_gaussian_augmentation_is_cross_entropy_on_noisy_images(params: dict[str, Any]) -> None:
    labels = draw(2)[2]
    ctx = make_context(student := Seen(), classes=CLASSES)
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found = make("gaussian-augmentation", **params).loss(make_batch(labels, images=images), ctx).item()
    noise = params.get("sigma", 0.05) * torch.randn(images.shape, generator=fresh())
    expected_images = (images + noise).clamp(0, 1) if params.get("clip") else images + noise
    assert torch.equal(student.images[0], expected_images)
    p = softmax(expected_images.flatten(1)[:, :CLASSES].numpy())
    assert found == pytest.approx(-np.log(p[range(6), labels]).mean(), rel=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_input_noise_is_the_same_in_every_memory_layout(layout: torch.memory_format) -> None:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    noisy = add_gaussian(images.contiguous(memory_format=layout), 0.1, fresh(), clip=False)
    assert torch.equal(noisy, add_gaussian(images, 0.1, fresh(), clip=False))
    assert noisy.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("variant", ["S", "T", "TS"])
@pytest.mark.parametrize("name", ["messy-collaboration", "fixed-label-corruption"])
def test_changed_labels_are_the_students_where_the_variant_says_so(
    name: str, variant: str, settings: dict[str, Any]
) -> None:
    student, teacher, labels = draw(3, batch=40)
    given = torch.tensor(labels)
    changed = redrawn(given, 0.5, CLASSES, fresh()) if name[0] == "m" else corrupted(given, 0.5, CLASSES, 0)
    assert 5 < (changed != given).sum() < 35
    expected = distillation(
        student.numpy(),
        softmax(teacher.numpy(), settings.get("temperature", 4.0)),
        changed.tolist() if "S" in variant else labels,
        **settings,
    )
    found = loss_of(name, student, teacher, labels, variant=variant, rate=0.5, **settings)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["target-variability", "corrupted-labels"])
def test_their_teachers_are_trained_with_cross_entropy_on_such_labels(name: str, rate: float) -> None:
    student, teacher, labels = draw(4, batch=40)
    given = torch.tensor(labels)
    changed = redrawn(given, rate, CLASSES, fresh()) if name[0] == "t" else corrupted(given, rate, CLASSES, 0)
    expected = -np.log(softmax(student.numpy())[range(40), changed.tolist()]).mean()
    assert loss_of(name, student, teacher, labels, rate=rate).item() == pytest.approx(expected, rel=1e-9)


def test_corrupted_labels_are_looked_up_by_place_in_the_training_set() -> None:
    student, teacher, labels = draw(5, batch=40)
    ctx, method = context(Seen(teacher[:3]), labels), make("corrupted-labels", rate=0.5)
    method.on_epoch_start(ctx)
    places = torch.tensor([31, 2, 17])
    shown = make_batch([0, 0, 0], images=image_of(student[:3]))
    found = method.loss(kdbench.Batch(shown.images, shown.labels, places, shown.views), ctx).item()
    changed = corrupted(torch.tensor(labels), 0.5, CLASSES, 0)[places].tolist()
    assert found == pytest.approx(-np.log(softmax(student[:3].numpy())[range(3), changed]).mean(), rel=1e-9)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("mode", ["independent", "shared"])
def test_signal_dependent_noise_multiplies_the_teachers_logits(mode: str, settings: dict[str, Any]) -> None:
    student, teacher, labels = draw(6)
    shape = (6, CLASSES) if mode == "independent" else (6, 1)
    factors = 1 + 0.4 * torch.randn(shape, generator=fresh(), dtype=torch.float64).numpy()
    teaching = softmax(factors * teacher.numpy(), settings.get("temperature", 4.0))
    expected = distillation(student.numpy(), teaching, labels, **settings)
    found = loss_of("signal-dependent-noise", student, teacher, labels, sigma=0.4, mode=mode, **settings)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def swapped_by_hand(p: Array, theta: float, top: int | None = None) -> Array:
    """One pass over the ranking of one distribution, pair by pair."""
    ranking = sorted(range(len(p)), key=lambda c: -p[c])
    result, rank = p.copy(), 0
    while rank < (len(p) - 1 if top is None else top):
        a, b = ranking[rank], ranking[rank + 1]
        if (p[a] - p[b]) / p[a] < theta:
            result[a], result[b] = p[b], p[a]
            rank += 1
        rank += 1
    return result


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("theta", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("pi", [0.5, 1.0])
@pytest.mark.parametrize(("name", "top"), [("swap-top2", 1), ("swap-all", None)])
def test_swapping_equals_a_walk_over_the_softened_ranking(
    name: str, top: int | None, pi: float, theta: float, settings: dict[str, Any]
) -> None:
    student, teacher, labels = draw(7, scale=0.3, batch=60)
    before = softmax(teacher.numpy(), settings.get("temperature", 4.0))
    chosen = (torch.rand(60, 1, generator=fresh()) < pi).flatten().tolist()
    teaching = np.stack([swapped_by_hand(p, theta, top) if c else p for p, c in zip(before, chosen, strict=True)])
    assert (teaching != before).any()
    expected = distillation(student.numpy(), teaching, labels, **settings)
    found = loss_of(name, student, teacher, labels, pi=pi, theta=theta, **settings)
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 100])
@pytest.mark.parametrize("theta", [0.02, 0.2, 1.0])
def test_swapping_at_any_number_of_classes(classes: int, theta: float) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(200, classes, generator=generator, dtype=torch.float64)
    p = softmax(logits.numpy(), 2.0)
    for top in (None, 1):
        found = swapped(logits, 2.0, 1.0, theta, fresh(), top=top)
        expected = np.stack([swapped_by_hand(row, theta, top) for row in p])
        np.testing.assert_allclose(softmax(found.numpy(), 2.0), expected, rtol=1e-12)
        assert torch.equal(found.sort(1).values, logits.sort(1).values), "the same values in other places"
        ranked = np.sort(p, axis=1)[:, ::-1]
        close = (ranked[:, 0] - ranked[:, 1]) / ranked[:, 0] < theta
        assert ((found.argmax(1) != logits.argmax(1)).numpy() == close).all()


def test_swapping_known_answer() -> None:
    p = torch.tensor([[0.30, 0.20, 0.28, 0.19, 0.03], [0.40, 0.05, 0.25, 0.15, 0.15]], dtype=torch.float64)
    # Ranks .30 .28 .20 .19 .03: the first and the third pair are close.
    both = swapped(p.log(), 1.0, 1.0, 0.1, fresh()).exp()
    torch.testing.assert_close(both[0], p[0, [2, 3, 0, 1, 4]])
    assert torch.allclose(both[1], p[1]), "equal values may change places, nothing else is close"
    only = swapped(p.log(), 1.0, 1.0, 0.1, fresh(), top=1).exp()
    torch.testing.assert_close(only[0], p[0, [2, 1, 0, 3, 4]])


def test_a_chain_of_close_values_moves_in_pairs() -> None:
    p = torch.tensor([[0.210, 0.205, 0.200, 0.195, 0.190]], dtype=torch.float64)
    found = swapped(p.log(), 1.0, 1.0, 0.1, fresh()).exp()
    torch.testing.assert_close(found, p[:, [1, 0, 3, 2, 4]])


def test_a_tie_and_a_threshold_of_zero_change_nothing() -> None:
    logits = torch.tensor([[1.0, 1.0, 0.5, 0.5, 0.2]])
    for theta in (0.0, 0.05):
        assert torch.equal(swapped(logits, 4.0, 1.0, theta, fresh()), logits)


@pytest.mark.parametrize("pi", [0.1, 0.25, 0.75])
def test_a_share_pi_of_the_examples_is_swapped_at_each_visit(pi: float) -> None:
    logits, generator = torch.tensor([[1.0, 0.9, -1.0]]).expand(20_000, 3), fresh()
    for _ in range(2):
        moved = swapped(logits, 4.0, pi, 0.1, generator).argmax(1) == 1
        assert moved.double().mean().item() == pytest.approx(pi, abs=0.015)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("fickle-teacher", QUIET["fickle-teacher"]),
        ("soft-randomization", {"sigma": 0.3}),
        ("gaussian-augmentation", {"sigma": 0.3}),
        ("messy-collaboration", {"variant": "TS"}),
        ("target-variability", {}),
        ("fixed-label-corruption", {"variant": "S"}),
        ("corrupted-labels", {}),
        ("signal-dependent-noise", {"sigma": 0.5, "direction": "reverse"}),
        ("signal-dependent-noise", {"sigma": 0.5, "mode": "shared"}),
        ("swap-top2", {"theta": 1.0}),
        ("swap-all", {"theta": 1.0, "direction": "reverse"}),
    ],
)
def test_gradient_matches_finite_differences(name: str, params: dict[str, Any]) -> None:
    student, teacher, labels = draw(8, batch=4)
    free = student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss_of(name, z, teacher, labels, **params), (free,))


def test_half_precision_logits_are_raised_before_they_are_compared() -> None:
    logits = draw(9)[1].bfloat16()
    for found in (swapped(logits, 4.0, 1.0, 0.5, fresh()), scaled_at_random(logits, 0.1, "independent", fresh())):
        assert found.dtype == torch.float32
