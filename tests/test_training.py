from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.checkpoint import load_checkpoint
from kdbench.errors import KdbenchError
from kdbench.inference import frozen, predict
from kdbench.methods import Method
from kdbench.models import build
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.testing import TINY
from kdbench.training import Monitor, TrainingDivergedError, TrainSet, fit

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


class Ensemble(Spy):
    """Is evaluated as a network that shares its members' tensors."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.pair = Pair(ctx.student)

    def networks(self) -> dict[str, nn.Module]:
        return {"pair": self.pair}

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return self.pair


class Pair(nn.Module):
    def __init__(self, member: nn.Module) -> None:
        super().__init__()
        self.member = member

    def forward(self, pixels: Tensor) -> Tensor:
        return 2 * self.member(pixels)  # type: ignore[no-any-return]  # torch leaves modules untyped


def test_a_predictor_may_share_tensors_with_the_student(tmp_path: Path) -> None:
    student = run(Ensemble(), Recipe(epochs=1, batch_size=10, lr=0.1), tmp_path)
    tensors, metadata = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["predictor"] == "pair"
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensors[f"pair.member.{name}"], tensor)
        assert torch.equal(tensors[f"student.{name}"], tensor)


def test_mean_colour_is_exact() -> None:
    data = train_set(5)
    expected = data.images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(torch.tensor(data.mean(), dtype=torch.float64), expected, rtol=1e-6, atol=0)
