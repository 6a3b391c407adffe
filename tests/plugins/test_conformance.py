"""Every first-party method passes the kit that plugin authors use, and the kit finds what it is for."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.plugin.loader import load_plugins
from kdbench.testing import check_method

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ce", {}),
    ("ce", {"view": "strong"}),
    ("label-smoothing", {}),
    ("confidence-penalty", {}),
    ("bootstrap-soft", {}),
    ("bootstrap-soft", {"target_gradient": "stop"}),
    ("bootstrap-hard", {}),
    ("mae", {}),
    ("gce", {}),
    ("sce", {}),
    ("nce-rce", {}),
    ("js", {}),
    ("gjs", {}),
    ("gjs", {"view": "strong", "scale": "none"}),
    ("tf-kd-reg", {}),
    ("tf-kd-reg", {"form": "paper"}),
    ("kd", {}),
    ("kd", {"direction": "reverse", "alpha": 0.5}),
    ("mkd", {}),
    ("mkd", {"peer": "wrn-10-1", "evaluate": "peer"}),
    ("kdcl", {}),
    ("kdcl", {"variant": "linear", "evaluate": "ensemble"}),
    ("fickle-teacher", {}),
    ("soft-randomization", {"clip": True}),
    ("gaussian-augmentation", {}),
    ("messy-collaboration", {}),
    ("messy-collaboration", {"variant": "TS", "direction": "reverse"}),
    ("target-variability", {}),
    ("fixed-label-corruption", {"variant": "TS"}),
    ("corrupted-labels", {}),
    ("signal-dependent-noise", {"mode": "shared"}),
    ("swap-top2", {}),
    ("swap-all", {"pi": 1.0, "theta": 1.0}),
    ("proselflc", {}),
    ("mylc", {}),
    ("mylc", {"reliability": "batch", "target_gradient": "stop"}),
    ("smkd-s", {}),
    ("smkd-s", {"self_target": "cp", "eta": "inf", "evaluate": "ensemble"}),
    ("smkd-p", {"eta": 0.5}),
    ("smkd-p", {"self_target": "proselflc", "denominator": "paper-alg1", "evaluate": "peer"}),
    ("nrd", {}),
    ("nrd", {"evaluated": "ema", "teacher_bn": "eval", "scale": "none", "cutout": 0}),
    ("nrd", {"variant": "ner", "pi": (0.3, 0.5, 0.2)}),
    ("nrd", {"variant": "nvr", "evaluated": "ema"}),
    ("cni", {"draws": 2, "steps": 2}),
    ("cni", {"draws": 3, "steps": 1, "smoothing": "votes", "input_sigma": 0.25}),
    ("cni", {"smoothing": "none", "adversarial_share": 0.0}),
    ("kd-smoothed", {"draws": 2}),
    ("kd-smoothed", {"draws": 2, "view": "plain", "cached": True}),
    ("kd-smoothed-adversarial", {"draws": 2, "steps": 2, "smoothing": "votes"}),
    ("katz-as-published", {"draws": 2}),
    ("katz-as-published", {"draws": 2, "run": "clean", "smoothing": "mean-logit"}),
    ("co-teaching", {}),
    ("co-teaching", {"evaluate": "ensemble", "noise_rate": 0.0}),
    ("co-teaching-plus", {"warmup_share": 0.3}),
    ("co-teaching-plus", {"warmup_share": 0.3, "agreed": "skip", "evaluate": "peer"}),
    ("mentornet", {}),
    ("s2e", {"candidates": 2}),
    ("s2e-candidate", {}),
    ("dividemix", {}),
    ("dividemix", {"evaluate": "student", "warmup_penalty": "always", "averaged_epochs": 5}),
    ("elr-plus", {}),
    ("elr-plus", {"reweight": True, "ramp_share": 0.4, "evaluate": "student"}),
    ("forward", {}),
    ("t-revision", {}),
    ("t-revision", {"start": "scratch", "revision_share": 1.0, "view": "strong"}),
    ("dmi", {}),
    ("cdr", {}),
    ("joint-relabelling", {"averaged": 2}),
    ("joint", {}),
]


def with_the_rest(cases: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The cases, and the defaults of every first-party method that is in none of them: nobody need add it here."""
    methods, listed = load_plugins().methods, {name for name, _ in cases}
    ours = (name for name in methods.names() if methods.origin(name).startswith("kdbench "))
    return [*cases, *((name, {}) for name in ours if name not in listed)]


@pytest.mark.filterwarnings("ignore:the exchange of the two peers has died")  # on random pixels nobody is sure
@pytest.mark.parametrize(("name", "params"), with_the_rest(CASES), ids=str)
def test_first_party_methods_conform(name: str, params: dict[str, Any]) -> None:
    check_method(load_plugins().methods.get(name), params=params)


def cross_entropy(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


def no_gradient(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return cross_entropy(batch, ctx).detach()


def not_finite(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return cross_entropy(batch, ctx) / 0


def vector(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return ctx.student(batch.images).sum(1)


def ten_classes_only(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return nn.functional.cross_entropy(ctx.student(batch.images)[:, :10], batch.labels.clamp(max=9)) * (
        float("nan") if ctx.num_classes != 10 else 1.0
    )


calls = 0


def remembers_globally(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    global calls
    calls += 1
    return cross_entropy(batch, ctx) * (1 + calls)


def drawn_by_the_system(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    noise = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(secrets.randbits(31)))
    return nn.functional.cross_entropy(ctx.student(batch.images + 0.1 * noise), batch.labels)


def reseeding(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    noise = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(torch.seed() % 2**31))
    return nn.functional.cross_entropy(ctx.student(batch.images + 0.1 * noise), batch.labels)


def trains_the_teacher(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    ctx.teacher.requires_grad_(True)
    return (ctx.student(batch.images) - ctx.teacher(batch.images)).square().mean()


def spoils_teacher_statistics(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    return (ctx.student(batch.images) - ctx.teacher.train()(batch.images).detach()).square().mean()


class ForgetsItsAverage(kdbench.Method):
    """Keeps an EMA that it does not list among its networks, so that a resumed training loses it."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.ema = copy.deepcopy(ctx.student).requires_grad_(False)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return (ctx.student(batch.images) - self.ema(batch.images)).square().mean() + cross_entropy(batch, ctx)

    @torch.no_grad()
    def after_step(self, ctx: kdbench.Context) -> None:
        for average, current in zip(self.ema.parameters(), ctx.student.parameters(), strict=True):
            average.lerp_(current, 0.5)


class ForgetsItsMemory(kdbench.Method):
    """Keeps a tensor that it does not list in ``state``."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.memory = torch.zeros(ctx.train_size)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        self.memory[batch.index] += 1
        return cross_entropy(batch, ctx) * (1 + self.memory[batch.index].mean())


class KeepsItsMemory(ForgetsItsMemory):
    """The same, listed."""

    def state(self) -> Mapping[str, Tensor]:
        return {"memory": self.memory}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.memory = state["memory"]


@pytest.mark.parametrize(
    ("target", "needs", "message"),
    [
        (no_gradient, (), "does not depend on the student"),
        (not_finite, (), "the loss is inf"),
        (vector, (), "must be a scalar"),
        (ten_classes_only, (), "the loss is nan"),
        (remembers_globally, (), "the same seed gave other weights"),
        (drawn_by_the_system, (), "the same seed gave other weights"),
        (reseeding, (), "changed the seed of torch's random numbers, which all code shares"),
        (trains_the_teacher, ("teacher",), "gradient reached the teacher"),
        (spoils_teacher_statistics, ("teacher",), "changed the teacher"),
        (ForgetsItsAverage, (), "a resumed training ended differently"),
        (ForgetsItsMemory, (), "a resumed training ended differently"),
    ],
)
def test_the_kit_finds_what_an_author_got_wrong(target: Any, needs: tuple[str, ...], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_method(kdbench.method("wrong", needs=needs)(target))


def test_the_kit_lets_a_listed_memory_pass() -> None:
    check_method(kdbench.method("right")(KeepsItsMemory), num_classes=(10,))
