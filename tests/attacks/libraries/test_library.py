"""Attacks of pyautoattack and torchattacks, against closed forms and the libraries themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import auto_attack, library_attack, torchattacks_examples
from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.attacks.small_models import Linear, curved, labelled, reach, some_images

pytest.importorskip("pyautoattack")
pytest.importorskip("torchattacks")


NEED_MORE_THAN_A_MODEL = {"LGV", "MultiAttack"}


CLASSES = sorted(set(installation.torchattacks().__all__) - NEED_MORE_THAN_A_MODEL)


@pytest.mark.parametrize("name", ["apgd", "autoattack"])
@pytest.mark.parametrize("classes", [10, 4])
def test_a_linear_model_falls_exactly_where_its_margins_say(name: str, classes: int) -> None:
    model, images = Linear(classes), some_images(60, low=0.3, high=0.7)
    labels = labelled(model, images, classes)
    radii = reach(model, images, labels)
    eps = float(np.sort(radii)[36] + np.sort(radii)[37]) / 2
    assert 0 < eps < 0.3  # no corner of a ball leaves [0, 1]
    result = library_attack(name, model, images, labels, eps=eps)
    assert np.array_equal(result.clean_correct.numpy(), radii > 0)
    assert np.array_equal(result.robust.numpy(), radii > eps)
    assert (result.robust.sum(), result.clean_correct.sum()) == (23, 51)
    assert float((result.examples - images).abs().max()) <= eps + 1e-6
    with torch.no_grad():
        judged = model(result.examples).argmax(1) == labels
    assert torch.equal(judged & result.clean_correct, result.robust)
    still = result.robust | ~result.clean_correct
    assert torch.equal(result.examples[still], images[still])


def test_examples_are_the_librarys_own() -> None:
    model, images = curved(), some_images(8)
    labels, eps = labelled(model, images), 0.012
    library = installation.autoattack()
    with installation.quiet(), torch.random.fork_rng(devices=[]):
        direct = library.AutoAttack(model, eps=eps, seed=3)
        direct.fab.n_target_classes = direct.apgd_targeted.n_target_classes = 9
        expected, _ = direct.run_standard_evaluation(images, labels, batch_size=8)
    found = auto_attack(model, images, labels, eps=eps, seed=3)
    changed = (expected != images).flatten(1).any(1)
    assert 0 < changed.sum() < 6
    assert torch.equal(found, expected)


def test_the_fast_tier_is_never_better_than_the_whole() -> None:
    model, images = curved(), some_images(24)
    labels = labelled(model, images)
    broken = [
        library_attack(name, model, images, labels, eps=0.01).robust.logical_not() for name in ("apgd", "autoattack")
    ]
    assert 6 < broken[0].sum() < 23
    assert not (broken[0] & ~broken[1]).any()


def test_fgsm_is_one_step_along_the_sign_with_the_given_radius() -> None:
    model, images = curved(), some_images(20)
    labels = labelled(model, images)
    leaf = images.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(model(leaf), labels)
    [gradient] = torch.autograd.grad(loss, leaf)
    found = torchattacks_examples("FGSM", model, images, labels, eps=0.02)
    expected = (images + 0.02 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_options_reach_the_attack() -> None:
    model, images = curved(), some_images(20)
    labels = labelled(model, images)
    settings = {"alpha": 0.004, "random_start": False}
    one = torchattacks_examples("PGD", model, images, labels, eps=0.02, options={**settings, "steps": 1})
    three = torchattacks_examples("PGD", model, images, labels, eps=0.02, options={**settings, "steps": 3})
    assert float((one - images).abs().max()) == pytest.approx(0.004, abs=1e-6)
    assert float((three - images).abs().max()) == pytest.approx(0.012, abs=1e-6)
    narrow = torchattacks_examples("FGSM", model, images, labels, eps=0.02, options={"eps": 0.005})
    assert float((narrow - images).abs().max()) == pytest.approx(0.005, abs=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_that_a_model_suffices_for_works_and_stays_inside(name: str) -> None:
    model, images = curved(), some_images(5)
    labels = labelled(model, images, wrong=4)
    few = {"SPSA": {"nb_sample": 16}, "Square": {"n_queries": 200}, "EADL1": {"max_iterations": 20}}
    few |= {"EADEN": few["EADL1"], "SparseFool": {"steps": 3}}
    result = library_attack(f"torchattacks:{name}", model, images, labels, eps=0.02, options=few.get(name))
    assert result.examples.shape == images.shape
    assert result.examples.dtype == torch.float32
    assert 0 <= float(result.examples.min()) <= float(result.examples.max()) <= 1
    assert float((result.examples - images).abs().max()) <= 0.02 + 1e-6
    assert torch.equal(result.examples[~result.clean_correct], images[~result.clean_correct])
    assert not (result.robust & ~result.clean_correct).any()


def test_a_radius_under_another_name_and_the_number_of_classes_are_passed() -> None:
    model, images = curved(5), some_images(12)
    labels = labelled(model, images, 5)
    moved = torchattacks_examples("PIFGSM", model, images, labels, eps=0.02, options={"num_iter_set": 1})
    assert float((moved - images).abs().max()) == pytest.approx(0.02, abs=1e-6)
    assert library_attack("torchattacks:APGDT", model, images, labels, eps=0.05).robust.sum() == 0


class Noisy(nn.Module):
    """A linear model with random weights around its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images + 0.01 * torch.randn_like(images))


def test_a_random_model_gets_the_random_tier_and_the_seed_decides_its_draws() -> None:
    images = some_images(12)
    labels = labelled(Linear(), images, wrong=20)
    results = [library_attack(name, Noisy(), images, labels, eps=0.02, seed=4) for name in ("apgd", "autoattack")]
    assert [result.tier for result in results] == ["rand", "rand"]
    assert torch.equal(results[0].examples, results[1].examples)
    assert results[0].robust.sum() < results[0].clean_correct.sum()
    assert library_attack("apgd", Linear(), images, labels, eps=0.001).tier == "apgd"
    assert library_attack("torchattacks:FGSM", Noisy(), images, labels, eps=0.02).tier is None


@pytest.mark.parametrize(("tier", "needed"), [("standard", 4), ("apgd", 4), ("rand", 3)])
def test_too_few_classes_are_told(tier: str, needed: int) -> None:
    images = some_images(4)
    model = Linear(needed - 1)
    with pytest.raises(KdbenchError, match=f"tier '{tier}' of AutoAttack needs {needed} classes, found {needed - 1}"):
        auto_attack(model, images, labelled(model, images, needed - 1), eps=0.1, tier=tier)
    model = Linear(needed)
    found = auto_attack(model, images, labelled(model, images, needed, wrong=5), eps=0.1, tier=tier)
    assert not torch.equal(found, images)


@pytest.mark.parametrize("name", ["apgd", "torchattacks:CW"])
def test_radius_zero_is_the_clean_accuracy(name: str) -> None:
    model, images = Linear(), (some_images(9) * 255).byte()
    labels = labelled(model, images / 255)
    result = library_attack(name, model, images, labels, eps=0)
    assert torch.equal(result.robust, result.clean_correct)
    assert result.robust.sum() == 7
    assert torch.equal(result.examples, images / 255)


def test_uint8_images_are_attacked_as_their_float_values() -> None:
    model, images = curved(), (some_images(9) * 255).byte()
    labels = labelled(model, images / 255)
    results = [auto_attack(model, x, labels, eps=0.02, tier="apgd") for x in (images, images.float() / 255)]
    assert torch.equal(*results)


def test_where_nothing_is_right_nothing_is_attacked() -> None:
    images = some_images(4)
    labels = (labelled(Linear(), images, wrong=9) + 2) % 10
    labels[0] = (labels[0] + 1) % 10
    result = library_attack("apgd", Linear(), images, labels, eps=0.1)
    assert not result.clean_correct.any()
    assert torch.equal(result.examples, images)


def test_a_model_without_a_gradient_is_told() -> None:
    images = some_images(4)
    labels = labelled(Linear(), images, wrong=9)
    for name in ("apgd", "torchattacks:PGD"):
        with pytest.raises(KdbenchError, match="gradient"):
            library_attack(name, lambda pixels: Linear()(pixels.detach()), images, labels, eps=0.1)
