"""Every task measures on a device what it measures on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_smoothing.smoothed import Smoothed
from torch import nn

from kdbench.plugin.loader import load_plugins
from kdbench.running.evaluation import run_task
from kdbench.tasks import EvaluationContext, TestData
from kdbench.tasks.context import TrainingLabels
from tests.tasks.helpers import CPU, TinyNet, ten_classes

CASES: dict[str, dict[str, Any]] = {
    "accuracy_against_steps": {"subset": 20, "steps": 2, "radii": [0.05]},
    "attack": {"attacks": ("pgd",), "subset": 20, "large_eps_subset": 10, "options": {"pgd": {"steps": 3}}},
    "calibration": {},
    "clean": {"top5": True},
    "corruption": {"subset": 10},
    "memorisation": {"images": 20, "views": [1]},
    "noisy_label": {},
    "ood": {},
    "ood_detection": {"near": ("near",)},
    "peers": {},
    "pgd": {"subset": 20, "every_restart": 10, "steps": [2, 3], "restarts": 2, "large_eps_subset": 10},
    "softmax_magnitude": {"bins": 5},
    "teacher_transfer": {"subset": 20, "steps": 2},
    "transfer": {"subset": 20, "steps": 2},
    "transfer_matrix": {"subset": 20, "steps": 2, "input_sigma": 1e-6},  # too little noise to be another on a device
}


def test_every_task_is_here() -> None:
    plugins = load_plugins()
    assert sorted(CASES) == sorted(n for n in plugins.tasks.names() if plugins.tasks.origin(n).startswith("kdbench "))


@pytest.mark.parametrize("name", CASES)
def test_a_task_measures_what_it_measures_on_the_cpu(accelerator: torch.device, name: str) -> None:
    task = load_plugins().tasks.get(name)
    settings = task.resolve(CASES[name])
    near = ten_classes(name="near").test
    training = TrainingLabels(near.images, near.labels.roll(1), near.labels)
    data = TestData(ten_classes().test, ood=ten_classes(name="made/ood").test, outside={"near": near})
    outcomes = []
    for device in (CPU, accelerator):
        networks: dict[str, nn.Module] = {
            role: TinyNet(10, seed).to(device) for seed, role in enumerate(("teacher", "reference", "student"))
        }
        networks |= {"peer": networks["teacher"]}
        if name == "transfer_matrix":
            networks["teacher"] = Smoothed(networks["teacher"], smoothing="votes", draws=2)
        ctx = EvaluationContext("clean", device, None, networks=networks, training=lambda: training)
        outcomes.append(run_task(task, settings, TinyNet(10, 0).to(device), data, ctx))
    cpu, found = outcomes
    assert [score.metric for score in found.scores] == [score.metric for score in cpu.scores]
    for score, expected in zip(found.scores, cpu.scores, strict=True):
        assert score.setting == expected.setting
        assert score.value == pytest.approx(expected.value, abs=1e-6)
    for key, values in cpu.correct.items():
        np.testing.assert_array_equal(found.correct[key].cpu().numpy(), values.numpy(), err_msg=key)
