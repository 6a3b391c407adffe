"""What a plugin registers as a model, the built-in ones, and how a model is built from its spec."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from kdbench.errors import KdbenchError, unknown_name
from kdbench.models.normalise import Normalisation, PixelModel
from kdbench.models.preact_resnet import preact34_gjs
from kdbench.models.wide_resnet import WIDE_RESNETS, wide_resnet


@dataclass(frozen=True)
class ModelSpec:
    """A network that can be asked for by name.

    ``build(num_classes=...)`` returns a fresh module that maps float32 (B,3,image_size,image_size) pixels to (B,C)
    logits, without normalisation: ``kdbench.models.build`` adds it. A builder that also takes ``dropout`` can be
    asked for a dropout rate. It draws its initial weights from torch's global CPU generator, as torch's own modules
    do; the caller seeds it.
    """

    name: str
    """How the command line and the records call it."""
    build: Callable[..., nn.Module]
    """``build(num_classes=...)``, and ``dropout=...`` where the network has it."""
    description: str
    """One line for ``kdbench list models``."""
    image_size: int = 32
    """Side of the square input, in pixels."""


def builtin_specs() -> list[ModelSpec]:
    """The built-in networks, smallest first by family."""
    specs = [
        ModelSpec(name, partial(wide_resnet, depth, widening), f"wide ResNet, depth {depth}, widening {widening}")
        for name, (depth, widening) in WIDE_RESNETS.items()
    ]
    specs.append(
        ModelSpec("preact34-gjs", preact34_gjs, "thin PreActResNet-34 of the GJS experiments, widths 32/64/128")
    )
    return specs


def create(
    name: str,
    *,
    num_classes: int,
    normalisation: Normalisation | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> PixelModel:
    """Build the built-in network ``name``; arguments, result and errors are those of ``build``.

    >>> model = create("wrn-16-2", num_classes=10)
    >>> sum(parameter.numel() for parameter in model.parameters())
    691674
    """
    specs = {spec.name: spec for spec in builtin_specs()}
    if name not in specs:
        raise unknown_name("built-in model", name, specs)
    return build(specs[name], num_classes=num_classes, normalisation=normalisation, dropout=dropout, seed=seed)


def build(
    spec: ModelSpec,
    *,
    num_classes: int,
    normalisation: Normalisation | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> PixelModel:
    """A fresh model of ``spec``, on the CPU and in training mode: float32 (B,3,S,S) pixels in [0,1] to (B,C) logits.

    ``normalisation`` is (mean, std) by channel, applied inside the model; None leaves the pixels as they are.
    ``seed`` decides the initial weights; the state of the global generator is left as it was.
    Raises ``KdbenchError`` for fewer than two classes, a dropout rate outside [0,1) or one that the builder doesn't
    take, and a builder that doesn't return a module.
    """
    if num_classes < 2:
        raise KdbenchError(
            f"model '{spec.name}' found num_classes={num_classes}, expected at least 2", "count the labels"
        )
    if not 0.0 <= dropout < 1.0:
        raise KdbenchError(f"model '{spec.name}' found dropout={dropout}, expected a rate in [0, 1)", "0 turns it off")
    options: dict[str, Any] = {"num_classes": num_classes}
    if dropout > 0.0:
        if not _accepts(spec.build, "dropout"):
            raise KdbenchError(
                f"model '{spec.name}' found dropout={dropout}, but its builder takes no dropout",
                "use dropout=0 or a model that has it, such as wrn-16-2",
            )
        options["dropout"] = dropout
    with torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: torch.manual_seed would reseed the CUDA devices too, and nothing would undo that.
        torch.default_generator.manual_seed(seed)
        network = spec.build(**options)
    if not isinstance(network, nn.Module):
        raise KdbenchError(
            f"the builder of model '{spec.name}' returned {type(network).__name__}, expected torch.nn.Module",
            "return the module itself",
        )
    return PixelModel(network, normalisation)


def _accepts(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
