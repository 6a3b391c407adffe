"""Classes of torchattacks by name: which there are, with which options, and what they find."""

from __future__ import annotations

import inspect
import json
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import find_attack, run
from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.attacks.small_models import Linear, curved, labelled, some_images

pytest.importorskip("torchattacks")

NEED_MORE_THAN_A_MODEL = {"LGV", "MultiAttack"}
OTHER_NORMS = {
    "CW": "L2", "DeepFool": "L2", "EADEN": "L1 and L2", "EADL1": "L1", "JSMA": "L0", "OnePixel": "L0", "PGDL2": "L2",
    "PGDRSL2": "L2", "Pixle": "L0", "SparseFool": "L0",
}  # fmt: skip
"""By the papers: which changes are small."""
CLASSES = sorted(set(installation.torchattacks().__all__) - NEED_MORE_THAN_A_MODEL - set(OTHER_NORMS))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torchattacks:fgms", {}, r"no attack of torchattacks named 'fgms' \(did you mean 'FGSM'\?"),
        ("torchattacks:LGV", {}, "it needs trainloader"),
        ("torchattacks:MultiAttack", {}, "it needs attacks"),
        ("torchattacks:PGD", {"stepz": 1}, r"no option named 'stepz' .did you mean 'steps'\? `kdbench describe"),
        ("torchattacks:VANILA", {"eps": 1}, r"no option named 'eps' .did you mean|known: restarts"),
        ("torchattacks:PGD", {"model": 1}, "no option named 'model'"),
        ("torchattacks:PGD", {"restarts": 0}, "option restarts: input should be greater than or equal to 1"),
        ("torchattacks:APGD", {"norm": "L2"}, "torchattacks:APGD', option norm: input should be 'Linf', found 'L2'"),
        ("torchattacks:AutoAttack", {"norm": "L1"}, "option norm: input should be 'Linf', found 'L1'"),
        ("autoattack", {"norm": "L2"}, "no option named 'norm'"),
        ("torchattacks", {}, "'torchattacks' is a family of attacks .write 'torchattacks:MEMBER'"),
        ("torchattacks:", {}, "no attack of torchattacks named ''"),
    ],
)
def test_names_and_options_are_checked(name: str, options: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        find_attack(name).check(options)


@pytest.mark.parametrize(("name", "norm"), OTHER_NORMS.items())
def test_an_attack_of_another_norm_is_refused_and_those_that_fit_are_named(name: str, norm: str) -> None:
    """Clipped to the ball they changed next to nothing, and their accuracy stood as a robust one: 100 %."""
    with pytest.raises(KdbenchError, match=f"'{name}' of torchattacks looks for changes that are small in {norm}, "
                                           "kdbench's in Linf") as refused:  # fmt: skip
        find_attack(f"torchattacks:{name}")
    assert refused.value.hint == f"these fit: {', '.join(CLASSES)}"


def test_a_norm_of_the_library_is_passed_on() -> None:
    assert find_attack("torchattacks:Square").validate({"norm": "Linf"})["norm"] == "Linf"


def test_a_missing_library_is_answered_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> types.ModuleType:
        raise KdbenchError("torchattacks can't be imported", "`pip install torchattacks`")

    monkeypatch.setattr(installation, "torchattacks", missing)
    with pytest.raises(KdbenchError, match="pip install torchattacks"):
        find_attack("torchattacks:PGD")


def test_the_family_lists_what_a_model_suffices_for() -> None:
    members = find_attack("torchattacks").members
    assert members is not None
    assert list(members()) == CLASSES


@pytest.mark.parametrize("name", CLASSES)
def test_options_are_the_constructors_of_the_installed_version(name: str) -> None:
    accepted = inspect.signature(getattr(installation.torchattacks(), name)).parameters
    spec = find_attack(f"torchattacks:{name}")
    found = spec.validate({})
    assert set(found) - {"restarts"} == set(accepted) - {"model", "restarts"}
    json.dumps(found)  # a record can hold them
    for key, value in found.items():
        if key in accepted and value is not None:
            assert value == accepted[key].default or list(value) == list(accepted[key].default)


def test_fgsm_is_one_step_along_the_sign_with_the_given_radius() -> None:
    model, images = curved(), some_images(20)
    labels = labelled(model, images)
    leaf = images.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(model(leaf), labels)
    [gradient] = torch.autograd.grad(loss, leaf)
    found = run("torchattacks:FGSM", model, images, labels, eps=0.02)
    expected = torch.where(found.clean_correct[:, None, None, None], images + 0.02 * gradient.sign(), images)
    assert torch.allclose(found.examples, expected.clamp(0, 1), rtol=0, atol=1e-6)
    assert (found.gradients, found.zero_gradients) == (int(found.clean_correct.sum()), 0)


def test_options_reach_the_attack() -> None:
    model, images = curved(), some_images(20)
    labels = labelled(model, images)

    def moved(name: str, **options: Any) -> float:
        result = run(f"torchattacks:{name}", model, images, labels, eps=0.02, options=options)
        assert result.setting["eps"] == 0.02
        return float((result.examples - images).abs().max())

    settings = {"alpha": 0.004, "random_start": False}
    assert moved("PGD", **settings, steps=1) == pytest.approx(0.004, abs=1e-6)
    assert moved("PGD", **settings, steps=3) == pytest.approx(0.012, abs=1e-6)
    assert moved("FGSM", eps=0.005) == pytest.approx(0.005, abs=1e-6)
    assert moved("PIFGSM", num_iter_set=1) == pytest.approx(0.02, abs=1e-6)  # its radius is called max_epsilon


def test_the_setting_says_steps_restarts_and_the_rest() -> None:
    model, images = curved(), some_images(4)
    labels = labelled(model, images)
    by_default = run("torchattacks:PGD", model, images, labels, eps=0.02).setting
    own = {"attack": "torchattacks:PGD", "eps": 0.02, "alpha": 2 / 255, "random_start": True}
    assert by_default == {**own, "steps": 10, "restarts": 1}
    changed = run("torchattacks:PGD", model, images, labels, eps=0.02, options={"steps": 3, "restarts": 2}).setting
    assert changed == {**own, "steps": 3, "restarts": 2}


def test_a_class_that_counts_restarts_itself_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(3)
    calls = []

    class Twice:
        """Distance Measure : Linf"""

        def __init__(self, model: nn.Module, restarts: int = 20) -> None:
            self.restarts = restarts

        def set_device(self, device: torch.device) -> None: ...

        def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
            calls.append(self.restarts)
            return images

    monkeypatch.setattr(installation.torchattacks(), "FGSM", Twice)
    spec = find_attack("torchattacks:FGSM")
    assert spec.restarts is None
    assert spec.validate({})["restarts"] == 20
    labels = labelled(Linear(), images, wrong=9)
    found = run(spec, Linear(), images, labels, eps=0.01, options={"restarts": 2}, every_restart=True)
    assert calls == [2]
    assert found.restart_correct is not None
    assert found.restart_correct.shape == (1, 3)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_that_a_model_suffices_for_works_and_stays_inside(name: str) -> None:
    model, images = curved(), some_images(5)
    labels = labelled(model, images, wrong=4)
    few = {"SPSA": {"nb_sample": 16}, "Square": {"n_queries": 200}}
    result = run(f"torchattacks:{name}", model, images, labels, eps=0.02, options=few.get(name))
    assert result.examples.shape == images.shape
    assert result.examples.dtype == torch.float32
    assert 0 <= float(result.examples.min()) <= float(result.examples.max()) <= 1
    assert float((result.examples - images).abs().max()) <= 0.02 + 1e-6
    assert torch.equal(result.examples[~result.clean_correct], images[~result.clean_correct])
    assert not (result.robust & ~result.clean_correct).any()


def test_the_number_of_classes_is_passed() -> None:
    model, images = curved(5), some_images(12)
    labels = labelled(model, images, 5)
    assert run("torchattacks:APGDT", model, images, labels, eps=0.05).robust.sum() == 0
