"""The one training loop: every method, teacher and student goes through ``fit``."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.devices import forked_random_numbers
from kdbench.errors import KdbenchError
from kdbench.files import arrays_bytes
from kdbench.inference.batching import check_statistics, forward_batch, held, is_out_of_memory, rows
from kdbench.inference.model import as_float
from kdbench.inference.order import over_all
from kdbench.inference.pixels import lay_out
from kdbench.inference.prediction import NotFiniteError, frozen, predict
from kdbench.methods.context import Batch, TrainSet
from kdbench.methods.method import Method
from kdbench.sealed import Sealed
from kdbench.shared_state import left_alone
from kdbench.specs import Training
from kdbench.torch_state import exclusive
from kdbench.training.checkpoint import CHECKPOINT, RESUME, checkpoint_bytes, load_resume, resume_bytes
from kdbench.training.compiling import Compiler, begin_step, compiled
from kdbench.training.context_factory import Build, make_context
from kdbench.training.log import LOG, log_bytes
from kdbench.training.monitor import SOFTMAX, Monitor
from kdbench.training.optimisers import learning_rate, make_optimizer
from kdbench.training.ownership import check_owned, check_predictor, is_trained
from kdbench.training.seeds import derive_seed

CHECKPOINT_VERSION = 2
"""Of a checkpoint's metadata. 1 had neither the needs nor the realised noise, and named one network as predictor."""


class TrainingDivergedError(Exception):
    """The loss was not finite: training stops, the record says at which epoch (from 1)."""

    def __init__(self, epoch: int, what: str) -> None:
        super().__init__(f"{what} in epoch {epoch}")
        self.epoch, self.what = epoch, what


class NoLossError(KdbenchError):
    """What a method gives as its loss is no scalar, whatever the network."""


class NotEnoughMemoryError(Exception):
    """A training's batch does not fit, and can't be halved: it is the recipe's."""


@exclusive()
def fit(
    spec: Training,
    method: Method,
    student: nn.Module,
    train: TrainSet,
    networks: Mapping[str, nn.Module],
    *,
    folder: Path,
    device: torch.device,
    build: Build | None = None,
    lineage: Mapping[str, Any] | None = None,
    monitor: Monitor | None = None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda entry: None,
    stop_after: int | None = None,
    compiler: Compiler | None = None,
) -> list[dict[str, Any]]:
    """Train ``student`` with ``method`` and leave ``checkpoint.safetensors`` and ``log.jsonl`` in ``folder``.

    With a ``monitor`` also ``softmax.npz``: ``softmax`` (epochs, n, C) float16 of some of its images, ``labels`` (n,).

    An interrupted training goes on from its last whole epoch and ends with the same weights as an uninterrupted one:
    every epoch reseeds its own streams. ``stop_after`` ends after that many epochs in all, as an interruption would.
    ``build`` makes the peers that a method asks for; ``lineage`` says of each of ``networks`` how it was trained, so
    that the checkpoint alone is enough to load. With a ``compiler`` the networks of a long training run compiled: the
    same values up to rounding, so that weights are those of another training with the same seed. Returns the log: one
    entry an epoch. Raises ``TrainingDivergedError`` when the loss is not finite, ``KdbenchError`` when a network has
    another number of classes, ``SharedStateError`` when the method changes what all code of the process shares,
    ``NotEnoughMemoryError`` when a batch of the recipe does not fit.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(forked_random_numbers(device))
        for network in networks.values():
            stack.enter_context(frozen(network))
        unchanged = stack.enter_context(left_alone(f"method '{spec.method}'"))
        run = TrainingRun(spec, method, student, train, networks, device, build)
        files = Sealed(folder)
        history = run.resume(folder)
        if history:  # it was interrupted, perhaps before its log had the last epoch
            files.write({LOG: log_bytes(history)})
        if compiler is not None and (spec.recipe.epochs - len(history)) * run.per_epoch >= compiler.pays_from:
            run.compiled = stack.enter_context(run.compiling(compiler, networks))
        while len(history) < spec.recipe.epochs:
            if len(history) == stop_after:
                return history
            entry = run.in_memory(len(history))
            if monitor is not None:
                entry |= run.watch(monitor)
            history.append(entry)
            unchanged()  # what was trained otherwise is not kept
            run.save(files, history)
            on_epoch(entry)
        run.finish(files, lineage or {}, monitor)
    return history


class TrainingRun:
    """The moving parts of one training."""

    def __init__(
        self,
        spec: Training,
        method: Method,
        student: nn.Module,
        train: TrainSet,
        networks: Mapping[str, nn.Module],
        device: torch.device,
        build: Build | None,
    ) -> None:
        self.spec, self.method, self.recipe = spec, method, spec.recipe
        self.data = dataclasses.replace(train, images=held(train.images, device), labels=train.labels.to(device))
        self.layout = torch.channels_last
        self.student = student.to(device)
        self._check_trained("student", None, self.student)
        for role, network in networks.items():
            self._check_classes(f"'{role}'", network)
        torch.manual_seed(derive_seed(spec.seed, "setup"))
        self.ctx = make_context(
            spec,
            self.student,
            networks,
            train.num_classes,
            train_size=len(train.labels),
            mean=train.mean(),
            device=device,
            noise_realised=train.noise_realised,
            build=build,
            check=self._check_trained,
        )
        self.per_epoch = self.ctx.steps // self.recipe.epochs
        method.setup(self.ctx)
        self.ctx._make, self.ctx._train, self.ctx._predict = None, self.data, self._predict
        self.owned = dict(method.networks())
        check_owned(self.student, self.owned)
        for network in self.owned.values():
            network.to(device)
        self.trained = [self.student, *(network for network in self.owned.values() if is_trained(network))]
        parameters = [p for network in self.trained for p in network.parameters() if p.requires_grad]
        self.optimizer = make_optimizer(self.recipe, parameters, device)
        self.softmax: list[Tensor] = []
        self.compiled = False

    def _check_trained(self, name: str, model: str | None, network: nn.Module) -> None:
        check_statistics(network, min(self.recipe.batch_size, len(self.data.labels)))
        self._check_classes(f"'{name}' ({model or self.spec.model})", network)

    def _check_classes(self, name: str, network: nn.Module) -> None:
        images, classes = as_float(self.data.images[:2].to(self.data.labels.device)), self.data.num_classes
        with torch.no_grad(), frozen(network):
            layout, found = lay_out(network, images, name)
        # All networks see the same views: one that reads contiguous images alone decides for all.
        self.layout = layout if layout == torch.contiguous_format else self.layout
        if not isinstance(found, Tensor) or tuple(found.shape) != (len(images), classes):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise KdbenchError(
                f"network {name} gives {shape} for {len(images)} images, expected ({len(images)}, {classes})",
                f"it must have a logit for each of the {classes} classes of the training set",
            )

    def compiling(
        self, compiler: Compiler, networks: Mapping[str, nn.Module]
    ) -> contextlib.AbstractContextManager[bool]:
        """All networks of a step compiled, for batches like this training's."""
        trained = [network for network in self.trained if is_trained(network)]
        others = [*networks.values(), *(network for network in self.owned.values() if not is_trained(network))]
        some = torch.arange(min(self.recipe.batch_size, len(self.data.labels)), device=self.ctx.device)
        images = as_float(rows(self.data.images, some)).contiguous(memory_format=self.layout)
        return compiled(compiler, trained, others, images, self._precision)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """One pass over the training set; returns its log entry. Nothing in a step waits for the device."""
        started = time.perf_counter()
        ctx = self.ctx
        ctx.epoch, ctx.step = epoch, epoch * self.per_epoch
        ctx.generator.manual_seed(derive_seed(self.spec.seed, "epoch", epoch))
        torch.manual_seed(derive_seed(self.spec.seed, "global", epoch))
        for network in self.trained:
            network.train()
        self.method.on_epoch_start(ctx)
        total = torch.zeros((), device=ctx.device)
        for step, examples in enumerate(self._batches(epoch)):
            ctx.step = epoch * self.per_epoch + step
            rate = learning_rate(self.recipe, ctx.step, ctx.steps)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            if self.compiled:
                begin_step(self.optimizer)
            total += self._step(self._batch(examples))
        mean_loss = total.item() / self.per_epoch
        if not math.isfinite(mean_loss):
            raise TrainingDivergedError(epoch + 1, f"the training loss became {mean_loss}")
        seconds, threads = time.perf_counter() - started, torch.get_num_threads()
        entry = {"epoch": epoch + 1, "lr": rate, "loss": mean_loss, "seconds": seconds, "threads": threads}
        if self.compiled:
            entry["compiled"] = True
        return entry | self._own_log(entry)

    def in_memory(self, epoch: int) -> dict[str, Any]:
        """``epoch``, with one line where the memory is too small."""
        try:
            return self.epoch(epoch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            found = f"{self.ctx.device} is out of memory in epoch {epoch + 1} with batches of {self.recipe.batch_size}"
        raise NotEnoughMemoryError(
            f"{found}: use a device with more, or --set recipe.batch_size=N, which is another setting"
        )

    def _own_log(self, entry: Mapping[str, Any]) -> dict[str, float]:
        """What the method adds to a log entry, checked to be numbers under names of their own."""
        taken = {*entry, "compiled", "condition", "test_accuracy", "test_n", "test_pgd_accuracy", "test_pgd_n"}
        own = {name: float(value) for name, value in self.method.epoch_log(self.ctx).items()}
        for name, value in own.items():
            if name in taken or not name.isidentifier():
                raise KdbenchError(f"epoch_log() returned the name '{name}'", f"not one of {sorted(taken)}")
            if not math.isfinite(value):
                raise KdbenchError(f"epoch_log() returned {value} as '{name}'", "return finite numbers")
        return own

    def _step(self, batch: Batch) -> Tensor:
        with self._precision():
            loss = self.method.loss(batch, self.ctx)
        _check_scalar(loss)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.method.before_step(self.ctx)
        self.optimizer.step()
        self.method.after_step(self.ctx)
        return loss.detach()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.recipe.precision == "bfloat16":
            return torch.autocast(self.ctx.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        order = torch.Generator().manual_seed(derive_seed(self.spec.seed, "order", epoch))
        shuffled = torch.randperm(len(self.data.labels), generator=order).to(self.ctx.device)
        size = min(self.recipe.batch_size, len(shuffled))
        for step in range(self.per_epoch):
            yield shuffled[step * size : (step + 1) * size]

    def _batch(self, index: Tensor) -> Batch:
        with torch.no_grad():
            # Augmentations work row by row, convolutions pixel by pixel: each gets the layout it is fast in, if it can.
            drawn = self.method.views(rows(self.data.images, index).float().div_(255), self.ctx)
            named = {"images": drawn} if isinstance(drawn, Tensor) else drawn
            views = {name: view.contiguous(memory_format=self.layout) for name, view in named.items()}
        if "images" not in views:
            raise KdbenchError(f"views() returned {sorted(views)}", 'one of the views must be named "images"')
        return Batch(views["images"], self.data.labels[index], index, views)

    def _predict(self, network: nn.Module) -> Tensor:
        """``ctx.predict``."""
        images, device = self.data.images, self.ctx.device

        def logits(part: Tensor) -> Tensor:
            found: Tensor = network(as_float(rows(images, part)))
            return found.float()

        with torch.no_grad(), frozen(network), self._precision():
            found = over_all(logits, len(images), forward_batch(images, device), device)
        if not found.isfinite().all():
            raise NotFiniteError("ctx.predict: the network's logits are not finite", "try a smaller learning rate")
        return found

    def watch(self, monitor: Monitor) -> dict[str, Any]:
        """The monitor's part of a log entry."""
        try:
            logits = predict(self.predictor(), monitor.images, device=self.ctx.device, fold=False)
        except NotFiniteError as error:
            raise TrainingDivergedError(self.ctx.epoch + 1, error.message) from None
        self.softmax.append(logits[monitor.watched()].softmax(1).half())
        correct = (logits.argmax(1) == monitor.labels).sum().item()
        accuracy = {"test_accuracy": correct / len(monitor.labels), "test_n": len(monitor.labels)}
        return accuracy | monitor.attacked(self.predictor(), self.ctx.device)

    def trajectory(self, monitor: Monitor) -> dict[str, Tensor]:
        """Softmax vectors of the watched images after each epoch, and the images' labels."""
        return {"softmax": torch.stack(self.softmax), "labels": monitor.labels[monitor.watched()]}

    def predictor(self) -> nn.Module:
        """What the method says is to be evaluated, checked to be something that the checkpoint holds."""
        return check_predictor(self.method.predictor(self.ctx), self.student, self.owned)

    def resume(self, folder: Path) -> list[dict[str, Any]]:
        """Take up an interrupted training; returns the log so far, [] for a new one."""
        state = load_resume(folder / RESUME)
        if state is None or state["training"] != self.spec.digest():
            return []
        self.student.load_state_dict(state["student"])
        for name, network in self.owned.items():
            network.load_state_dict(state["owned"][name])
        self.method.load_state({name: tensor.to(self.ctx.device) for name, tensor in state["state"].items()})
        self.optimizer.load_state_dict(state["optimizer"])
        history: list[dict[str, Any]] = state["history"]
        self.softmax = list(state["softmax"])
        self.ctx.epoch, self.ctx.step = len(history) - 1, len(history) * self.per_epoch - 1
        return history

    def save(self, files: Sealed, history: list[dict[str, Any]]) -> None:
        """Write log and resume state after an epoch."""
        state = {
            "training": self.spec.digest(),
            "student": self.student.state_dict(),
            "owned": {name: network.state_dict() for name, network in self.owned.items()},
            "state": dict(self.method.state()),
            "optimizer": self.optimizer.state_dict(),
            "history": history,
            "softmax": self.softmax,
        }
        files.write({RESUME: resume_bytes(state), LOG: log_bytes(history)})

    def finish(self, files: Sealed, lineage: Mapping[str, Any], monitor: Monitor | None) -> None:
        """Write the checkpoint; only then is the resume state dropped."""
        networks = {"student": self.student, **self.owned}
        predictor = self.predictor()
        tensors = {
            f"{owner}.{name}": tensor
            for owner, network in networks.items()
            for name, tensor in network.state_dict().items()
        }
        metadata = {
            "version": CHECKPOINT_VERSION,
            "training": self.spec.model_dump(mode="json"),
            "predictor": next((name for name, network in networks.items() if network is predictor), "composed"),
            "num_classes": self.ctx.num_classes,
            "train_size": self.ctx.train_size,
            "mean": self.ctx.mean,
            "noise_realised": self.ctx.noise_realised,
            "needs": dict(lineage),
        }
        watched = {} if monitor is None else {SOFTMAX: arrays_bytes(self.trajectory(monitor))}
        files.write({**watched, CHECKPOINT: checkpoint_bytes(tensors, metadata)}, [RESUME])
        files.settle()


def _check_scalar(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        error = NoLossError if isinstance(loss, Tensor) and loss.ndim else KdbenchError
        raise error(f"the loss is not a differentiable scalar (found {found})", "return loss.mean() over the batch")
