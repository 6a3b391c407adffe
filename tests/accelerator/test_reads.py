"""The checks themselves: what is left out on purpose makes them fail."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import kdbench
from kdbench.attacks.trajectory import Ascent, Trajectory, ascend
from kdbench.testing import CPU, counted_reads
from kdbench.training.loop import TrainingRun
from tests.accelerator.trainings import counting, one_epoch, reads_of_an_epoch


def losses(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return F.cross_entropy(ctx.student(batch.images), batch.labels, reduction="none")


def target_on_the_cpu(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    targets = torch.full((len(batch.labels), ctx.num_classes), 0.1)  # no device=, no .to
    return F.cross_entropy(ctx.student(batch.images), targets)


def mask_on_the_cpu(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return losses(batch, ctx).masked_fill(torch.arange(len(batch.labels)) == 0, 0.0).mean()


def draws_on_the_cpu(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    weight = torch.rand(len(batch.labels), generator=ctx.generator)
    return (losses(batch, ctx) * weight.to(ctx.device)).mean()


def in_numpy(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    found = losses(batch, ctx)
    return found.mean() * float(found.detach().numpy().mean())


def item_in_a_step(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    found = losses(batch, ctx)
    return found.mean() / max(found.detach().mean().item(), 1e-3)


def branch_in_a_step(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    found = losses(batch, ctx)
    return found.mean() if found.detach().max() < 10 else found.mean() / 2


def boolean_rows_in_a_step(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    found = losses(batch, ctx)
    return found[found.detach() >= found.detach().median()].mean()


def nonzero_in_a_step(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    found = losses(batch, ctx)
    return found[(batch.labels >= 0).nonzero().flatten()].mean()


MIXED = {
    target_on_the_cpu: "at least two devices",
    mask_on_the_cpu: "at least two devices",
    draws_on_the_cpu: "Expected a 'cpu' device type for generator but found 'accel:0'",
    in_numpy: "can't convert accel:0 device type tensor to numpy",
}
READING = {
    item_in_a_step: "item",
    branch_in_a_step: "item",
    boolean_rows_in_a_step: "boolean indexing",
    nonzero_in_a_step: "nonzero",
}


@pytest.mark.parametrize("loss", MIXED)
def test_what_is_left_on_the_cpu_is_an_error(accelerator: torch.device, loss: Any) -> None:
    method = kdbench.method("wrong")(loss)
    one_epoch(method, CPU)  # where nothing is wrong with it
    with pytest.raises((RuntimeError, TypeError), match=re.escape(MIXED[loss])):
        one_epoch(method, accelerator)


@pytest.mark.parametrize("loss", READING)
def test_a_value_read_in_a_step_breaks_its_budget(
    accelerator: torch.device, monkeypatch: pytest.MonkeyPatch, loss: Any
) -> None:
    steps = counting(monkeypatch)
    one_epoch(kdbench.method("reading")(loss), accelerator)
    assert len(steps) == 3
    for reads in steps:
        with pytest.raises(AssertionError, match=rf"a step reads \d values back.*{READING[loss]} in test_reads.py:\d+"):
            reads.check(0, "a step")


def test_an_epoch_reads_as_often_however_many_steps_it_has(accelerator: torch.device) -> None:
    assert reads_of_an_epoch(accelerator, 10) == reads_of_an_epoch(accelerator, 2)


def test_a_value_that_the_loop_reads_each_step_breaks_that(
    accelerator: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingRun._step
    monkeypatch.setattr(TrainingRun, "_step", lambda run, given: step(run, given) + step(run, given).item() * 0)
    assert reads_of_an_epoch(accelerator, 10) < reads_of_an_epoch(accelerator, 2)


def test_a_look_at_each_step_of_an_attack_breaks_its_budget(accelerator: torch.device) -> None:
    images = torch.rand(4, 3, 8, 8, device=accelerator)
    labels = torch.zeros(4, dtype=torch.int64, device=accelerator)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10)).to(accelerator)
    plain = Trajectory.step

    def curious(trajectory: Trajectory) -> None:
        plain(trajectory)
        trajectory.images.mean().item()

    with pytest.MonkeyPatch.context() as patch, counted_reads() as reads:
        ascend(model, images, labels, images, Ascent(0.1, 0.1), 3)
        reads.check(1, "PGD")
        patch.setattr(Trajectory, "step", curious)
        ascend(model, images, labels, images, Ascent(0.1, 0.1), 3)
    with pytest.raises(AssertionError, match="PGD reads 5 values back, at most 1 are allowed: item in test_reads.py"):
        reads.check(1, "PGD")


def test_on_the_cpu_nothing_is_counted() -> None:
    with counted_reads() as reads:
        torch.arange(3).sum().item()
    assert reads.total == 0
