"""AutoAugment against torchvision on Pillow images: whole policies given the same choices, and what is drawn."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from kdbench.augment import _auto_augment, _operations, _random, auto_augment
from kdbench.augment._operations import Draw, Operation, PolicyPlan
from kdbench.errors import KdbenchError

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sample_images(height: int, width: int) -> Pixels:
    """Smooth colour, noise, low contrast, one level: (4,H,W,3)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([127 + 120 * np.sin(rows / (5 + c) + columns / (9 - 2 * c)) for c in range(3)], axis=-1)
    noise = rng.integers(0, 256, (height, width, 3))
    pale = rng.integers(90, 131, (height, width, 3))
    return np.stack([smooth, noise, pale, np.full((height, width, 3), 77)]).astype(np.uint8)


def to_tensor(images: Pixels) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class Chosen(AutoAugment):  # type: ignore[misc] # torchvision has no types
    """torchvision's transform with choices that are given, not drawn."""

    def __init__(self, policy: int, applied: tuple[bool, bool], positive: tuple[bool, bool]) -> None:
        super().__init__(AutoAugmentPolicy.CIFAR10)
        below, above = (-1.0, 2.0)
        probabilities = torch.tensor([below if one else above for one in applied])
        choice = (policy, probabilities, torch.tensor(positive).int())
        self.get_params = lambda transform_num: choice


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (29, 37)])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("policy", range(25))
def test_every_operation_of_the_policy_is_torchvisions(
    policy: int, step: int, positive: bool, size: tuple[int, int]
) -> None:
    images = sample_images(*size)
    name, _, magnitude = _auto_augment.SUB_POLICIES[policy][step]
    operation = next(one for one in _auto_augment.OPERATIONS if one.name == name)
    draw = Draw(
        amount=torch.full((1, len(images)), float(magnitude)),
        sign=torch.full((1, len(images)), 1.0 if positive else -1.0),
        place=torch.zeros(1, len(images), 2),
        height=size[0],
        width=size[1],
    )
    levels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found = operation.kernel(levels, operation.parameters(draw)[0]).permute(0, 2, 3, 1).numpy()
    transform = Chosen(policy, (step == 0, step == 1), (positive, positive))
    for one, image in zip(found, images, strict=True):
        assert np.array_equal(one, np.asarray(transform(Image.fromarray(image))))


def test_probabilities_are_torchvisions() -> None:
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    ours = _auto_augment.SUB_POLICIES
    assert [[step[1] for step in pair] for pair in ours] == [[step[1] for step in pair] for pair in theirs]


def test_a_batch_is_torchvisions_given_the_same_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Tensor, Draw]] = []
    original = _operations.plan_operations

    def keep(operations: tuple[Operation, ...], chosen: Tensor, draw: Draw) -> PolicyPlan:
        drawn.append((chosen, draw))
        return original(operations, chosen, draw)

    policies: list[Tensor] = []
    integers = _random.integers

    def keep_policies(*args: object) -> Tensor:
        policies.append(integers(*args))  # type: ignore[arg-type] # passed through
        return policies[-1]

    monkeypatch.setattr(_auto_augment, "plan_operations", keep)
    monkeypatch.setattr(_auto_augment, "integers", keep_policies)
    images = np.concatenate([sample_images(32, 32)] * 100)
    found = (auto_augment(to_tensor(images), torch.Generator().manual_seed(0)) * 255).round()
    chosen, draw = drawn[0]
    applied = (chosen < len(_auto_augment.OPERATIONS)).T.tolist()
    positive = (draw.sign > 0).T.tolist()
    for index, image in enumerate(images):
        transform = Chosen(int(policies[0][index]), tuple(applied[index]), tuple(positive[index]))
        expected = np.asarray(transform(Image.fromarray(image)))
        assert np.array_equal(found[index].permute(1, 2, 0).numpy(), expected), int(policies[0][index])


def test_draws_have_the_probabilities_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Tensor, Draw]] = []
    original = _operations.plan_operations

    def keep(operations: tuple[Operation, ...], chosen: Tensor, draw: Draw) -> PolicyPlan:
        drawn.append((chosen, draw))
        return original(operations, chosen, draw)

    monkeypatch.setattr(_auto_augment, "plan_operations", keep)
    count = 20_000
    auto_augment(torch.zeros(count, 3, 2, 2), torch.Generator().manual_seed(1))
    chosen, draw = drawn[0]
    names = [operation.name for operation in _auto_augment.OPERATIONS]
    expected: dict[tuple[int, str, float], float] = defaultdict(float)
    for first, second in AutoAugment(AutoAugmentPolicy.CIFAR10).policies:
        for step, (their_name, probability, magnitude) in enumerate((first, second)):
            name = "".join("_" + c.lower() if c.isupper() else c for c in their_name).lstrip("_")
            name = name.replace("auto_contrast", "autocontrast")
            expected[step, name, float(magnitude or 0)] += probability / 25
    found = Counter(
        (step, names[one], amount)
        for step in (0, 1)
        for one, amount in zip(chosen[step].tolist(), draw.amount[step].tolist(), strict=True)
        if one < len(names)
    )
    assert set(found) <= {key for key, share in expected.items() if share > 0}
    for key, share in expected.items():
        assert abs(found[key] / count - share) <= 5 * (share * (1 - share) / count) ** 0.5, key
    # Both operations are drawn apart from one another, and so are the signs: four standard deviations of a mean.
    assert abs((draw.sign[0] * draw.sign[1]).mean().item()) < 4 / count**0.5
    assert bool((draw.sign.mean(dim=1).abs() < 4 / count**0.5).all())
    both = ((chosen[0] < len(names)) & (chosen[1] < len(names))).float().mean().item()
    pairs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    assert both == pytest.approx(sum(one[1] * two[1] for one, two in pairs) / 25, abs=0.015)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"torch.uint8 \(2, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8), r"torch.float32 \(3, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8), r"torch.float32 \(2, 1, 8, 8\)"),
    ],
)
def test_other_images_are_refused(images: Tensor, found: str) -> None:
    with pytest.raises(KdbenchError, match=rf"images found as {found}, expected float \(B,3,H,W\) in \[0,1\]"):
        auto_augment(images, torch.Generator())
