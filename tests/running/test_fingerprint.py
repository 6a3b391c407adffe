"""The short training by which a record says what its method computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.methods.method import MethodSpec
from kdbench.plugin.loader import load_plugins
from kdbench.running.fingerprint import CLASSES, IMAGES, RECIPE, alike, control, fingerprint, losses
from kdbench.running.trial import tiny_network, tiny_set
from kdbench.specs import LabelNoise
from kdbench.suites import load_suite

NOISE = LabelNoise(kind="symmetric", rate=0.4)


def found(method: MethodSpec, **params: object) -> list[float]:
    return losses(method, params, NOISE)


def test_noise_without_a_rate_has_a_share_of_its_own() -> None:
    @kdbench.method("told")
    def told(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return 0 * ctx.student(batch.images).sum() + ctx.noise_rate + 10 * ctx.noise_realised

    assert set(losses(told, {}, LabelNoise(kind="file"))) == {4.4}
    assert set(losses(told, {}, LabelNoise(kind="symmetric", rate=0.2))) == {2.2}
    assert set(losses(told, {}, None)) == {0.0}


def squared(batch: kdbench.Batch, ctx: kdbench.Context, *, weight: float = 1.0) -> Tensor:
    """Squared error."""
    targets = nn.functional.one_hot(batch.labels, ctx.num_classes).float()
    return weight * (ctx.student(batch.images).softmax(1) - targets).square().sum(1).mean()


def test_it_is_what_a_training_by_hand_gives() -> None:
    """Without the harness, of a method that sees all images in each step, by torch's own optimiser."""

    class Fixed(kdbench.Method):
        def views(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
            return ctx.train.images.float() / 255

        def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
            return nn.functional.cross_entropy(ctx.student(batch.images), ctx.train.labels)

    data, student = tiny_set(IMAGES, CLASSES, 0.0, patches=2), tiny_network(CLASSES, 0)
    with torch.no_grad():
        student.get_parameter("network.head.weight").mul_(4)
    student.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    expected = []
    for _ in range(10):
        steps = []
        for _ in range(2):
            loss = nn.functional.cross_entropy(student(data.images.float() / 255), data.labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            steps.append(loss.item())
        expected.append(sum(steps) / 2)
    assert found(kdbench.method("fixed")(Fixed)) == pytest.approx(expected, rel=1e-5)
    assert RECIPE.epochs == len(expected)


def test_it_is_the_same_again_whatever_ran_before_and_leaves_no_trace() -> None:
    nrd = load_plugins().methods.get("nrd")
    first = found(nrd)
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    assert found(nrd) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_with_more_threads_it_is_the_same() -> None:
    dividemix = load_plugins().methods.get("dividemix")
    first, threads = found(dividemix), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert found(dividemix) == first
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("params", "other"),
    [({"temperature": 4.0}, {"temperature": 4.4}), ({"alpha": 0.9}, {"alpha": 0.89})],
)
def test_a_small_change_of_a_method_shows(params: dict[str, float], other: dict[str, float]) -> None:
    kd = load_plugins().methods.get("kd")
    assert not alike(found(kd, **params), found(kd, **other))


def late(batch: kdbench.Batch, ctx: kdbench.Context, *, weight: float = 1.0) -> Tensor:
    """Another weight in the last tenth of training."""
    loss = nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)
    return weight * loss if ctx.progress >= 0.9 else loss


def test_a_change_late_in_training_shows() -> None:
    method = kdbench.method("late")(late)
    one, other = found(method), found(method, weight=1.01)
    assert alike(one[:-1], other[:-1])
    assert not alike(one, other)


def test_parameters_for_measuring_alone_do_not_show() -> None:
    mkd = load_plugins().methods.get("mkd")
    assert found(mkd, evaluate="peer") == found(mkd)


def test_the_rounding_of_another_processor_is_the_same_computation() -> None:
    one = [2.31, 0.0, 4e-8]
    assert alike(one, [2.31 * (1 + 2e-4), 0.0, 3e-8])
    assert not alike(one, [2.315, 0.0, 4e-8])
    assert not alike(one, one[:2])


def test_it_has_every_condition_and_a_control_that_no_method_changes() -> None:
    suite = load_suite("digits")
    method = kdbench.method("squared")(squared)
    made = fingerprint(method, {"clean": {"weight": 1.0}, "sym-40": {"weight": 2.0}}, suite)
    assert made.control == control()
    assert made.losses["clean"] == losses(method, {"weight": 1.0}, None)
    assert made.losses["sym-40"] == found(method, weight=2.0)
    assert len({*map(tuple, made.losses.values()), tuple(made.control)}) == 3


@pytest.mark.parametrize("name", sorted(load_plugins().methods.names()))
def test_every_method_has_one(name: str) -> None:
    made = found(load_plugins().methods.get(name))
    assert len(made) == RECIPE.epochs
    assert len(set(made)) > 1
