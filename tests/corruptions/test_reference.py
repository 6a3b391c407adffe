"""All 95 variants on photographs: the oracle's pixels, the oracle's amount of change, and the oracle's accuracies.

A random corruption is compared on the same draws, which leaves no chance in the comparison; that the draws have the
right distribution is ``test_random``'s subject, and for the noises of single values, whose many draws leave little to
chance, it is tested here too.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdbench.corruptions import DETERMINISTIC, NAMES, SEVERITIES, corrupt
from kdbench.inference.prediction import predict

from . import oracle
from .conftest import channels_first, channels_last
from .replay import both

HALF = slice(None, None, 2)
"""250 of the 500 photographs, all classes alike: enough where chance has no part."""


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percentage points."""
    right = predict(model, images, device=torch.device("cpu"), fold=False).argmax(1) == labels
    return 100 * right.double().mean().item()


def test_the_fixed_model_has_learnt(classifier: nn.Module, labelled_photographs: tuple[Tensor, Tensor]) -> None:
    """One that guesses would pass every comparison of accuracies."""
    assert accuracy(classifier, *labelled_photographs) > 75


def assert_same_change(images: Tensor, ours: Tensor, theirs: Tensor) -> None:
    """Mean, mean size and standard deviation of the change over all pixels: within 3 % of the reference's."""
    change, expected = ours.double() - images, theirs.double() - images
    size = expected.abs().mean()
    # a change that goes both ways has a mean near 0: it is weighed against the change's mean size
    assert (change.mean() - expected.mean()).abs() <= 0.03 * size
    assert change.abs().mean().item() == pytest.approx(size.item(), rel=0.03)
    assert change.std().item() == pytest.approx(expected.std().item(), rel=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_the_reference(
    classifier: nn.Module, labelled_photographs: tuple[Tensor, Tensor], name: str, severity: int
) -> None:
    images, labels = labelled_photographs
    if name in DETERMINISTIC:
        images, labels = images[HALF], labels[HALF]
    ours, theirs = both(images, name, severity)
    assert (ours.double() - theirs.double()).abs().mean() <= 1
    assert_same_change(images, ours, theirs)
    if name not in DETERMINISTIC:
        ours, theirs, labels = ours[HALF], theirs[HALF], labels[HALF]
    assert abs(accuracy(classifier, ours, labels) - accuracy(classifier, theirs, labels)) <= 2.5


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise"])
def test_noise_agrees_with_the_reference_on_draws_of_its_own(photographs: Tensor, name: str, severity: int) -> None:
    ours = corrupt(photographs, name, severity, generator=torch.Generator().manual_seed(1))
    theirs = channels_first(oracle.corrupt_all(channels_last(photographs), name, severity, seed=2))
    assert_same_change(photographs, ours, theirs)
