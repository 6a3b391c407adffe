"""What passes between the harness and a method: batches, the training set, the networks it asks for, its context."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Batch:
    """One training batch. Labels are as observed, noise included; clean labels do not exist here."""

    images: Tensor
    """(B, 3, H, W) float32 in [0, 1]: the view named "images"."""
    labels: Tensor
    """(B,) int64 in [0, num_classes)."""
    index: Tensor
    """(B,) int64: place of each example in the training set, the same in every epoch."""
    views: Mapping[str, Tensor]
    """Every view of the same examples, each (B, 3, H, W) float32 in [0, 1]; {"images": images} unless the method
    draws more."""


@dataclasses.dataclass(frozen=True)
class TrainSet:
    """What training may see. Labels are as observed; the clean ones stay with the harness."""

    images: Tensor
    """(N, 3, H, W) uint8; mapped from a file where they are too many to be held in memory."""
    labels: Tensor
    """(N,) int64."""
    num_classes: int
    noise_realised: float = 0.0
    """Share of the labels that are wrong: one number, which says nothing of a single label."""

    def mean(self) -> tuple[float, float, float]:
        """Mean colour in [0, 1]."""
        pixels = 255 * self.images[:, 0].numel()
        # In parts, as torch sums bytes by way of eight times as many.
        sums = [self.images[begin : begin + 256].sum((0, 2, 3)).tolist() for begin in range(0, len(self.images), 256)]
        red, green, blue = (sum(totals) / pixels for totals in zip(*sums, strict=True))
        return red, green, blue


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that a method needs trained before its own training begins, on the labels of the same condition.

    It is a training like any other: found again by its hash, resumed when interrupted, and shared by every run that
    needs the same one. Raises ``KdbenchError`` for a rate or a share out of range.
    """

    like: str = "teacher"
    """The suite's network whose architecture and seed it has ("teacher", "reference"), or "student": the student's
    architecture, and a seed drawn from the run's own."""
    method: str = "ce"
    """The registered method that trains it; what that method needs is trained too."""
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of that method beside its defaults and recipes."""
    dropout: float = 0.0
    """Dropout rate of the network, in [0, 1); its model must have dropout."""
    model: str | None = None
    """Another architecture, by its registered name."""
    epochs_share: float = 1.0
    """Share in (0, 1] of the suite's epochs that it is trained for; milestones move with it."""
    least_steps: int = 0
    """At least so many steps, whatever the share, as far as these are half of the suite's or fewer: a share of a short
    suite may be too little to learn anything."""

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise KdbenchError(f"Network: dropout found {self.dropout}, expected a rate in [0, 1)", "0 turns it off")
        if not 0 < self.epochs_share <= 1:
            raise KdbenchError(
                f"Network: epochs_share found {self.epochs_share}, expected a share in (0, 1]",
                "1 is the suite's budget",
            )
        if self.least_steps < 0:
            raise KdbenchError(
                f"Network: least_steps found {self.least_steps}, expected a number >= 0", "0 is no floor"
            )


class NetworkMaker(Protocol):
    """Makes an untrained network: the student's architecture or another, on the device."""

    def __call__(self, name: str, *, model: str | None, dropout: float) -> nn.Module: ...


@dataclasses.dataclass
class Context:
    """What the harness provides to a method while it trains."""

    student: nn.Module
    """The network under training, in train mode: pixels (B, 3, H, W) in [0, 1] to float32 logits (B, C)."""
    networks: Mapping[str, nn.Module]
    """The trained networks that the method declared in ``needs``: eval mode, frozen. When a checkpoint is loaded they
    have the same architectures and are untrained."""
    num_classes: int
    train_size: int
    device: torch.device
    generator: torch.Generator
    """On ``device``, reseeded from the run's seed at each epoch: the only source of randomness a method should use."""
    augment: Callable[[Tensor], Tensor]
    """The suite's own training augmentation, one draw per image."""
    mean: tuple[float, float, float]
    """Mean colour of the data set in [0, 1]: what a standardised 0 is in pixels."""
    flip: bool
    """Whether mirroring keeps an image's class (no for digits)."""
    noise_kind: str | None
    noise_rate: float
    """Nominal rate of the condition's label noise, for labels that exist already the share that is wrong; 0 for clean
    labels, and where the data have noise of their own at a rate that nobody knows. A parameter ``noise_rate`` that is
    None is then refused when the run is planned."""
    noise_realised: float
    """Share of the training labels that are wrong; 0 for clean labels. Differs from the nominal rate where a corrupted
    label may be the right one by chance, or only some classes are corrupted."""
    epochs: int
    steps: int
    """Steps of the whole training."""
    epoch: int = 0
    """From 0."""
    step: int = 0
    """From 0, over the whole training."""
    _make: NetworkMaker | None = dataclasses.field(default=None, repr=False)
    _train: TrainSet | None = dataclasses.field(default=None, repr=False)
    _predict: Callable[[nn.Module], Tensor] | None = dataclasses.field(default=None, repr=False)

    @property
    def teacher(self) -> nn.Module:
        """The network declared under the role "teacher", trained on the same labels as the student: eval mode,
        frozen, logits."""
        if "teacher" not in self.networks:
            raise KdbenchError("the method uses ctx.teacher without declaring it", "add needs={'teacher'}")
        return self.networks["teacher"]

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1)."""
        return self.step / self.steps

    def share_at_least(self, share: float, steps: int) -> float:
        """A share of training, or what ``steps`` are of it where that is more, up to half of it; 0 stays 0.

        A method that warms up for a share of training needs some steps for it, however short the training is.
        """
        return max(share, min(steps / self.steps, 0.5)) if share > 0 else 0.0

    def held_out(self, share: float, seed: int = 0) -> Tensor:
        """Which training examples, (N,) bool on ``device``, a method sets aside to judge by: a random share of them, at
        least one; the same for the same seed, whatever the run's."""
        import torch

        from kdbench.training.seeds import derive_seed

        # Mixed with a purpose: from the bare number label noise of that seed draws the very same examples.
        generator = torch.Generator().manual_seed(derive_seed(seed, "held out"))
        order = torch.randperm(self.train_size, generator=generator)
        mask = torch.zeros(self.train_size, dtype=torch.bool)
        mask[order[: max(1, int(share * self.train_size))]] = True
        return mask.to(self.device)

    @property
    def train(self) -> TrainSet:
        """The training set: images (N, 3, H, W) uint8, labels (N,) as observed. Not to be changed.

        On ``device``; images that would take more than a quarter of its memory stay on the CPU.

        From ``on_epoch_start`` on. Not in ``setup``, which also runs when a checkpoint is loaded and there are no data:
        there it raises ``KdbenchError``.
        """
        if self._train is None:
            raise _too_early("ctx.train")
        return self._train

    def predict(self, network: nn.Module) -> Tensor:
        """Logits (N, C) float32, on ``device``, of a network on the training images as they are, in their order.

        Eval mode, no gradient, in the training's own arithmetic; modes and gradient flags are restored. Once an epoch
        is affordable, once a step is not. Raises ``kdbench.KdbenchError`` in ``setup``, and when logits are not finite.
        """
        if self._predict is None:
            raise _too_early("ctx.predict")
        return self._predict(network)

    def new_network(self, name: str, *, model: str | None = None, dropout: float = 0.0) -> nn.Module:
        """An untrained network of the student's architecture, or of ``model``, with initial weights of its own.

        On ``device``, channels last, the suite's normalisation inside; its seed comes from the run's and ``name``. Only
        in ``setup``, and a name only once; return it from ``networks`` to have it trained and saved.
        """
        if self._make is None:
            raise KdbenchError(f"ctx.new_network('{name}') was called after setup", "make networks in setup")
        return self._make(name, model=model, dropout=dropout)


def _too_early(what: str) -> KdbenchError:
    return KdbenchError(
        f"{what} was used in setup, which also runs when a checkpoint is loaded and there are no training data",
        "use it in on_epoch_start (ctx.epoch == 0), and keep what must last in networks() or state()",
    )
