"""The numbered list of reductions is complete, and no measurement inside a training leaves a trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.inference.prediction import is_random, predict
from kdbench.models import build
from kdbench.testing import TINY
from tests.plugins.helpers import draw_pixels

REDUCTIONS = {
    1: "without its noise each method of noisy collaboration is kd",
    2: "kd with alpha 0 is ce, with an equal teacher nothing; repeating a batch changes no loss",
    3: "changed labels: the rate, never the label itself, anew or once; the teacher's term is untouched",
    4: "signal-dependent noise changes the ranking, shared noise does not",
    5: "nrd: js without a teacher, no gradient to the teacher, the average, the bounds",
    6: "js tends to ce; gjs with equal views is js",
    7: "limits of gce, sce, smoothing, bootstrapping, penalty and self-correction; the kept gradient",
    8: "smkd: nothing, everything, static and moving threshold, twice ce",
    9: "mkd is half of deep mutual learning; kdcl without a second opinion",
    10: "co-teaching without noise; co-teaching+ of equal networks; dividemix with equal losses",
    11: "cdr, forward and t-revision that correct nothing",
    12: "cni without noise; votes and probabilities sum up; forwards differ",
    13: "smoothing with one draw; its variance falls as 1 / M",
    14: "each image has its own row of the teacher",
    15: "modes are what they were after an attack or a measurement",
}
"""What each number stands for: the tests named ``test_reduction_<number>_...`` prove it."""


def test_every_reduction_has_a_test_that_carries_its_number() -> None:
    sources = (path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    found = {int(number) for text in sources for number in re.findall(r"^def test_reduction_(\d+)_", text, re.M)}
    assert found == REDUCTIONS.keys()


def attacked(network: nn.Module, images: Tensor) -> object:
    labels = torch.arange(len(images)) % 3
    return kdbench.attacks.pgd(network, images, labels, eps=0.03, step_size=0.01, steps=2, restarts=2)


def best_iterate(network: nn.Module, images: Tensor) -> object:
    return kdbench.attacks.pgd_best_iterate(network, images, torch.arange(len(images)) % 3, steps=2)


def transferred(network: nn.Module, images: Tensor) -> object:
    return kdbench.attacks.transfer(network, network, images, torch.arange(len(images)) % 3, steps=2)


def predicted(network: nn.Module, images: Tensor) -> object:
    return predict(network, images, device=torch.device("cpu"))


@pytest.mark.parametrize("measure", [attacked, best_iterate, transferred, predicted, is_random])
def test_reduction_15_a_measurement_leaves_modes_statistics_and_the_next_step_as_they_were(
    measure: Callable[[nn.Module, Tensor], object],
) -> None:
    network, images = build(TINY, num_classes=3, seed=0).train(), draw_pixels(0, 6, 3, 32, 32)
    list(network.modules())[-1].eval()  # one module apart from the others
    modes = [module.training for module in network.modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, images)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
