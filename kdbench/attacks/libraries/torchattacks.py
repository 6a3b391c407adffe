"""Any attack class of the package torchattacks (Kim 2020), by its name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kdbench.attacks._inputs import as_labels, check_budget, check_count, check_pixels, probe
from kdbench.attacks.libraries import installation
from kdbench.attacks.libraries.guard import (
    BATCH_SIZE,
    Guarded,
    as_pixels,
    inside_ball,
    inside_library,
    own_random_numbers,
)
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import Model, frozen

RADIUS = ("eps", "max_epsilon")
"""What torchattacks calls the radius of the ball in its constructors."""


def torchattacks_examples(
    name: str,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    options: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Tensor:
    """Adversarial examples of one attack class of torchattacks, clipped to the L-infinity ball of radius eps.

    A constructor that takes the radius, the number of classes (its own default at most) or a seed gets those of this
    call, unless ``options`` names them. An attack under another norm (CW, DeepFool, PGDL2, JSMA, ...) looks for its
    examples without regard to this ball, and PGDL2's ``eps`` is a Euclidean length: what it returns is clipped to the
    ball all the same, which may undo it. Judge the examples afresh: a library's word counts for nothing.

    Args:
        name: of the class, e.g. "FGSM".
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); frozen meanwhile and restored.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels; 0 returns the images.
        options: keyword arguments of the class, e.g. {"steps": 20}.
        batch_size: images per forward pass; halved when the device's memory is too small.
        seed: of each batch's random numbers; the caller's are left alone.

    Returns:
        Float32 (N, C, H, W) in [0, 1], within eps of the images.

    Raises:
        KdbenchError: an unknown name or option, an argument out of its range, torchattacks is not installed, or the
            attack fails.
    """
    kind = torchattacks_class(name, options)
    check_budget(eps, 1.0, 1)
    check_count("batch_size", batch_size)
    check_pixels(images)
    labels = as_labels(labels, images)
    pixels = as_pixels(images)
    if eps == 0:
        return pixels

    def attack(part: Tensor) -> Tensor:
        with inside_library(f"torchattacks:{name}", seed, pixels.device):
            made = kind(guarded, **arguments)
            made.set_device(pixels.device)  # it asks the parameters, and a model may have none
            found = made(pixels[part], labels[part])
        return inside_ball(found, pixels[part], eps)

    with own_random_numbers(seed, pixels.device), frozen(model, pixels) as fast:
        probe(fast, pixels, labels, batch_size)
        guarded = Guarded(fast)
        with torch.no_grad():
            classes = guarded(pixels[:1]).shape[1]
        arguments = _arguments(kind, classes, eps, seed) | dict(options or {})
        index = torch.arange(len(pixels), device=pixels.device)
        return torch.cat([found for _, found in in_batches(attack, index, batch_size)])


def torchattacks_class(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The attack class of that name, its options checked.

    Raises:
        KdbenchError: torchattacks can't be imported, it has no such class (the nearest is named), the class needs more
            than a model and these options, or an option is not one of its constructor's.
    """
    library = installation.torchattacks()
    known = list(library.__all__)
    if name not in known:
        folded = {one.lower(): one for one in known}
        near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
        advice = f"did you mean '{folded[near[0]]}'?" if near else f"known: {', '.join(sorted(known))}"
        raise KdbenchError(f"no attack of torchattacks named '{name}'", advice)
    kind, passed = getattr(library, name), dict(options or {})
    accepted = _parameters(kind)
    missing = [key for key, one in accepted.items() if one.default is one.empty and key not in passed]
    if "model" not in inspect.signature(kind).parameters or missing:
        raise KdbenchError(
            f"attack '{name}' of torchattacks can't be made from a model alone, it needs {', '.join(missing)}",
            "name one that can, e.g. PGD",
        )
    for key in passed:
        if key not in accepted:
            names = ", ".join(sorted(accepted)) or "none"
            raise KdbenchError(f"attack '{name}' of torchattacks has no option '{key}'", f"it accepts: {names}")
    return kind


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """The constructor's parameters by name, but for the model."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(kind).parameters.items()
    return {name: parameter for name, parameter in found if name != "model" and parameter.kind in named}


def _arguments(kind: Any, classes: int, eps: float, seed: int) -> dict[str, Any]:
    """What this call knows and the constructor asks for."""
    accepted = _parameters(kind)
    arguments: dict[str, Any] = {name: eps for name in RADIUS if name in accepted}
    if "seed" in accepted:
        arguments["seed"] = seed
    if "n_classes" in accepted:  # more than the model has would be an index out of range
        arguments["n_classes"] = min(accepted["n_classes"].default, classes)
    return arguments
