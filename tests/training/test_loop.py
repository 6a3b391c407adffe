from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import kdbench
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import frozen
from kdbench.models import ModelSpec, build
from kdbench.specs import Recipe
from kdbench.testing import TINY
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.loop import TrainingDivergedError, fit
from tests.training.spies import CPU, RECIPE, Peers, Spy, make_tiny, run, train_set, training


def test_every_example_is_seen_once_an_epoch_in_the_stated_order_of_calls(tmp_path: Path) -> None:
    spy = Spy()
    run(spy, Recipe(epochs=2, batch_size=10, lr=0.1, augmentation="none"), tmp_path)
    data = train_set()
    assert spy.calls[:5] == ["epoch 0", "loss 0", "after 0", "loss 1", "after 1"]
    assert [len(batch.labels) for batch in spy.batches] == [10, 10, 2, 10, 10, 2]
    orders = [torch.cat([batch.index for batch in spy.batches[part : part + 3]]) for part in (0, 3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(22))
    assert not torch.equal(*orders)
    for batch in spy.batches:
        assert torch.equal(batch.labels, data.labels[batch.index])
        assert torch.equal((batch.images * 255).round().to(torch.uint8), data.images[batch.index])
        assert not hasattr(batch, "clean_labels")
    assert spy.progress == pytest.approx([step / 6 for step in range(6)])


def test_drop_last_leaves_out_the_small_batch(tmp_path: Path) -> None:
    spy = Spy()
    run(spy, Recipe(epochs=1, batch_size=10, lr=0.1, drop_last=True), tmp_path)
    assert [len(batch.labels) for batch in spy.batches] == [10, 10]


class Late(Spy):
    """Trains a second parameter from the second epoch on only."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.extra = nn.Linear(10, 10, bias=False)

    def networks(self) -> dict[str, nn.Module]:
        return {"extra": self.extra}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        logits = ctx.student(batch.images)
        return nn.functional.cross_entropy(self.extra(logits) if ctx.epoch else logits, batch.labels)


def test_a_parameter_may_get_its_first_gradient_late(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=22, lr=0.1, momentum=0.9)
    method = Late()
    run(method, recipe, tmp_path)
    assert method.extra.weight.isfinite().all()


class Diverges(Spy):
    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return super().loss(batch, ctx) * (float("nan") if ctx.epoch == 1 else 1.0)


def test_a_loss_that_turns_nan_names_the_epoch(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="became nan in epoch 2") as caught:
        run(Diverges(), Recipe(epochs=3, batch_size=10, lr=0.1), tmp_path)
    assert caught.value.epoch == 2


@pytest.mark.parametrize("bad", [lambda loss: loss.detach(), lambda loss: loss.repeat(2), lambda loss: 1.0])
def test_a_loss_that_is_no_differentiable_scalar_is_refused(tmp_path: Path, bad: object) -> None:
    class Bad(Spy):
        def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
            return bad(super().loss(batch, ctx))  # type: ignore[operator,no-any-return]  # wrong on purpose

    with pytest.raises(KdbenchError, match="not a differentiable scalar"):
        run(Bad(), Recipe(epochs=1, batch_size=10, lr=0.1), tmp_path)


class Looks(Spy):
    """Looks at the training set before each epoch."""

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        data = train_set()
        assert torch.equal(ctx.train.images, data.images)
        assert torch.equal(ctx.train.labels, data.labels)
        assert (ctx.train.num_classes, ctx.noise_realised, ctx.noise_rate) == (10, 0.125, 0.25)
        before = {name: tensor.clone() for name, tensor in ctx.student.state_dict().items()}
        self.logits = ctx.predict(ctx.student)
        assert ctx.student.training
        assert all(p.requires_grad for p in ctx.student.parameters())
        assert all(torch.equal(tensor, before[name]) for name, tensor in ctx.student.state_dict().items())
        with frozen(ctx.student):
            torch.testing.assert_close(self.logits, ctx.student(data.images.float() / 255))


def test_the_training_set_and_what_a_network_says_of_it_are_there_at_each_epoch(tmp_path: Path) -> None:
    looks = Looks()
    data = dataclasses.replace(train_set(), noise_realised=0.125)
    fit(training(RECIPE), looks, build(TINY, num_classes=10, seed=1), data, {}, folder=tmp_path, device=CPU)
    assert looks.logits.shape == (22, 10)
    assert looks.logits.dtype == torch.float32
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1]["noise_realised"] == 0.125


class Masks(Spy):
    """Lets the gradient of the head alone through, doubled."""

    def before_step(self, ctx: kdbench.Context) -> None:
        self.calls.append(f"before {ctx.step}")
        for name, parameter in ctx.student.named_parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(2.0 if "head" in name else 0.0)


def test_gradients_may_be_changed_between_backward_and_step(tmp_path: Path) -> None:
    masks = Masks()
    recipe = Recipe(epochs=1, batch_size=22, lr=0.1, momentum=0, augmentation="none")
    trained = run(masks, recipe, tmp_path)
    assert masks.calls == ["epoch 0", "loss 0", "before 0", "after 0"]
    network = build(TINY, num_classes=10, seed=1).train()
    nn.functional.cross_entropy(network(masks.batches[0].images), masks.batches[0].labels).backward()
    for (name, start), end in zip(network.named_parameters(), trained.parameters(), strict=True):
        assert start.grad is not None
        expected = start - 0.2 * start.grad if "head" in name else start
        torch.testing.assert_close(end, expected, rtol=1e-5, atol=1e-7)


class NoWaiting(TorchDispatchMode):
    """Forbids reading a tensor's value, which on a GPU would wait for all that was queued before it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a step reads a number from the device"
        return func(*args, **(kwargs or {}))


class Watched(Peers):
    """Is watched from the start of each epoch to the end of its last step."""

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        super().on_epoch_start(ctx)
        self.mode = NoWaiting()
        self.mode.__enter__()

    def after_step(self, ctx: kdbench.Context) -> None:
        super().after_step(ctx)
        if (ctx.step + 1) % (ctx.steps // ctx.epochs) == 0:
            self.mode.__exit__(None, None, None)


def test_no_step_waits_for_the_device(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="reads a number"), NoWaiting():
        torch.zeros(1).sum().item()
    watched = Watched()
    run(watched, RECIPE, tmp_path, build=make_tiny)
    assert len(watched.batches) == 6


def test_views_have_the_layout_that_convolutions_like(tmp_path: Path) -> None:
    class Views(Spy):
        def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
            assert images.is_contiguous()
            return {"images": images, "flipped": images.flip(3)}

    spy = Views()
    run(spy, RECIPE, tmp_path)
    for batch in spy.batches:
        for view in batch.views.values():
            assert view.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.images.flip(3), batch.views["flipped"])


class Flattening(nn.Module):
    """Flattens with ``view``, which reads contiguous images alone."""

    def __init__(self, *, in_place: bool = False) -> None:
        super().__init__()
        self.conv, self.linear, self.in_place = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4 * 8 * 8, 10), in_place

    def forward(self, images: Tensor) -> Tensor:
        images = images.sub_(0.5) if self.in_place else images
        logits: Tensor = self.linear(self.conv(images).view(len(images), -1))
        return logits


class Predicting(Spy):
    """Asks for its predictions of the training set, too."""

    def epoch_log(self, ctx: kdbench.Context) -> dict[str, float]:
        return {"confidence": ctx.predict(ctx.student).softmax(1).amax(1).mean().item()}


@pytest.mark.parametrize("role", ["student", "peer", "teacher"])
def test_a_network_that_flattens_with_view_is_trained_and_decides_the_layout(tmp_path: Path, role: str) -> None:
    spec = ModelSpec("flattening", lambda num_classes: Flattening(), "flattens with view")
    flattening = build(spec, num_classes=10)

    class Both(Predicting):
        def setup(self, ctx: kdbench.Context) -> None:
            self.peer = ctx.new_network("peer") if role == "peer" else None

        def networks(self) -> dict[str, nn.Module]:
            return {} if self.peer is None else {"peer": self.peer}

        def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
            others = [*self.networks().values(), *ctx.networks.values()]
            return super().loss(batch, ctx) + sum(network(batch.images).square().mean() for network in others)

    method = Both()
    student = flattening if role == "student" else build(TINY, num_classes=10, seed=0)
    networks = {"teacher": flattening} if role == "teacher" else {}
    history = fit(
        training(RECIPE), method, student, train_set(), networks, folder=tmp_path, device=CPU,
        build=lambda model, dropout, seed: flattening,
    )  # fmt: skip
    assert len(history) == RECIPE.epochs
    assert all(batch.images.is_contiguous() for batch in method.batches)


def test_a_network_that_changes_its_images_in_place_is_refused(tmp_path: Path) -> None:
    """The other networks of a training, and the method, see the same batch."""
    student = build(ModelSpec("x", lambda num_classes: Flattening(in_place=True), "in place"), num_classes=10)
    with pytest.raises(KdbenchError, match="network 'student' .tiny. changes its input in place"):
        run(Spy(), RECIPE, tmp_path, student)


@pytest.mark.parametrize(("role", "classes"), [("student", 7), ("teacher", 100)])
def test_a_network_of_another_class_count_is_refused(tmp_path: Path, role: str, classes: int) -> None:
    student = build(TINY, num_classes=7 if role == "student" else 10, seed=0)
    networks = {"teacher": build(TINY, num_classes=100, seed=0)} if role == "teacher" else {}
    name = "'student' .tiny." if role == "student" else "'teacher'"
    message = rf"network {name} gives \(2, {classes}\) for 2 images, expected \(2, 10\)"
    with pytest.raises(KdbenchError, match=message):
        fit(training(RECIPE), Spy(), student, train_set(), networks, folder=tmp_path, device=CPU)


def test_mean_colour_is_exact() -> None:
    data = train_set(5)
    expected = data.images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(torch.tensor(data.mean(), dtype=torch.float64), expected, rtol=1e-6, atol=0)
