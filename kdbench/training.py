"""The one training loop: every method, teacher and student goes through ``fit``."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import augment
from kdbench.checkpoint import load_resume, save_checkpoint, save_resume, write_atomically
from kdbench.errors import KdbenchError
from kdbench.inference import NotFiniteError, frozen, predict
from kdbench.methods import Batch, Context, Method
from kdbench.specs import Recipe, Training


class TrainingDivergedError(Exception):
    """The loss was not finite: training stops, the record says at which epoch (from 1)."""

    def __init__(self, epoch: int, what: str) -> None:
        super().__init__(f"{what} in epoch {epoch}")
        self.epoch, self.what = epoch, what


@dataclasses.dataclass(frozen=True)
class TrainSet:
    """What training may see. Labels are as observed; the clean ones stay with the harness."""

    images: Tensor
    """(N, 3, H, W) uint8."""
    labels: Tensor
    """(N,) int64."""
    num_classes: int

    def mean(self) -> tuple[float, float, float]:
        """Mean colour in [0, 1]."""
        pixels = 255 * self.images[:, 0].numel()
        red, green, blue = (self.images.sum((0, 2, 3), dtype=torch.int64) / pixels).tolist()
        return red, green, blue


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Test images watched after each epoch. Their accuracy is logged and decides nothing."""

    images: Tensor
    labels: Tensor


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose: independent streams from one number."""
    text = ":".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step (from 0) by the recipe's schedule.

    >>> recipe = Recipe(epochs=4, batch_size=1, lr=1.0, milestones=(2,), gamma=0.1)
    >>> [learning_rate(recipe, step, 4) for step in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
    if recipe.schedule == "one-cycle":
        rise = recipe.warmup * steps
        return recipe.lr * ((step + 1) / (rise + 1) if step < rise else (steps - step) / (steps - rise))
    epoch = step * recipe.epochs // steps
    passed = sum(epoch >= milestone for milestone in recipe.milestones)
    return float(recipe.lr * recipe.gamma**passed)


def augmentation(recipe: Recipe, *, flip: bool, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """The recipe's augmentation of a batch, one draw per image."""
    if recipe.augmentation == "none":
        return lambda images: images
    flips = flip and recipe.augmentation == "crop-flip"
    return lambda images: augment.crop_flip(images, generator, padding=4, mode=recipe.padding_mode, flip=flips)


def fit(
    spec: Training,
    method: Method,
    student: nn.Module,
    train: TrainSet,
    networks: Mapping[str, nn.Module],
    *,
    folder: Path,
    device: torch.device,
    monitor: Monitor | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None,
    stop_after: int | None = None,
) -> list[dict[str, Any]]:
    """Train ``student`` with ``method`` and leave ``checkpoint.safetensors`` and ``log.jsonl`` in ``folder``.

    An interrupted training goes on from its last whole epoch and ends with the same weights as an uninterrupted one:
    every epoch reseeds its own streams. ``stop_after`` ends after that many epochs in all, as an interruption would.
    Returns the log: one entry an epoch. Raises ``TrainingDivergedError`` when the loss is not finite.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        for network in networks.values():
            stack.enter_context(frozen(network))
        run = _Run(spec, method, student, train, networks, device)
        history = run.resume(folder)
        while len(history) < spec.recipe.epochs:
            if len(history) == stop_after:
                return history
            entry = run.epoch(len(history))
            if monitor is not None:
                entry |= run.watch(monitor)
            history.append(entry)
            run.save(folder, history)
            on_epoch(entry)
        run.finish(folder)
    return history


def context(
    spec: Training,
    student: nn.Module,
    networks: Mapping[str, nn.Module],
    num_classes: int,
    *,
    train_size: int,
    mean: tuple[float, float, float],
    device: torch.device,
) -> Context:
    """What the harness lends a method at the start of a training."""
    recipe = spec.recipe
    batch = min(recipe.batch_size, train_size)
    per_epoch = train_size // batch if recipe.drop_last else -(-train_size // batch)
    generator = torch.Generator(device).manual_seed(derive_seed(spec.seed, "setup"))
    return Context(
        student=student,
        networks=networks,
        num_classes=num_classes,
        train_size=train_size,
        device=device,
        generator=generator,
        augment=augmentation(recipe, flip=spec.flip, generator=generator),
        mean=mean,
        flip=spec.flip,
        noise_kind=spec.noise.kind if spec.noise else None,
        noise_rate=spec.noise.rate if spec.noise else 0.0,
        epochs=recipe.epochs,
        steps=per_epoch * recipe.epochs,
    )


class _Run:
    """The moving parts of one training."""

    def __init__(
        self,
        spec: Training,
        method: Method,
        student: nn.Module,
        train: TrainSet,
        networks: Mapping[str, nn.Module],
        device: torch.device,
    ) -> None:
        recipe = spec.recipe
        self.spec, self.method, self.recipe = spec, method, recipe
        self.images, self.labels = train.images.to(device), train.labels.to(device)
        self.student = student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # stubs lack it
        size = len(self.labels)
        torch.manual_seed(derive_seed(spec.seed, "setup"))
        self.ctx = context(
            spec, self.student, networks, train.num_classes, train_size=size, mean=train.mean(), device=device
        )
        self.per_epoch = self.ctx.steps // recipe.epochs
        method.setup(self.ctx)
        self.owned = dict(method.networks())
        trained = [self.student, *self.owned.values()]
        parameters = {id(p): p for network in trained for p in network.parameters() if p.requires_grad}
        self.optimizer = torch.optim.SGD(
            list(parameters.values()),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )

    def epoch(self, epoch: int) -> dict[str, Any]:
        """One pass over the training set; returns its log entry."""
        started = time.perf_counter()
        ctx = self.ctx
        ctx.epoch, ctx.step = epoch, epoch * self.per_epoch
        ctx.generator.manual_seed(derive_seed(self.spec.seed, "epoch", epoch))
        torch.manual_seed(derive_seed(self.spec.seed, "global", epoch))
        self.student.train()
        self.method.on_epoch_start(ctx)
        total = torch.zeros((), device=ctx.device)
        for step, examples in enumerate(self._batches(epoch)):
            ctx.step = epoch * self.per_epoch + step
            rate = learning_rate(self.recipe, ctx.step, ctx.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            with self._precision():
                loss = self.method.loss(self._batch(examples), ctx)
            _check_scalar(loss)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimizer.step()
            self.method.after_step(ctx)
            total += loss.detach()
        mean_loss = total.item() / self.per_epoch
        if not math.isfinite(mean_loss):
            raise TrainingDivergedError(epoch + 1, f"the training loss became {mean_loss}")
        return {"epoch": epoch + 1, "lr": rate, "loss": mean_loss, "seconds": time.perf_counter() - started}

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.recipe.precision == "bfloat16":
            return torch.autocast(self.ctx.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        order = torch.Generator().manual_seed(derive_seed(self.spec.seed, "order", epoch))
        shuffled = torch.randperm(len(self.labels), generator=order).to(self.ctx.device)
        size = min(self.recipe.batch_size, len(self.labels))
        for step in range(self.per_epoch):
            yield shuffled[step * size : (step + 1) * size]

    def _batch(self, index: Tensor) -> Batch:
        pixels = self.images[index].float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            drawn = self.method.views(pixels, self.ctx)
        views = {"images": drawn} if isinstance(drawn, Tensor) else dict(drawn)
        if "images" not in views:
            raise KdbenchError(f"views() returned {sorted(views)}", 'one of the views must be named "images"')
        return Batch(views["images"], self.labels[index], index, views)

    def watch(self, monitor: Monitor) -> dict[str, Any]:
        """The monitor's part of a log entry."""
        try:
            logits = predict(self.predictor(), monitor.images, device=self.ctx.device)
        except NotFiniteError as error:
            raise TrainingDivergedError(self.ctx.epoch + 1, error.message) from None
        correct = (logits.argmax(1) == monitor.labels).sum().item()
        return {"test_accuracy": correct / len(monitor.labels), "test_n": len(monitor.labels)}

    def predictor(self) -> nn.Module:
        """What the method says is to be evaluated, checked to be something that the checkpoint holds."""
        predictor = self.method.predictor(self.ctx)
        self._name_of(predictor)
        return predictor

    def _name_of(self, predictor: nn.Module) -> str:
        for name, network in {"student": self.student, **self.owned}.items():
            if predictor is network:
                return name
        raise KdbenchError("predictor() returned an unknown network", "return ctx.student or one of networks()")

    def resume(self, folder: Path) -> list[dict[str, Any]]:
        """Take up an interrupted training; returns the log so far, [] for a new one."""
        state = load_resume(folder / "resume.pt")
        if state is None or state["training"] != self.spec.digest():
            return []
        self.student.load_state_dict(state["student"])
        for name, network in self.owned.items():
            network.load_state_dict(state["owned"][name])
        self.method.load_state({name: tensor.to(self.ctx.device) for name, tensor in state["state"].items()})
        self.optimizer.load_state_dict(state["optimizer"])
        history: list[dict[str, Any]] = state["history"]
        self.ctx.epoch, self.ctx.step = len(history) - 1, len(history) * self.per_epoch - 1
        return history

    def save(self, folder: Path, history: list[dict[str, Any]]) -> None:
        """Write log and resume state after an epoch."""
        save_resume(
            folder / "resume.pt",
            {
                "training": self.spec.digest(),
                "student": self.student.state_dict(),
                "owned": {name: network.state_dict() for name, network in self.owned.items()},
                "state": dict(self.method.state()),
                "optimizer": self.optimizer.state_dict(),
                "history": history,
            },
        )
        lines = "".join(json.dumps(entry) + "\n" for entry in history)
        write_atomically(folder / "log.jsonl", lines.encode())

    def finish(self, folder: Path) -> None:
        """Write the checkpoint; only then is the resume state dropped."""
        tensors = {f"student.{name}": tensor for name, tensor in self.student.state_dict().items()}
        for owned, network in self.owned.items():
            tensors |= {f"{owned}.{name}": tensor for name, tensor in network.state_dict().items()}
        metadata = {
            "training": self.spec.model_dump(mode="json"),
            "predictor": self._name_of(self.predictor()),
            "num_classes": self.ctx.num_classes,
            "train_size": self.ctx.train_size,
            "mean": self.ctx.mean,
        }
        save_checkpoint(folder / "checkpoint.safetensors", tensors, metadata)
        (folder / "resume.pt").unlink(missing_ok=True)


def _check_scalar(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise KdbenchError(
            f"the method's loss is not a differentiable scalar (found {found})", "return loss.mean() over the batch"
        )
