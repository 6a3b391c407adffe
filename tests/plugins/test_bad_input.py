"""Values that no method can work with are refused when a run is planned: parameter, value and range in one line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods.context import TrainSet
from kdbench.plugin.loader import load_plugins
from kdbench.running.loading import network_builder
from kdbench.running.plan import Plan
from kdbench.suites import load_suite
from kdbench.testing import RECIPE, TINY, _Trial
from kdbench.training.loop import TrainingRun

ABOVE_0, FROM_0, TO_1, BELOW_1 = (
    "greater than 0",
    "greater than or equal to 0",
    "less than or equal to 1",
    "less than 1",
)
FROM_1 = "greater than or equal to 1"

REFUSED: dict[str, list[tuple[Any, str]]] = {
    "temperature": [(0.0, ABOVE_0), (-1.0, ABOVE_0)],
    "noise_rate": [(-0.1, FROM_0), (1.0, BELOW_1), (1.5, BELOW_1)],
    "rate": [(-0.1, FROM_0), (1.1, TO_1)],
    "eta": [(0, "greater than 0, or inf"), (-4.0, "greater than 0, or inf"), ("x", "greater than 0, or inf")],
    "draws": [(0, FROM_1), (-8, FROM_1)],
    "steps": [(0, FROM_1)],
    "eps": [(-0.1, FROM_0), (1.1, TO_1)],
    "step_size": [(0.0, ABOVE_0)],
    "dropout": [(-0.1, FROM_0), (1.0, BELOW_1)],
    "sigma": [(-0.1, FROM_0)],
    "input_sigma": [(-0.1, FROM_0)],
    "decay": [(-0.1, FROM_0), (1.0, BELOW_1)],
    "pi1": [(0.0, ABOVE_0), (1.0, BELOW_1)],
    "pi2": [(0.0, ABOVE_0), (1.0, BELOW_1)],
    "theta": [(-0.1, FROM_0), (1.1, TO_1)],
    "epsilon": [(-0.1, FROM_0), (1.1, "less than")],
    "threshold": [(-0.1, FROM_0), (1.0, BELOW_1)],
    "candidates": [(0, FROM_1)],
    "b1": [(0.0, ABOVE_0)],
    "rho": [(1.1, TO_1)],
}
"""Parameter to values that every method with a parameter of that name refuses, and what it says of the range."""


def cases() -> Iterator[Any]:
    methods = load_plugins().methods
    for name in methods.names():
        if not methods.origin(name).startswith("kdbench "):
            continue
        for parameter in methods.get(name).parameters.model_fields:
            for value, says in REFUSED.get(parameter, ()):
                yield pytest.param(name, parameter, value, says, id=f"{name}-{parameter}={value}")


def plan(method: str, suite: str = "digits", **params: Any) -> Plan:
    return Plan.make(load_suite(suite), load_plugins(), method, params, None, ["calibration"])


@pytest.mark.parametrize(("method", "parameter", "value", "says"), list(cases()))
def test_a_value_out_of_range_is_refused(method: str, parameter: str, value: Any, says: str) -> None:
    with pytest.raises(KdbenchError) as caught:
        plan(method, **{parameter: value})
    assert f"method '{method}', parameter {parameter}" in caught.value.message
    assert says in caught.value.message and f"found {value!r}" in caught.value.message
    assert "\n" not in caught.value.message


def test_the_table_has_no_idle_row() -> None:
    methods = load_plugins().methods
    known = {parameter for name in methods.names() for parameter in methods.get(name).parameters.model_fields}
    assert set(REFUSED) <= known


@pytest.mark.parametrize("parameter", ["temperature", "rate", "sigma", "weight", "b2", "alpha"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_what_is_no_finite_number_is_refused(parameter: str, value: Any) -> None:
    methods = load_plugins().methods
    having = [name for name in methods.names() if parameter in methods.get(name).parameters.model_fields]
    for method in having:
        with pytest.raises(KdbenchError, match=f"parameter {parameter}: input should be a"):
            plan(method, **{parameter: value})


@pytest.mark.parametrize(
    ("pi", "says"),
    [
        ((0.2, 0.6, 0.3), r"parameter pi: weights \(0\.2, 0\.6, 0\.3\) sum to 1\.1, expected 1"),
        ((0.5, 0.0, 0.5), r"parameter pi: weights .* leave the student out"),
        ((0.0, 0.5, 0.5), r"parameter pi: weights .* have no scale, expected a first one in \(0, 1\)"),
        ((-0.2, 0.6, 0.6), r"parameter pi\.0: input should be greater than or equal to 0, found -0\.2"),
        ((0.5, 0.5), r"parameter pi.*field required"),
    ],
)
def test_weights_that_are_no_mixture_are_refused(pi: tuple[float, ...], says: str) -> None:
    with pytest.raises(KdbenchError, match=says):
        plan("nrd", pi=pi)


RATE = ["co-teaching", "co-teaching-plus", "mentornet", "cdr"]


@pytest.mark.parametrize("method", RATE)
@pytest.mark.parametrize("suite", ["webvision-mini", "food101"])
def test_a_rate_that_nobody_knows_must_be_given(method: str, suite: str) -> None:
    with pytest.raises(KdbenchError, match=rf"'{method}', parameter noise_rate: found none.*in \[0, 1\)") as caught:
        plan(method, suite)
    assert "--set noise_rate=" in caught.value.hint
    assert plan(method, suite, noise_rate=0.2).params["web"]["noise_rate"] == 0.2
    assert plan(method).params["sym-40"]["noise_rate"] is None  # there it is known


def test_every_method_with_such_a_rate_is_among_them() -> None:
    methods = load_plugins().methods
    having = [name for name in methods.names() if "noise_rate" in methods.get(name).parameters.model_fields]
    assert sorted(having) == sorted(RATE)


def run_of(
    method: str, teacher_classes: int = 10, images: int = 20, batch_size: int = 10, **params: Any
) -> TrainingRun:
    """What stands before the first step of a training on random pixels, with teachers of so many classes."""
    spec = load_plugins().methods.get(method)
    trial = _Trial(spec, spec.validate(params), 10)
    training = trial._spec(0).model_copy(update={"recipe": RECIPE.model_copy(update={"batch_size": batch_size})})
    networks = {role: kdbench.models.build(TINY, num_classes=teacher_classes) for role in trial.networks}
    data = TrainSet(trial.data.images[:images], trial.data.labels[:images], 10, noise_realised=0.4)
    build = network_builder(trial.plugins, training, 10)
    student = kdbench.models.build(TINY, num_classes=10)
    return TrainingRun(training, spec.make(trial.params), student, data, networks, torch.device("cpu"), build)


def needing_networks() -> list[str]:
    methods = load_plugins().methods
    return [name for name in methods.names() if methods.get(name).needed(methods.get(name).validate({}))]


@pytest.mark.parametrize("method", needing_networks())
def test_a_network_of_another_class_count_is_refused(method: str) -> None:
    with pytest.raises(KdbenchError, match=r"network '\w+' gives \(2, 7\) for 2 images, expected \(2, 10\)"):
        run_of(method, teacher_classes=7)


@pytest.mark.parametrize("method", ["ce", "nrd", "mkd", "kd", "dividemix", "elr-plus"])
def test_a_batch_of_one_has_no_batch_statistics(method: str) -> None:
    with pytest.raises(KdbenchError, match="batch_size found 1, expected at least 2"):
        run_of(method, batch_size=1)
    with pytest.raises(KdbenchError, match="batch_size found 1, expected at least 2"):
        run_of(method, images=1)
    assert run_of(method, batch_size=2).per_epoch == 10


class Other(kdbench.Method):
    """Cross-entropy beside a peer of its own, from whatever ``build`` gives."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer", model="other")

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        raise AssertionError("training has begun")


def with_peer(peer: nn.Module, student: nn.Module, batch_size: int = 10) -> TrainingRun:
    spec = kdbench.method("other")(Other)
    trial = _Trial(spec, {}, 10)
    training = trial._spec(0).model_copy(update={"recipe": RECIPE.model_copy(update={"batch_size": batch_size})})
    return TrainingRun(training, Other(), student, trial.data, {}, torch.device("cpu"), lambda *_: peer)


def test_a_peer_of_another_class_count_is_refused() -> None:
    with pytest.raises(KdbenchError, match=r"network 'peer' \(other\) gives \(2, 7\) for 2 images, expected \(2, 10\)"):
        with_peer(kdbench.models.build(TINY, num_classes=7), kdbench.models.build(TINY, num_classes=10))


def test_a_batch_of_one_has_no_batch_statistics_for_a_peer_either() -> None:
    plain = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 10))
    with pytest.raises(KdbenchError, match="batch_size found 1, expected at least 2"):
        with_peer(kdbench.models.build(TINY, num_classes=10), plain, batch_size=1)
    assert with_peer(copy.deepcopy(plain), plain, batch_size=1).per_epoch > 1


class Twins(kdbench.Method):
    """A peer with the student's own weights: all of them, the last layer's, or that layer's numbers in memory."""

    def __init__(self, *, shared: str = "all") -> None:
        self.shared = shared

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.student if self.shared == "all" else copy.deepcopy(ctx.student)
        if self.shared == "layer":
            self.peer.network.head = ctx.student.network.head  # type: ignore[union-attr,assignment]  # the kit's network
        if self.shared == "numbers":
            self.peer.network.head.weight.data = ctx.student.network.head.weight.data  # type: ignore[union-attr]  # as above

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        raise AssertionError("training has begun")


@pytest.mark.parametrize("shared", ["all", "layer", "numbers"])
def test_peers_that_share_weights_are_refused(shared: str) -> None:
    spec = kdbench.method("twins")(Twins)
    trial = _Trial(spec, {"shared": shared}, 10)
    student = kdbench.models.build(TINY, num_classes=10)
    with pytest.raises(KdbenchError, match=r"networks\(\) 'peer' and 'student' share a tensor"):
        TrainingRun(trial._spec(0), spec.make({"shared": shared}), student, trial.data, {}, torch.device("cpu"), None)
