"""What the tests of forward, T-revision, DMI, CDR and joint optimisation share: contexts and their losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import kdbench
from tests.plugins.helpers import Legible, image_of, make, make_batch, make_context

Array = np.ndarray[Any, Any]
CLASSES = 4


def draw(seed: int, batch: int = 12, scale: float = 1.5) -> tuple[Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.randint(CLASSES, (batch,), generator=generator).tolist()


def matrix(seed: int) -> Tensor:
    """A transition matrix with a heavy diagonal, and a zero in it."""
    drawn = torch.rand(CLASSES, CLASSES, generator=torch.Generator().manual_seed(seed)) + 2 * torch.eye(CLASSES)
    drawn[0, 1] = 0
    return drawn / drawn.sum(1, keepdim=True)


def legible(progress: float = 0.0, size: int = 12) -> kdbench.Context:
    """A context whose student reads its logits off the image, and so does every network a method needs."""
    ctx = make_context(Legible(CLASSES), classes=CLASSES)
    ctx.networks = {role: Legible(CLASSES) for role in ("estimator", "start", "relabelled")}
    ctx.train_size, ctx.epochs, ctx.steps = size, 10, 10_000  # no floor of a share matters
    at(ctx, progress)
    return ctx


def at(ctx: kdbench.Context, progress: float) -> None:
    ctx.step, ctx.epoch = round(progress * ctx.steps), int(progress * ctx.epochs)


def prepared(name: str, ctx: kdbench.Context, transition: Tensor | None = None, **params: Any) -> Any:
    method: Any = make(name, **params)
    method.setup(ctx)
    if transition is not None:
        method.transition.matrix.copy_(transition)
    return method


def loss_of(method: Any, ctx: kdbench.Context, labels: list[int]) -> Callable[[Tensor], Tensor]:
    def loss(logits: Tensor) -> Tensor:
        found: Tensor = method.loss(make_batch(labels, images=image_of(logits)), ctx)
        return found

    return loss


def gradient_of(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    free = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(free), free)
    return gradient


def knows(ctx: kdbench.Context, logits: Tensor, labels: list[int]) -> None:
    """Let the context predict these logits on its training set, whatever the network."""
    ctx._train = kdbench.TrainSet(torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8), torch.tensor(labels), CLASSES)
    ctx._predict = lambda network: logits
