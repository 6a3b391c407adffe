"""Devices that lack something: float64, which Apple's GPUs have not, or memory for a whole batch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from kdbench import augment
from kdbench.attacks import pgd, run
from kdbench.corruptions import NAMES, corrupt
from kdbench.inference.prediction import is_random, predict
from kdbench.plugin.loader import load_plugins
from kdbench.running.evaluation import run_task
from kdbench.tasks import EvaluationContext
from kdbench.testing import CPU, _Trial, pretend_accelerator
from tests.accelerator.share import share
from tests.accelerator.test_images import AUGMENTATIONS, pixels
from tests.attacks.small_models import curved, labelled, some_images
from tests.tasks.helpers import TinyNet, ten_classes

IN_FLOAT64 = {"augmix", "auto_augment", "rand_augment", "random_erasing", "strong_view", "teacher_view"}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_in_float64_runs_on_the_cpu_and_says_so(name: str) -> None:
    images, function = pixels().float() / 255, getattr(augment, name)
    expected = function(images, torch.Generator().manual_seed(5))
    with pretend_accelerator(float64=False) as device, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = function(images.to(device), torch.Generator().manual_seed(5)).cpu()
        own = function(images.to(device), torch.Generator(device).manual_seed(5))
        assert own.device == device
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)
    lines = {str(one.message) for one in said}
    assert all("accel has no float64: " in line and line.endswith(" runs on the CPU") for line in lines)
    assert bool(lines) == (name in IN_FLOAT64)


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_corruption_runs_on_the_cpu_and_says_so(name: str) -> None:
    expected = corrupt(pixels(2), name, 3, generator=torch.Generator().manual_seed(5))
    with pretend_accelerator(float64=False) as device, pytest.warns(UserWarning, match="corrupt runs on the CPU"):
        there = corrupt(pixels(2).to(device), name, 3, generator=torch.Generator().manual_seed(5))
        assert there.device == device
        assert torch.equal(there.cpu(), expected)


def test_attacks_need_no_float64() -> None:
    model, images = curved(), some_images(8)
    labels, results = labelled(model, images), []
    for iterate in ("last", "best"):
        expected = pgd(model.to(CPU), images, labels, eps=0.1, step_size=0.02, steps=3, restarts=2, iterate=iterate)
        with pretend_accelerator(float64=False) as device:
            there = images.to(device), labels.to(device)
            found = pgd(model.to(device), *there, eps=0.1, step_size=0.02, steps=3, restarts=2, iterate=iterate)
            assert found.robust[3].tolist() == expected.robust[3].tolist()
            assert found.robust_accuracy(3) == expected.robust_accuracy(3)
            assert found.zero_gradient_share.dtype == torch.float64
            assert not is_random(model, there[0])
        results.append(found)
    assert len(results) == 2


def test_the_fast_tier_needs_no_float64() -> None:
    model, images = curved(), some_images(8)
    labels = labelled(model, images)
    expected = run("autoattack-fast", model, images, labels, eps=0.1, options={"steps": 5})
    with pretend_accelerator(float64=False) as device:
        there = images.to(device), labels.to(device)
        found = run("autoattack-fast", model.to(device), *there, eps=0.1, options={"steps": 5})
        assert found.robust.tolist() == expected.robust.tolist()


@pytest.mark.filterwarnings("ignore:the exchange of the two peers has died")
@pytest.mark.parametrize("name", share(sorted(load_plugins().methods), ["co-teaching", "dividemix"]))
def test_a_method_trains_without_float64(name: str) -> None:
    method = load_plugins().methods.get(name)
    trial = _Trial(method, method.validate({}), 10)
    expected = trial.train(seed=0)
    with pretend_accelerator(float64=False) as device, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = trial.train(seed=0, devices=(device,))
    if any("runs on the CPU" in str(one.message) for one in told):  # and draws from a generator there
        assert all(value.isfinite().all() for value in found.values())
        return
    for tensor, value in expected.items():
        np.testing.assert_allclose(found[tensor].numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=tensor)


class Wide(nn.Module):
    """As a network, with an intermediate result of so many bytes an image."""

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network, self.width = network, width

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        used: torch.Tensor = images.new_zeros(len(images), self.width // 4).sum(1, keepdim=True)
        logits: torch.Tensor = self.network(images) + used
        return logits


def test_a_training_without_memory_ends_with_one_line() -> None:
    method = load_plugins().methods.get("ce")
    with pretend_accelerator(largest_bytes=100_000) as device:
        trial = _Trial(method, method.validate({}), 10, device)
        with pytest.raises(AssertionError, match="accel:0 is out of memory in epoch 1 with batches of 10"):
            trial.train(seed=0)


def test_a_batch_too_large_is_halved_and_the_record_is_told() -> None:
    data, task = ten_classes(count=48), load_plugins().tasks.get("clean")
    model = TinyNet(10, 0)
    expected = predict(model, data.test.images, device=CPU)
    with pretend_accelerator(largest_bytes=2**21) as device:  # of 48 images at 2**17 bytes only 16 fit
        wide = Wide(model, 2**17).to(device)
        found = predict(wide, data.test.images[:8], device=device)
        np.testing.assert_allclose(found.numpy(), expected[:8].numpy(), atol=1e-5)
        ctx = EvaluationContext("clean", device, None)
        outcome = run_task(task, task.resolve({}), wide, data, ctx)
    assert outcome.smaller_batch == 12
    with pretend_accelerator() as device:
        ctx = EvaluationContext("clean", device, None)
        assert run_task(task, task.resolve({}), wide.to(device), data, ctx).smaller_batch is None
