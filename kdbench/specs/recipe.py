"""How a network is trained, and on which labels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kdbench.bounds import MOST_PARTS, Number, Whole
from kdbench.specs.values import GrowingSpec


class LabelNoise(GrowingSpec):
    """Label noise of a training set: which, how much, and from which seed, whatever the seed of the training; or, of a
    kind whose labels exist already, where these are."""

    later = ("path", "sha256")

    kind: str
    """Registered name: ``kdbench list label-noises``."""
    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Nominal rate, in the sense of its kind; the record has the share of labels that are wrong. Kinds that are drawn
    need it, those whose labels exist already have none: methods are told the share that is counted."""
    seed: Whole = 0
    """Of the draw, the same for all methods and seeds of a run."""
    path: str | None = None
    """Of the kind ``file``: the file of labels, from the folder of the suite's file. It is no part of a run's identity;
    without it the file is looked for in the folder ``labels`` of the data folder, by its hash."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of that file; without it that of the file at ``path`` as it is when the suite is read."""

    def without_path(self) -> LabelNoise:
        """What identifies it: wherever the same file lies, it gives the same labels."""
        return self.model_copy(update={"path": None})


class Recipe(GrowingSpec):
    """How a network is trained: one optimiser, on batches of one shuffled pass per epoch."""

    later = ("optimizer",)

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    """Passes over the training images."""
    batch_size: Number
    """Images per step of the optimiser."""
    lr: Annotated[float, Field(gt=0)]
    """Learning rate, the highest of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; beta1 of Adam."""
    nesterov: bool = False
    """Whether SGD's momentum is Nesterov's."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient, times the weights."""
    schedule: Literal["steps", "exponential", "cosine", "one-cycle"] = "steps"
    """``steps``: lr x gamma at each milestone epoch; ``exponential``: lr x gamma after each epoch; ``cosine``: to 0;
    ``one-cycle``: linear up for the first ``warmup`` share of training, linear down to 0."""
    milestones: Annotated[tuple[int, ...], Field(max_length=MOST_PARTS)] = ()
    """Epochs of the schedule ``steps`` at which the learning rate falls, inside the training."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the schedules ``steps`` and ``exponential``."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of training in which the schedule ``one-cycle`` rises."""
    augmentation: Literal["none", "crop", "crop-flip", "resized-crop-flip", "resized-crop-flip-jitter"] = "crop-flip"
    """``crop``: padded by 4 pixels; ``resized-crop``: of 8 to 100 % of the area, magnified to the whole, for
    photographs; ``jitter``: brightness, contrast and saturation by up to .4, hue by .2."""
    padding_mode: Literal["reflect", "zeros"] = "reflect"
    """What ``crop`` pads with."""
    drop_last: bool = False
    """Whether a last batch that is not full is left out."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """``auto``: bfloat16 autocast where the device computes it natively, float32 elsewhere; the record says which."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """``adam``: Kingma & Ba 2015 with beta1 = ``momentum``, beta2 = .999, and weight decay added to the gradient."""

    @model_validator(mode="after")
    def _milestones_inside(self) -> Recipe:
        if any(not 0 < milestone < self.epochs for milestone in self.milestones):
            raise ValueError(f"milestones {self.milestones} must lie inside the {self.epochs} epochs")
        return self

    @model_validator(mode="after")
    def _sgd_alone_has_nesterov(self) -> Recipe:
        if self.optimizer != "sgd" and self.nesterov:
            raise ValueError(f"nesterov = true goes with optimizer = sgd, not with {self.optimizer}")
        return self

    def steps_per_epoch(self, images: int) -> int:
        """Optimiser steps of a pass over so many images."""
        batch = min(self.batch_size, images)
        return images // batch if self.drop_last else -(-images // batch)

    def with_share(self, share: float, *, least_steps: int = 0, images: int = 1) -> Recipe:
        """The same for a share of the epochs, at least one; milestones move with it.

        On ``images`` at least so many epochs that they have ``least_steps``, as far as those are half of all or fewer.
        """
        per_epoch = self.steps_per_epoch(images)
        least = -(-min(least_steps, self.epochs * per_epoch // 2) // per_epoch)
        epochs = max(1, round(share * self.epochs), least)
        milestones = self.moved(max(share, least / self.epochs), epochs)
        return self.model_copy(update={"epochs": epochs, "milestones": milestones})

    def moved(self, share: float, epochs: int) -> tuple[int, ...]:
        """Its milestones at a share of their epochs, as far as they lie inside so many."""
        moved = {round(share * milestone) for milestone in self.milestones}
        return tuple(sorted(milestone for milestone in moved if 0 < milestone < epochs))
