"""Checks at the boundary of every attack: pixels, labels, numbers, and what the model answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.inference.batching import backward_batch
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import sample
from kdbench.inference.prediction import check_logits, refuse_probabilities
from kdbench.inference.random_numbers import own_random_numbers

PROBE = 8
"""Images that a model is tried on before it is put to work."""
PART = 1000
"""Images that are compared at once."""


@dataclass(frozen=True)
class Probe:
    """What a model's answers to a few images show of it."""

    batch_size: int
    """Images for one forward and backward pass."""
    classes: int
    """Logits of an image."""


def probe(model: Model, images: Tensor, labels: Tensor, batch_size: int | None = None) -> Probe:
    """Try the model on a few images before any work is done; it moves no random number that the work draws.

    Args:
        model: frozen, in eval mode, reads the images.
        images: uint8 or float32 (N, C, H, W).
        labels: int64 (N,).
        batch_size: None: what the memory allows.

    Raises:
        KdbenchError: logits of a wrong shape or not finite, too few classes for the labels, probabilities.
    """
    few = as_float(sample(images, PROBE))
    with own_random_numbers(0, images.device):
        with torch.no_grad():
            logits = check_logits(model(few), len(few), int(labels.max()))
        size = batch_size or backward_batch(model, few[:2])
    if not bool(logits.isfinite().all()):
        raise KdbenchError(
            "the model's logits on the unattacked images are not finite", "check the checkpoint for NaN weights"
        )
    refuse_probabilities(logits)
    return Probe(size, logits.shape[1])


def check_call(images: Tensor, labels: Tensor, *, batch_size: int | None = None, **counts: int) -> Tensor:
    """What every attack is called with: images, labels, a batch size or None, and counts of at least 1 by their names.

    Returns:
        The labels, int64 (N,), on the images' device.

    Raises:
        KdbenchError: as ``check_count``, ``check_pixels`` and ``as_labels``.
    """
    for name, count in (counts | ({} if batch_size is None else {"batch_size": batch_size})).items():
        check_count(name, count)
    check_pixels(images)
    return as_labels(labels, images)


def check_pixels(images: Tensor) -> None:
    """Refuse what is not pixels: uint8, or float32 in [0, 1], (N, C, H, W).

    Raises:
        KdbenchError: another shape or dtype, no image, or a value that is outside [0, 1] or not a number.
    """
    if images.ndim != 4 or len(images) == 0:
        raise KdbenchError(
            f"images have shape {tuple(images.shape)}, expected (N, C, H, W) with N >= 1",
            "add the batch dimension with images[None]",
        )
    if images.dtype == torch.uint8:
        return
    if images.dtype != torch.float32:
        raise KdbenchError(f"images are {images.dtype}, expected float32 in [0, 1] or uint8", "convert with .float()")
    low, high = (float(bound) for bound in torch.aminmax(images))
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise KdbenchError(
            f"pixels range over [{low:.4g}, {high:.4g}], expected [0, 1]",
            "attacks work on pixels: make the normalisation the model's first layer",
        )


def as_labels(labels: Tensor, images: Tensor) -> Tensor:
    """Int64 (N,) labels on the images' device.

    Raises:
        KdbenchError: not one label for each image, not whole numbers, or a negative one.
    """
    if labels.shape != images.shape[:1]:
        raise KdbenchError(
            f"labels have shape {tuple(labels.shape)}, expected ({len(images)},)", "pass one class index per image"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool or int(labels.min()) < 0:
        raise KdbenchError(f"labels are {labels.dtype} from {labels.min().item()}, expected class indices >= 0",
                           "pass int64 class indices")  # fmt: skip
    return labels.to(images.device, torch.int64)


def as_targets(targets: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Int64 (N,) classes that an attack aims at, on the images' device.

    Raises:
        KdbenchError: they can't be labels, or one of them is the image's own class.
    """
    try:
        targets = as_labels(targets, images)
    except KdbenchError as error:
        raise KdbenchError(f"targets: {error.message}", error.hint) from None
    if bool(targets.eq(labels).any()):
        raise KdbenchError("a target is its image's true class", "aim at another class, or leave the image out")
    return targets


def check_budget(eps: float, step_size: float, steps: int) -> None:
    """Refuse a radius, step size or step count that no L-infinity attack can have.

    Raises:
        KdbenchError: eps or step size outside [0, 1] (pixels go no farther), a step size of 0, or no step.
    """
    if not 0 <= eps <= 1:  # written so that NaN fails too
        raise KdbenchError(f"eps is {eps}, expected 0 to 1", "give it in [0, 1] pixels, e.g. eps=8/255")
    if steps < 1:
        raise KdbenchError(f"steps is {steps}, expected >= 1", "give the number of gradient steps, e.g. steps=20")
    if not 0 < step_size <= 1:
        raise KdbenchError(
            f"step_size is {step_size}, expected above 0, up to 1", "give it in [0, 1] pixels, e.g. step_size=2/255"
        )


def check_count(name: str, value: int) -> None:
    """Refuse a count below 1.

    Raises:
        KdbenchError: the value is below 1.
    """
    if value < 1:
        raise KdbenchError(f"{name} is {value}, expected >= 1", f"pass {name}=1 or more")


def check_start(start: Tensor, images: Tensor, eps: float, restarts: int) -> Tensor:
    """Float32 (restarts, N, C, H, W) of starting points, from that or, for one restart, from (N, C, H, W).

    Raises:
        KdbenchError: another shape, a value outside [0, 1], or a point farther than eps from its image.
    """
    expected = (restarts, *images.shape)
    points = start[None] if start.ndim == images.ndim and restarts == 1 else start
    if tuple(points.shape) != expected:
        raise KdbenchError(f"start has shape {tuple(start.shape)}, expected {expected}", "give one start per restart")
    points = points.to(images.device, torch.float32)
    for run, point in enumerate(points):
        check_pixels(point)
        parts = zip(torch.split(point, PART), torch.split(images, PART), strict=True)
        distance = max(float((part - as_float(near)).abs().max()) for part, near in parts)
        if distance > eps + 1e-6:
            raise KdbenchError(
                f"start of restart {run} is {distance:.6g} from its image, expected at most eps = {eps:.6g}",
                "clip the start to the ball around the image",
            )
    return points
