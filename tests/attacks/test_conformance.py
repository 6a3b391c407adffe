"""The conformance kit of attacks: what it lets pass, and every fault that it finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench.attacks import find_attack
from kdbench.testing import check_attack

PLUGINS = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
COUNT = [0]


@pytest.mark.parametrize("name", ["pgd", "apgd", "torchattacks:PGD", "torchattacks:FGSM"])
def test_built_in_attacks_conform(name: str) -> None:
    check_attack(find_attack(name))


@pytest.mark.parametrize("objective", kdbench.attacks.OBJECTIVES)
def test_options_are_passed_on(objective: str) -> None:
    check_attack(find_attack("pgd"), options={"objective": objective, "step_rule": "momentum", "iterate": "best"})


def test_the_attack_in_the_documentation_conforms_and_is_short() -> None:
    world: dict[str, Any] = {"kdbench": kdbench, "F": F, "torch": torch}
    [block] = [code for code in re.findall(r"```python\n(.*?)```", PLUGINS, re.S) if "@kdbench.attack(" in code]
    exec(block, world)
    check_attack(world["fgsm_from_noise"])
    assert world["kdbench_register_attacks"]() == [world["fgsm_from_noise"]]
    assert len(block.splitlines()) <= 20
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    images = torch.rand(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = model(images).argmax(1)
    result = kdbench.attacks.run(world["fgsm_from_noise"], model, images, labels, eps=0.5)
    assert result.robust_accuracy() < 0.5


def wrong_shape(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images[:1].repeat(2, 1, 1, 1)


def no_tensor(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return [images]


def wrong_dtype(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images.double()


def not_finite(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images / (images > 0.5)


def writes_images(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images.add_(ctx.eps)


def writes_labels(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    labels += 1
    return images


def draws_globally(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images + ctx.eps * torch.rand_like(images)


def draws_from_numpy(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images + ctx.eps * float(np.random.rand())


def unseeded(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images + ctx.eps * float(np.random.default_rng().random())


def remembers(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    COUNT[0] += 1
    return images + ctx.eps / COUNT[0]


def returns_the_change(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return ctx.eps * torch.ones_like(images)


def ignores_the_radius(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images + 8 / 255


def trains(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    model.train()
    return images


def unfreezes(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    model.requires_grad_(True)
    return images


def moves_weights(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    model.head.weight.data.add_(1)
    return images


def moves_statistics(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    model.train()
    model(images)
    model.eval()
    return images


def leaves_a_hook(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    model.head.register_forward_hook(lambda *arguments: None)
    return images


def needs_two(model: Any, images: Tensor, labels: Tensor, ctx: Any) -> Any:
    return images + ctx.eps * images.std(0).clamp(max=1)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (wrong_shape, r"it returned shape \(2, 3, 32, 32\) for \(7, 3, 32, 32\)"),
        (no_tensor, "it returned list, expected a tensor"),
        (wrong_dtype, "it returned torch.float64, expected torch.float32"),
        (not_finite, "it returned pixels that are not finite"),
        (writes_images, "it wrote into the images"),
        (writes_labels, "it wrote into the labels"),
        (draws_globally, "it moved a global generator"),
        (draws_from_numpy, "it moved a global generator"),
        (unseeded, "the same seed gave other candidates"),
        (remembers, "the same seed gave other candidates"),
        (returns_the_change, "with eps = 0 it moved a pixel"),
        (ignores_the_radius, "with eps = 0 it moved a pixel by 0.0314"),
        (trains, "it changed the model: training mode of the model"),
        (unfreezes, "it changed the model: requires_grad of features.0.weight"),
        (moves_weights, "it changed the model: head.weight"),
        (moves_statistics, "it changed the model: features.1.running_mean"),
        (leaves_a_hook, "it changed the model: hooks of head"),
        (needs_two, "it returned pixels that are not finite"),
    ],
)
def test_the_kit_finds_what_an_author_got_wrong(attack: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=f"'wrong': {message}"):
        check_attack(kdbench.attack("wrong")(attack))


def test_the_kit_refuses_what_is_no_attack_and_reports_what_kdbench_refuses() -> None:
    with pytest.raises(AssertionError, match="expected what @kdbench.attack returns, found function"):
        check_attack(wrong_shape)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(AssertionError, match="'pgd': no option named 'stepz'"):
        check_attack(find_attack("pgd"), options={"stepz": 1})


def test_the_kit_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_attack(find_attack("pgd"), options={"steps": 2})
    assert torch.equal(torch.rand(4), expected)
