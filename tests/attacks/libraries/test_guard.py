"""Around the libraries of attacks: those that lie or fail, random numbers, state, memory."""

from __future__ import annotations

import logging
import random
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import run
from kdbench.attacks.libraries import installation
from kdbench.errors import KdbenchError
from tests.attacks.small_models import Linear, curved, labelled, reach, some_images

pytest.importorskip("pyautoattack")
pytest.importorskip("torchattacks")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Any]], None]:
    """Put an attack class ``Fake`` that returns ``forward(images)`` in torchattacks' place."""

    def install(forward: Callable[[Tensor], Any]) -> None:
        class Fake:
            def __init__(self, model: nn.Module, eps: float = 8 / 255) -> None:
                self.model = model

            def set_device(self, device: torch.device) -> None:
                self.device = device

            def __call__(self, images: Tensor, labels: Tensor) -> Any:
                return forward(images)

        module = types.ModuleType("torchattacks")
        module.__dict__.update(Fake=Fake, __all__=["Fake"])
        monkeypatch.setattr(installation, "torchattacks", lambda: module)

    return install


def brightness(images: Tensor) -> Tensor:
    """Two classes: darker or lighter than one half."""
    mean = images.mean((1, 2, 3))
    return 50 * torch.stack([0.5 - mean, mean - 0.5], dim=1)


def test_a_result_outside_the_ball_is_clipped_and_judged_again(fake: Any) -> None:
    """To white breaks every dark image; inside the ball only that which is nearer than eps to the border."""
    images = torch.tensor([0.2, 0.45, 0.48, 0.6])[:, None, None, None].expand(4, 3, 8, 8).clone()
    labels = torch.tensor([0, 0, 0, 1])
    seen = []

    def forward(found: Tensor) -> Tensor:
        seen.append(len(found))
        return found + 2

    fake(forward)
    result = run("torchattacks:Fake", brightness, images, labels, eps=0.03)
    assert result.robust.tolist() == [True, True, False, True]
    assert torch.allclose(result.examples, images + 0.03, rtol=0, atol=1e-6)
    assert seen == [4]


def test_an_example_that_the_library_made_better_is_no_more_robust_than_the_image(fake: Any) -> None:
    images = torch.full((1, 3, 8, 8), 0.51)
    fake(lambda found: found - 0.05)
    result = run("torchattacks:Fake", brightness, images, torch.tensor([0]), eps=0.05)
    assert (result.clean_correct.item(), result.robust.item()) == (False, False)


def test_pixels_that_are_no_numbers_become_the_images(fake: Any) -> None:
    images = torch.full((2, 3, 8, 8), 0.4)
    fake(lambda found: torch.full_like(found, torch.nan))
    result = run("torchattacks:Fake", brightness, images, torch.tensor([0, 0]), eps=0.2)
    assert torch.equal(result.examples, images)
    assert result.robust.tolist() == [True, True]


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda images: images[:1], r"returned shape \(1, 3, 8, 8\)"),
        (lambda images: [images], "returned list"),
        (lambda images: images.nothing, "'torchattacks:Fake' failed inside its library: AttributeError"),
    ],
)
def test_a_library_that_fails_is_one_line_and_the_model_comes_back(fake: Any, forward: Any, message: str) -> None:
    fake(forward)
    model = curved().train()
    images = some_images(4)
    with pytest.raises(KdbenchError, match=message) as caught:
        run("torchattacks:Fake", model, images, labelled(model, images, wrong=5), eps=0.1)
    assert "\n" not in caught.value.message
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_librarys_words_stay_inside(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def forward(images: Tensor) -> Tensor:
        print("noise")
        warnings.warn("noise", stacklevel=1)
        logging.getLogger("auto-attack").warning("noise")
        return images

    fake(forward)
    level = logging.getLogger("auto-attack").level
    run("torchattacks:Fake", brightness, some_images(3), torch.tensor([0, 1, 0]), eps=0.1)
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("auto-attack").level == level
    print("back")
    assert capsys.readouterr().out == "back\n"


@pytest.mark.parametrize("name", ["apgd", "autoattack", "torchattacks:PGD", "torchattacks:Square"])
def test_the_same_seed_gives_the_same_bits_and_the_callers_numbers_go_on(name: str) -> None:
    model, images = curved(), some_images(10)
    labels = labelled(model, images)

    def attack(seed: int) -> Tensor:
        return run(name, model, images, labels, eps=0.03, seed=seed).examples

    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    alone = torch.rand(3).tolist(), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    first = attack(1)
    assert (torch.rand(3).tolist(), random.random(), np.random.rand()) == alone
    assert torch.equal(attack(1), first)
    assert not torch.equal(attack(2), first)


@pytest.mark.parametrize("name", ["apgd", "torchattacks:PGD"])
def test_the_models_state_comes_back(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 5))
    model[1].eval()
    model[0].weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    numbers = {key: value.clone() for key, value in model.state_dict().items()}
    images = some_images(6)
    run(name, model, images, torch.arange(6) % 5, eps=0.1)
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, numbers[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["apgd", "torchattacks:PGD"])
def test_batches_of_one_and_a_full_memory(name: str) -> None:
    model, images = Linear(), some_images(11, low=0.3, high=0.7)
    labels = labelled(model, images)
    eps = float(np.sort(reach(model, images, labels))[5:7].mean())
    largest = []

    def tight(pixels: Tensor) -> Tensor:
        if len(pixels) > 8:  # what a first look at the model takes
            raise torch.OutOfMemoryError
        largest.append(len(pixels))
        logits: Tensor = model(pixels)
        return logits

    whole = run(name, model, images, labels, eps=eps).robust
    assert 0 < whole.sum() < 9
    assert torch.equal(run(name, model, images, labels, eps=eps, batch_size=1).robust, whole)
    assert torch.equal(run(name, tight, images, labels, eps=eps).robust, whole)
    assert max(largest) == 8


def test_logits_that_are_a_view_of_the_pixels_are_not_written_into() -> None:
    def model(pixels: Tensor) -> Tensor:
        return pixels.flatten(1)[:, :5]

    images = some_images(6)
    labels = model(images).argmax(1)
    found = run("autoattack", model, images, labels, eps=0.01).examples
    assert found.isfinite().all()
    assert float((found - images).abs().max()) <= 0.01 + 1e-6
