"""Which attacks of the libraries there are, and with which options."""

from __future__ import annotations

import inspect
import types
from typing import Any

import pytest
import torch

from kdbench.attacks import auto_attack, check_attack, library_attack, torchattacks_examples
from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.attacks.small_models import Linear, some_images

pytest.importorskip("pyautoattack")
pytest.importorskip("torchattacks")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("apdg", None, r"no attack named 'apdg' \(did you mean 'apgd'\?.*'torchattacks:PGD'"),
        ("torchattacks:fgms", None, r"no attack of torchattacks named 'fgms' \(did you mean 'FGSM'\?"),
        ("torchattacks:LGV", None, "it needs trainloader"),
        ("torchattacks:MultiAttack", None, "it needs attacks"),
        ("torchattacks:PGD", {"stepz": 1}, r"no option 'stepz' \(it accepts: alpha, eps, random_start, steps\)"),
        ("torchattacks:VANILA", {"eps": 1}, r"no option 'eps' \(it accepts: none\)"),
        ("torchattacks:PGD", {"model": 1}, "no option 'model'"),
        ("apgd", {"steps": 1}, "attack 'apgd' has no option 'steps'"),
    ],
)
def test_names_and_options_are_checked(name: str, options: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        check_attack(name, options)


def test_arguments_out_of_range_are_refused() -> None:
    images, labels = some_images(2), torch.tensor([0, 1])
    for function in (
        lambda **kw: auto_attack(Linear(), images, labels, **kw),
        lambda **kw: torchattacks_examples("FGSM", Linear(), images, labels, **kw),
        lambda **kw: library_attack("apgd", Linear(), images, labels, **kw),
    ):
        for wrong in (-0.1, float("nan"), 1.5):
            with pytest.raises(KdbenchError, match="eps is"):
                function(eps=wrong)
        with pytest.raises(KdbenchError, match="batch_size"):
            function(eps=0.1, batch_size=0)
    with pytest.raises(KdbenchError, match="no tier of AutoAttack named 'standart' .did you mean 'standard'"):
        auto_attack(Linear(), images, labels, eps=0.1, tier="standart")
    with pytest.raises(KdbenchError, match="labels have shape"):
        auto_attack(Linear(), images, labels[:1], eps=0.1)


@pytest.mark.parametrize(("name", "library"), [("apgd", "pyautoattack"), ("torchattacks:PGD", "torchattacks")])
def test_a_missing_library_is_answered_with_its_command(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> types.ModuleType:
        raise KdbenchError(f"{library} can't be imported", f"`pip install {library}`")

    monkeypatch.setattr(installation, "autoattack" if library == "pyautoattack" else library, missing)
    with pytest.raises(KdbenchError, match=f"pip install {library}"):
        check_attack(name)


def test_options_are_the_constructors_of_the_installed_version() -> None:
    kind = installation.torchattacks().PGD
    for option in set(inspect.signature(kind).parameters) - {"model"}:
        check_attack("torchattacks:PGD", {option: 0})
