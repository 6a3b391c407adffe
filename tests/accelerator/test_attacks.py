"""Every attack on a device: conforming, with the CPU's results, and without a look at a value in a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.attacks import OBJECTIVES, find_attack, pgd, pgd_best_iterate, run, transfer
from kdbench.attacks.auto_pgd import LOOKS
from kdbench.plugin.loader import load_plugins
from kdbench.testing import Reads, check_attack, counted_reads
from tests.accelerator.share import share
from tests.attacks.small_models import curved, labelled, some_images

MEMBERS = find_attack("torchattacks").members
OURS = [name for name in load_plugins().attacks if name != "torchattacks"]
ALL_ATTACKS = [*OURS, *(f"torchattacks:{name}" for name in MEMBERS() if name != "AutoAttack")]
SOME = ["apgd", "autoattack-fast", "torchattacks:MIFGSM", "torchattacks:Square"]
SHORT = {"steps": 2, "n_queries": 20, "n_restarts": 1}
BUDGET = {"eps": 8 / 255, "step_size": 2 / 255}
COUNT = 12


@pytest.mark.parametrize("name", ["pgd"])
def test_an_attack_conforms_on_a_device(accelerator: torch.device, name: str) -> None:
    check_attack(find_attack(name), device=accelerator)


@pytest.mark.parametrize("name", share(ALL_ATTACKS, SOME))
def test_an_attack_finds_what_it_finds_on_the_cpu(accelerator: torch.device, name: str) -> None:
    spec, results = find_attack(name), []
    options = {key: value for key, value in SHORT.items() if key in spec.parameters.model_fields}
    for device in (torch.device("cpu"), accelerator):
        model, images, labels = everything(device)
        results.append(run(name, model, images, labels, eps=BUDGET["eps"], options=options))
    cpu, found = results
    assert found.examples.device == accelerator
    assert found.robust.tolist() == cpu.robust.tolist()
    np.testing.assert_allclose(found.examples.cpu().numpy(), cpu.examples.numpy(), atol=1e-5)


def everything(device: torch.device) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    model, images = curved(), some_images(COUNT)
    labels = labelled(model, images)
    return model.to(device), images.to(device), labels.to(device)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_pgd_finds_what_it_finds_on_the_cpu(accelerator: torch.device, objective: str) -> None:
    options = {"steps": (2, 5), "restarts": 3, "objective": objective, "keep_examples": True, **BUDGET}
    options |= {"step_rule": "momentum", "iterate": "best"} if objective == "dlr" else {}
    results = []
    for device in (torch.device("cpu"), accelerator):
        model, images, labels = everything(device)
        targets = (labels + 1) % 10 if objective.startswith("targeted") else None
        results.append(pgd(model, images, labels, targets=targets, **options))
    cpu, found = results
    for k in (2, 5):
        assert found.robust[k].cpu().tolist() == cpu.robust[k].tolist()
    np.testing.assert_allclose(found.examples.cpu().numpy(), cpu.examples.numpy(), atol=1e-5)


def reads_of_pgd(device: torch.device, steps: int) -> Reads:
    model, images, labels = everything(device)
    with counted_reads() as reads:
        pgd(model, images, labels, steps=steps, restarts=1, **BUDGET)
    return reads


def test_a_step_of_pgd_reads_nothing(accelerator: torch.device) -> None:
    few, many = reads_of_pgd(accelerator, 2), reads_of_pgd(accelerator, 12)
    assert many.places == few.places
    few.check(36, "pgd of one restart")


def test_the_fast_tier_looks_for_broken_images_every_few_steps_and_reads_nothing_else(
    accelerator: torch.device,
) -> None:
    model, images, labels = everything(accelerator)
    found = {}
    for steps in (2 * LOOKS, 4 * LOOKS):
        with counted_reads() as reads:
            run("autoattack-fast", model, images, labels, eps=1e-6, options={"steps": steps, "targets": 1})
        found[steps] = reads.total
    assert found[4 * LOOKS] - found[2 * LOOKS] == 2, "a look every so many steps"


def test_a_step_of_every_attack_of_ours_reads_nothing(accelerator: torch.device) -> None:
    model, images, labels = everything(accelerator)
    found = {}
    for steps in (2, 12):
        with counted_reads() as reads:
            pgd_best_iterate(model, images, labels, steps=steps)
            run("pgd", model, images, labels, eps=BUDGET["eps"], options={"steps": steps, "restarts": 1})
            transfer(model, model, images, labels, steps=steps, **BUDGET)
        found[steps] = reads.places
    assert found[2] == found[12]
