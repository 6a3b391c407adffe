"""AutoAttack and its first half against closed forms and the library itself."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import find_attack, run
from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.attacks.small_models import Linear, curved, labelled, reach, some_images

pytest.importorskip("pyautoattack")


@pytest.mark.parametrize("name", ["apgd", "autoattack"])
@pytest.mark.parametrize("classes", [10, 4])
def test_a_linear_model_falls_exactly_where_its_margins_say(name: str, classes: int) -> None:
    model, images = Linear(classes), some_images(60, low=0.3, high=0.7)
    labels = labelled(model, images, classes)
    radii = reach(model, images, labels)
    eps = float(np.sort(radii)[36] + np.sort(radii)[37]) / 2
    assert 0 < eps < 0.3  # no corner of a ball leaves [0, 1]
    result = run(name, model, images, labels, eps=eps)
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
    found = run("autoattack", model, images, labels, eps=eps, seed=3).examples
    changed = (expected != images).flatten(1).any(1)
    assert 0 < changed.sum() < 6
    assert torch.equal(found, expected)


def test_the_first_half_is_never_better_than_the_whole() -> None:
    model, images = curved(), some_images(24)
    labels = labelled(model, images)
    broken = [run(name, model, images, labels, eps=0.01).robust.logical_not() for name in ("apgd", "autoattack")]
    assert 6 < broken[0].sum() < 23
    assert not (broken[0] & ~broken[1]).any()


class Noisy(nn.Module):
    """A linear model with random weights around its own."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.inner = Linear(classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images + 0.01 * torch.randn_like(images))


def test_a_random_model_gets_version_rand_with_as_many_draws_as_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(12)
    labels = labelled(Linear(), images, wrong=20)
    made = []
    library = installation.autoattack()

    class Spied(library.AutoAttack):  # type: ignore[misc,name-defined]  # the class of an untyped library
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            made.append((self, options["version"]))

    monkeypatch.setattr(installation, "autoattack", lambda: types.SimpleNamespace(AutoAttack=Spied))
    results = [run(name, Noisy(), images, labels, eps=0.02, seed=4) for name in ("apgd", "autoattack")]
    assert torch.equal(results[0].examples, results[1].examples)
    assert results[0].robust.sum() < results[0].clean_correct.sum()
    assert {(one.apgd.eot_iter, version) for one, version in made} == {(20, "rand")}
    assert results[0].setting == {"attack": "apgd", "eps": 0.02, "gradient_draws": 20, "votes": 32}
    made.clear()
    run("apgd", Noisy(), images, labels, eps=0.02, gradient_draws=9)
    assert {(one.apgd.eot_iter, version) for one, version in made} == {(9, "rand")}
    made.clear()
    assert run("apgd", Linear(), images, labels, eps=0.001).setting == {"attack": "apgd", "eps": 0.001}
    assert {(one.apgd.eot_iter, version) for one, version in made} == {(1, "standard")}


@pytest.mark.parametrize(("model", "needed"), [(Linear, 4), (Noisy, 3)])
@pytest.mark.parametrize("name", ["apgd", "autoattack"])
def test_too_few_classes_are_named(name: str, model: type[Linear | Noisy], needed: int) -> None:
    images = some_images(4)
    with pytest.raises(KdbenchError, match=f"AutoAttack needs {needed} classes, found {needed - 1}"):
        run(name, model(needed - 1), images, labelled(Linear(needed - 1), images, needed - 1, wrong=9), eps=0.1)
    labels = labelled(Linear(needed), images, needed, wrong=9)
    found = run(name, model(needed), images, labels, eps=0.1).examples
    assert not torch.equal(found, images)


def test_they_have_no_options_and_no_restarts() -> None:
    for name in ("apgd", "autoattack"):
        assert find_attack(name).validate({}) == {}
        with pytest.raises(KdbenchError, match=f"no option named 'steps' .`kdbench describe attack {name}`"):
            find_attack(name).check({"steps": 1})


def test_a_missing_library_is_answered_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> types.ModuleType:
        raise KdbenchError("pyautoattack can't be imported", "`pip install pyautoattack`")

    monkeypatch.setattr(installation, "autoattack", missing)
    for name in ("apgd", "autoattack"):
        with pytest.raises(KdbenchError, match="pip install pyautoattack"):
            find_attack(name).check({})
