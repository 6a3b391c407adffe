from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import kdbench
from kdbench.context import TrainSet
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import frozen, predict
from kdbench.methods import Method
from kdbench.models import build
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.testing import TINY
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.loop import TrainingDivergedError, fit
from kdbench.training.monitor import Monitor
from kdbench.training.seeds import derive_seed

CPU = torch.device("cpu")


def training(recipe: Recipe, seed: int = 0) -> Training:
    return Training(
        suite="x", dataset="x", dataset_sha256="", train_size=None, subset_seed=0, labels_sha256="", model="tiny",
        noise=LabelNoise(kind="symmetric", rate=0.25), model_source="", device="cpu", mean=None, std=None, flip=True,
        recipe=recipe, method="m", method_source="", params={}, seed=seed, needs={},
    )  # fmt: skip


def train_set(n: int = 22) -> TrainSet:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator).to(torch.uint8)
    return TrainSet(images, torch.arange(n) % 10, 10)


class Spy(Method):
    """Cross-entropy that writes down what it is shown."""

    def __init__(self) -> None:
        self.batches: list[kdbench.Batch] = []
        self.calls: list[str] = []
        self.progress: list[float] = []

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.calls.append(f"epoch {ctx.epoch}")
        assert ctx.student.training

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        self.calls.append(f"loss {ctx.step}")
        self.batches.append(batch)
        self.progress.append(ctx.progress)
        assert (ctx.noise_kind, ctx.noise_rate, ctx.train_size) == ("symmetric", 0.25, 22)
        return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)

    def after_step(self, ctx: kdbench.Context) -> None:
        self.calls.append(f"after {ctx.step}")


def run(method: Method, recipe: Recipe, folder: Path, student: nn.Module | None = None, **options: object) -> nn.Module:
    student = student or build(TINY, num_classes=10, seed=1)
    fit(training(recipe), method, student, train_set(), {}, folder=folder, device=CPU, **options)  # type: ignore[arg-type]  # test options
    return student


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


def test_steps_equal_a_hand_written_sgd(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=2, batch_size=10, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01, milestones=(1,), gamma=0.1,
        augmentation="none",
    )  # fmt: skip
    spy = Spy()
    trained = run(spy, recipe, tmp_path)
    network = build(TINY, num_classes=10, seed=1).train()
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    for step, batch in enumerate(spy.batches):
        network.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        for p, v in zip(network.parameters(), velocity, strict=True):
            assert p.grad is not None
            gradient = p.grad + 0.01 * p.detach()
            v.mul_(0.8).add_(gradient)
            p.data -= (0.1 if step < 3 else 0.01) * (gradient + 0.8 * v)
    for expected, found in zip(network.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_log_and_checkpoint_and_monitor(tmp_path: Path) -> None:
    data = train_set()
    student = run(Spy(), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path, monitor=Monitor(data.images, data.labels))
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2]
    expected = (predict(student, data.images, device=CPU).argmax(1) == data.labels).float().mean().item()
    assert entries[-1]["test_accuracy"] == pytest.approx(expected)
    assert entries[-1]["test_n"] == 22
    tensors, metadata = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["predictor"] == "student"
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensors[f"student.{name}"], tensor)
    assert not (tmp_path / "resume.pt").exists()


def test_the_monitor_changes_nothing(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=10, lr=0.1)
    data = train_set()
    with_it = run(Spy(), recipe, tmp_path / "a", monitor=Monitor(data.images, data.labels))
    without = run(Spy(), recipe, tmp_path / "b")
    for name, tensor in with_it.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name


class Counts(Spy):
    """Logs a number of its own."""

    def __init__(self, entry: dict[str, float]) -> None:
        super().__init__()
        self.entry = entry

    def epoch_log(self, ctx: kdbench.Context) -> dict[str, float]:
        return {name: value + ctx.epoch for name, value in self.entry.items()}


def test_a_method_adds_numbers_of_its_own_to_the_log(tmp_path: Path) -> None:
    run(Counts({"kept": 5}), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path)
    assert [json.loads(line)["kept"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [5.0, 6.0]


@pytest.mark.parametrize(("name", "value"), [("loss", 1.0), ("test_accuracy", 1.0), ("no name", 1.0), ("x", math.nan)])
def test_a_log_entry_that_would_mislead_is_refused(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(KdbenchError, match="epoch_log.. returned"):
        run(Counts({name: value}), Recipe(epochs=1, batch_size=10, lr=0.1), tmp_path)


def test_softmax_vectors_of_watched_images_are_kept_epoch_by_epoch_and_survive_an_interruption(tmp_path: Path) -> None:
    data = train_set()
    monitor, recipe = Monitor(data.images, data.labels), Recipe(epochs=3, batch_size=10, lr=0.1)
    student = run(Spy(), recipe, tmp_path / "whole", monitor=monitor)
    run(Spy(), recipe, tmp_path / "parts", monitor=monitor, stop_after=2)
    run(Spy(), recipe, tmp_path / "parts", monitor=monitor)
    files = [np.load(tmp_path / part / "softmax.npz") for part in ("whole", "parts")]
    assert np.array_equal(files[0]["softmax"], files[1]["softmax"])
    assert files[0]["softmax"].shape == (3, 22, 10)
    assert np.array_equal(files[0]["labels"], data.labels)
    expected = predict(student, data.images, device=CPU).softmax(1)
    np.testing.assert_allclose(files[0]["softmax"][-1], expected, atol=1e-3)


def test_at_most_a_hundred_images_are_watched_over_all_classes() -> None:
    labels = torch.arange(10).repeat_interleave(200)
    watched = Monitor(torch.empty(0), labels).watched()
    assert len(watched) == 100
    assert torch.equal(labels[watched].bincount(), torch.full((10,), 10))


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


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=10, lr=0.1)
    whole = run(Spy(), recipe, tmp_path / "whole")
    run(Spy(), recipe, tmp_path / "parts", stop_after=1)
    assert (tmp_path / "parts/resume.pt").exists()
    assert not (tmp_path / "parts/checkpoint.safetensors").exists()
    spy = Spy()
    resumed = run(spy, recipe, tmp_path / "parts")
    assert spy.calls[0] == "epoch 1"
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_damaged_resume_state_starts_over_with_a_word(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=10, lr=0.1)
    run(Spy(), recipe, tmp_path, stop_after=1)
    path = tmp_path / "resume.pt"
    path.write_bytes(path.read_bytes()[:100])
    spy = Spy()
    with pytest.warns(UserWarning, match="is damaged .* training starts over"):
        run(spy, recipe, tmp_path)
    assert spy.calls[0] == "epoch 0"


def test_a_resume_state_of_another_training_is_not_taken_up(tmp_path: Path) -> None:
    run(Spy(), Recipe(epochs=2, batch_size=10, lr=0.1), tmp_path, stop_after=1)
    spy = Spy()
    run(spy, Recipe(epochs=2, batch_size=10, lr=0.2), tmp_path)
    assert spy.calls[0] == "epoch 0"


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


def test_frozen_restores_every_submodule_and_parameter() -> None:
    network = build(TINY, num_classes=10, seed=0)
    network.train()
    batch_norm = next(part for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    batch_norm.eval()
    batch_norm.weight.requires_grad_(False)
    before = [part.training for part in network.modules()], [p.requires_grad for p in network.parameters()]
    with frozen(network):
        assert not any(part.training for part in network.modules())
        assert not any(p.requires_grad for p in network.parameters())
    assert before == ([part.training for part in network.modules()], [p.requires_grad for p in network.parameters()])


def test_predict_covers_the_last_incomplete_batch_in_order() -> None:
    network = build(TINY, num_classes=10, seed=0)
    images = train_set(23).images
    parts = predict(network, images, device=CPU, batch_size=7)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(parts, network(images.float() / 255), rtol=1e-5, atol=1e-5)


class Rampant(Spy):
    """Draws on progress at the start of an epoch, and keeps a memory on the device."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.scale, self.memory = 0.0, torch.zeros(ctx.train_size, device=ctx.device)

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.scale = 1 + ctx.progress + ctx.step

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return super().loss(batch, ctx) * self.scale


def test_progress_at_the_start_of_an_epoch_survives_a_resume(tmp_path: Path) -> None:
    recipe = Recipe(epochs=3, batch_size=10, lr=0.01)
    whole = run(Rampant(), recipe, tmp_path / "whole")
    run(Rampant(), recipe, tmp_path / "parts", stop_after=2)
    resumed = run(Rampant(), recipe, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


class Pair(nn.Module):
    """The mean of two networks' logits."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([member(pixels) for member in self.members]).mean(0)


def make_tiny(model: str | None, dropout: float, seed: int) -> nn.Module:
    return build(TINY, num_classes=10, dropout=dropout, seed=seed)


class Peers(Spy):
    """A peer, a learned matrix behind it, and a frozen copy of the student."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer")
        self.matrix = nn.Linear(10, 10, bias=False)
        self.still = copy.deepcopy(ctx.student).requires_grad_(False).eval()

    def networks(self) -> dict[str, nn.Module]:
        return {"peer": self.peer, "matrix": self.matrix, "still": self.still}

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        super().on_epoch_start(ctx)
        assert (self.peer.training, self.matrix.training, self.still.training) == (True, True, False)
        self.peer.eval()
        self.matrix.eval()

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        through = self.matrix(self.peer(batch.images))
        return super().loss(batch, ctx) + nn.functional.cross_entropy(through, batch.labels)

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Pair(ctx.student, self.peer)


RECIPE = Recipe(epochs=2, batch_size=10, lr=0.1)


def test_peers_and_other_modules_are_trained_and_kept(tmp_path: Path) -> None:
    data, peers = train_set(), Peers()
    student = run(peers, RECIPE, tmp_path, build=make_tiny, monitor=Monitor(data.images, data.labels))
    first = make_tiny(None, 0.0, derive_seed(0, "network", "peer"))
    assert all(
        not torch.equal(p, q) for p, q in zip(first.parameters(), student.parameters(), strict=True) if p.ndim > 1
    )
    assert all(not torch.equal(p, q) for p, q in zip(first.parameters(), peers.peer.parameters(), strict=True))
    tensors, metadata = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["predictor"] == "composed"
    for name, network in {"student": student, **peers.networks()}.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensors[f"{name}.{key}"], tensor)
    for name, tensor in peers.still.state_dict().items():
        assert torch.equal(tensor, build(TINY, num_classes=10, seed=1).state_dict()[name]), name
    entry = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    logits = (predict(student, data.images, device=CPU) + predict(peers.peer, data.images, device=CPU)) / 2
    assert entry["test_accuracy"] == (logits.argmax(1) == data.labels).double().mean().item()


def test_interrupted_peers_end_with_the_same_weights(tmp_path: Path) -> None:
    run(Peers(), RECIPE, tmp_path / "whole", build=make_tiny)
    run(Peers(), RECIPE, tmp_path / "parts", build=make_tiny, stop_after=1)
    run(Peers(), RECIPE, tmp_path / "parts", build=make_tiny)
    whole, parts = ((tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


class Owns(Spy):
    """Lists whatever it is given."""

    def __init__(self, make: Callable[[kdbench.Context], dict[str, Any]]) -> None:
        super().__init__()
        self.make = make

    def setup(self, ctx: kdbench.Context) -> None:
        self.owned = self.make(ctx)

    def networks(self) -> dict[str, nn.Module]:
        return self.owned


def tied(ctx: kdbench.Context) -> dict[str, nn.Module]:
    peer = ctx.new_network("a")
    return {"one": peer, "two": Pair(peer)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ctx: {"pair": Pair(ctx.student)}, "'pair' and 'student' share a tensor .*copy.deepcopy"),
        (tied, "'two' and 'one' share a tensor"),
        (lambda ctx: {"student": ctx.new_network("a")}, "networks.. names one 'student'"),
        (lambda ctx: {"a.b": ctx.new_network("a")}, "networks.. names one 'a.b'"),
        (lambda ctx: {"a": torch.zeros(3)}, r"networks..\['a'\] is a Tensor"),
        (lambda ctx: {"a": ctx.new_network("a"), "b": ctx.new_network("a")}, "'a'. was called twice"),
        (lambda ctx: {"a": ctx.train}, "ctx.train was used in setup.*use it in on_epoch_start"),
        (lambda ctx: {"a": ctx.predict(ctx.student)}, "ctx.predict was used in setup"),
    ],
)
def test_what_a_method_may_not_own_or_use_in_setup_is_one_line(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        run(Owns(make), RECIPE, tmp_path, build=make_tiny)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("predictor", "message"),
    [
        (
            lambda ctx: make_tiny(None, 0, 0),
            "holds 9 tensors that no checkpoint would, such as network.features.0.weight",
        ),
        (lambda ctx: lambda pixels: pixels, "returned a function"),
        (lambda ctx: nn.Flatten(), "has no parameters"),
    ],
)
def test_a_predictor_that_the_checkpoint_could_not_give_back_is_refused(
    tmp_path: Path, predictor: Any, message: str
) -> None:
    method = Spy()
    method.predictor = predictor  # type: ignore[method-assign]  # of this instance alone
    with pytest.raises(KdbenchError, match=message):
        run(method, RECIPE, tmp_path)


def test_new_networks_are_for_setup_and_need_something_to_build_with(tmp_path: Path) -> None:
    late = Spy()
    late.on_epoch_start = lambda ctx: ctx.new_network("late")  # type: ignore[method-assign,assignment,return-value]  # wrong on purpose
    with pytest.raises(KdbenchError, match="new_network.'late'. was called after setup"):
        run(late, RECIPE, tmp_path, build=make_tiny)
    with pytest.raises(KdbenchError, match="has nothing to build with"):
        run(Owns(lambda ctx: {"a": ctx.new_network("a")}), RECIPE, tmp_path)


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


def test_adam_is_kingma_and_bas(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=3, batch_size=11, lr=0.01, momentum=0.8, weight_decay=0.1, optimizer="adam", augmentation="none"
    )
    spy = Spy()
    trained = run(spy, recipe, tmp_path)
    network = build(TINY, num_classes=10, seed=1).train()
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in network.parameters()]
    for step, batch in enumerate(spy.batches, start=1):
        network.zero_grad()
        nn.functional.cross_entropy(network(batch.images), batch.labels).backward()
        for p, (first, second) in zip(network.parameters(), moments, strict=True):
            assert p.grad is not None
            gradient = p.grad + 0.1 * p.detach()
            first.mul_(0.8).add_(0.2 * gradient)
            second.mul_(0.999).add_(0.001 * gradient**2)
            p.data -= 0.01 * (first / (1 - 0.8**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    for expected, found in zip(network.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize(("role", "classes"), [("student", 7), ("teacher", 100)])
def test_a_network_of_another_class_count_is_refused(tmp_path: Path, role: str, classes: int) -> None:
    student = build(TINY, num_classes=7 if role == "student" else 10, seed=0)
    networks = {"teacher": build(TINY, num_classes=100, seed=0)} if role == "teacher" else {}
    message = rf"network '{role}' gives \(2, {classes}\) for 2 images, expected \(2, 10\)"
    with pytest.raises(KdbenchError, match=message):
        fit(training(RECIPE), Spy(), student, train_set(), networks, folder=tmp_path, device=CPU)


def test_mean_colour_is_exact() -> None:
    data = train_set(5)
    expected = data.images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(torch.tensor(data.mean(), dtype=torch.float64), expected, rtol=1e-6, atol=0)
