"""What a model from elsewhere was given, and whether it answers like one that was trained for that.

A wrong normalisation, pixel range or order of classes is no error: everything runs, and the scores are of another model
than its author's. What betrays it is asked here, before the scores are believed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.data import ImageSet, stratified_subset
from kdbench.inference.model import as_float
from kdbench.inference.prediction import frozen
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.metrics import wilson_interval
from kdbench.models import Normalize
from kdbench.models.preprocess import Preprocessed, Preprocessing
from kdbench.results.record import Check
from kdbench.results.wording import FLAG, failed_checks
from kdbench.tasks import EvaluationContext, Task

TASK: Final = "evaluate"
"""Who checks, in the place of a task."""
GUESSING: Final = 0.95
"""Share of the way from certainty back to guessing: at .05 above it nothing that was learnt is left."""
OVERCONFIDENCE: Final = 0.3
"""Of mean confidence over accuracy. Networks trained on right labels stay below .2."""
SPREAD: Final = 3.0
"""Factor between the variances that a batch norm sees and saw in training, either way. Augmentation makes up to 1.3."""
LIKE_PROBABILITIES: Final = 0.99
"""Share of the images; of real logits hardly any are so."""
SEEN: Final = 256
"""Images that a batch norm is watched on."""
WHY = (
    "it may expect other pixels than RGB in [0, 1] without normalisation (`--mean`, `--std`, or make the "
    "normalisation its first layer), another image size (`--resize`), or have its classes in another order "
    "(`--classes`)"
)


def preprocessing(model: nn.Module, images: Tensor) -> dict[str, Any]:
    """What images (N, C, H, W) are when a model gets them, as plain values; ``normalisation`` is that of a
    ``kdbench.models`` network's own first layer, None where there is none; ``resize`` and ``classes`` are what stands
    around a network from elsewhere, None where nothing does."""
    layer = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    normalisation = None
    if layer is not None:
        normalisation = {
            name: [round(v, 6) for v in getattr(layer, name).flatten().tolist()] for name in ("mean", "std")
        }
    around = next(
        (module.preprocessing for module in model.modules() if isinstance(module, Preprocessed)), Preprocessing()
    )
    return {
        "pixels": "RGB in [0, 1]",
        "size": list(images.shape[2:]),
        "resize": around.resize,
        "normalisation": normalisation,
        "classes": list(around.classes) if around.classes is not None else None,
    }


def in_words(applied: Mapping[str, Any]) -> str:
    """What ``preprocessing`` found, in a line.

    >>> in_words({"pixels": "RGB in [0, 1]", "size": [32, 32], "resize": 40, "normalisation": None, "classes": None})
    'the model was given RGB in [0, 1], 32x32, resized to 40x40, not normalised'
    """
    height, width = applied["size"]
    size = f"{height}x{width}" + (f", resized to {applied['resize']}x{applied['resize']}" if applied["resize"] else "")
    order = f"; its {len(applied['classes'])} outputs were put in order by name" if applied["classes"] else ""
    said = "not normalised"
    if applied["normalisation"] is not None:
        mean, std = (" ".join(f"{v:.4g}" for v in applied["normalisation"][name]) for name in ("mean", "std"))
        said = f"which its first layer normalises by mean {mean} and std {std}"
    return f"the model was given {applied['pixels']}, {size}, {said}{order}"


def doubts(checks: Sequence[Check]) -> list[str]:
    """What failed, before anything long is measured: those that have one explanation in a line, with it."""
    unlike = [check for check in checks if not check.passed and WHY in check.meaning]
    names = ", ".join(check.name for check in unlike)
    first = [f"{FLAG} {unlike[0].condition} {TASK} {names}: {WHY}"] if unlike else []
    return first + failed_checks(check for check in checks if check not in unlike)


def examine(
    model: nn.Module, predictor: nn.Module, data: ImageSet, ctx: EvaluationContext, tasks: Mapping[str, Task], *,
    noisy: bool,
) -> list[Check]:  # fmt: skip
    """Whether a model's answers to the test images are those of a network that was trained for such images.

    ``model`` is as it came and ``predictor`` what is measured of it. A network of ``noisy`` labels may well be surer
    than it is right. Checks that fail flag the scores of ``tasks``; outputs that are no logits flag those only that
    depend on more than their order.
    """
    ctx = dataclasses.replace(ctx, task=TASK, checks=[])
    logits, n = ctx.logits(predictor, data), len(data)
    classes, everything = logits.shape[1], list(tasks)
    correct = int(ctx.is_correct(predictor, data).sum())
    confidence = float(logits.double().softmax(1).amax(1).mean())
    by_values = [name for name, task in tasks.items() if not task.by_order]
    ctx.check(
        "near_chance", _to_guessing(wilson_interval(correct, n)[1], classes), limit=GUESSING, n=n, flags=everything,
        meaning=f"it is hardly right more often than by guessing: {WHY}",
    )  # fmt: skip
    ctx.check(
        "flat_confidence", _to_guessing(confidence, classes), limit=GUESSING, n=n, flags=everything,
        meaning=f"all classes are nearly as likely to it: its outputs may not be logits, or {WHY}",
    )  # fmt: skip
    if not noisy:
        ctx.check(
            "overconfidence", confidence - correct / n, limit=OVERCONFIDENCE, n=n, flags=everything,
            meaning=f"its mean confidence is far above its accuracy: {WHY}; or it was trained on wrong labels "
            "(then name a condition with label noise)",
        )  # fmt: skip
    ctx.check(
        "no_logits", _like_probabilities(logits), limit=LIKE_PROBABILITIES, n=n, flags=by_values,
        meaning="its outputs look like probabilities (all in [0, 1], or not negative with the same sum for every "
        "image), and a softmax was taken of them: that changes confidence, calibration and every gradient, not which "
        "class is largest; leave the sigmoid, softmax or scaling out of the model",
    )  # fmt: skip
    spread = _spread(model, data, ctx.device)
    if spread is not None:
        ctx.check(
            "batch_norm_spread", spread, limit=SPREAD, n=min(SEEN, n), flags=everything,
            meaning=f"its first batch norm sees inputs of another variance than in training, by this factor: {WHY}",
        )  # fmt: skip
    return ctx.checks


def _to_guessing(probability: float, classes: int) -> float:
    """How far from 1 to 1 / classes a probability of being right is: 1 is guessing, more is worse."""
    return (1 - probability) / (1 - 1 / classes)


def _like_probabilities(logits: Tensor) -> float:
    """Share of the images whose outputs (n, C) all lie in [0, 1], or that are not negative with the usual sum."""
    sums = logits.double().sum(1)
    usual = sums.median()
    varied = logits.amax(1) > logits.amin(1)
    inside = ((logits >= 0) & (logits <= 1)).all(1)
    shares = (logits >= 0).all(1) & ((sums - usual).abs() <= 1e-3 * usual.abs())
    return float((varied & (inside | shares)).double().mean())


def _spread(model: nn.Module, data: ImageSet, device: torch.device) -> float | None:
    """Factor, at least 1, by which the variances that the first batch norm sees differ from those it kept of training:
    of the median channel. None without a batch norm that kept any."""
    found: list[Tensor] = []

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        if not found:
            seen, kept = inputs[0].float().transpose(0, 1).flatten(1).var(1), layer.running_var
            assert isinstance(kept, Tensor)
            found.append((seen / kept.clamp(min=1e-12)).median())

    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_var is not None]
    handles = [layer.register_forward_hook(watch) for layer in layers]
    few = data.images[stratified_subset(data.labels, min(SEEN, len(data)), 0)].to(device)
    try:
        with own_random_numbers(0, device), frozen(model, few, fold=False) as ready, torch.no_grad():
            if layers:
                ready(as_float(few))
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        return None
    return math.exp(abs(math.log(max(float(found[0]), 1e-12))))
