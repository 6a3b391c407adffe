"""What a plugin registers as a model, the built-in ones, and how a model is built from its spec."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from kdbench.errors import KdbenchError, unknown_name
from kdbench.models.imagenet import inception_resnet_v2, resnet50_imagenet, timm_installed
from kdbench.models.normalise import Normalisation, PixelModel
from kdbench.models.preact_resnet import preact18, preact34, preact34_gjs
from kdbench.models.resnet import resnet18, resnet34, resnet50
from kdbench.models.shufflenet import shufflenet_v2
from kdbench.models.wide_resnet import WIDE_RESNETS, wide_resnet
from kdbench.torch_state import exclusive


@dataclass(frozen=True)
class ModelSpec:
    """A network that can be asked for by name.

    ``build(num_classes=...)`` returns a fresh module that maps float32 (B,3,image_size,image_size) pixels to (B,C)
    logits, without normalisation: ``kdbench.models.build`` adds it. A builder that also takes ``dropout`` can be
    asked for a dropout rate, one that takes ``pretrained`` for weights trained elsewhere. It draws its initial weights
    from torch's global CPU generator, as torch's own modules do; the caller seeds it.
    """

    name: str
    """How the command line and the records call it."""
    build: Callable[..., nn.Module]
    """``build(num_classes=...)``, and ``dropout=...`` or ``pretrained=...`` where the network has it."""
    description: str
    """One line for ``kdbench list models``."""
    image_size: int = 32
    """Side of the square input that it was designed for, in pixels."""
    smallest: int = 1
    """The least side that it can make sense of; a suite with smaller images is refused when a run is planned."""
    largest: int | None = None
    """The greatest side that it was made for, None for any; likewise."""
    requires: Callable[[], object] | None = None
    """Called when a run is planned; raises ``KdbenchError`` where a package that it is built with is not installed."""


def builtin_specs() -> list[ModelSpec]:
    """The built-in networks, smallest first by family."""
    small = [
        ModelSpec(name, partial(wide_resnet, depth, widening), f"wide ResNet, depth {depth}, widening {widening}")
        for name, (depth, widening) in WIDE_RESNETS.items()
    ]
    small += [
        ModelSpec("preact34-gjs", preact34_gjs, "thin PreActResNet-34 of the GJS experiments, widths 32/64/128"),
        ModelSpec("preact18", preact18, "PreActResNet-18, four stages of widths 64 to 512"),
        ModelSpec("preact34", preact34, "PreActResNet-34, four stages of widths 64 to 512"),
        ModelSpec("resnet18", resnet18, "ResNet-18 with a 3x3 stem and no pooling"),
        ModelSpec("resnet34", resnet34, "ResNet-34 with a 3x3 stem and no pooling"),
        ModelSpec("resnet50", resnet50, "ResNet-50 (bottlenecks) with a 3x3 stem and no pooling"),
        ModelSpec("shufflenet-v2", shufflenet_v2, "ShuffleNetV2 x1 with a 3x3 stem and no pooling"),
    ]
    # Their first stage works at full resolution, at 224x224 on fifty times the pixels they were made for.
    small = [replace(spec, smallest=8, largest=96) for spec in small]
    return [
        *small,
        ModelSpec(
            "resnet50-imagenet", resnet50_imagenet, "ResNet-50 with the 7x7 stem, torchvision's", 224, smallest=64
        ),
        ModelSpec(
            "inception-resnet-v2",
            inception_resnet_v2,
            "Inception-ResNet-v2, timm's (kdbench[timm])",
            299,
            smallest=75,
            requires=timm_installed,
        ),
    ]


def create(
    name: str,
    *,
    num_classes: int,
    normalisation: Normalisation | None = None,
    dropout: float = 0.0,
    pretrained: bool = False,
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
    return build(
        specs[name],
        num_classes=num_classes,
        normalisation=normalisation,
        dropout=dropout,
        pretrained=pretrained,
        seed=seed,
    )


def build(
    spec: ModelSpec,
    *,
    num_classes: int,
    normalisation: Normalisation | None = None,
    dropout: float = 0.0,
    pretrained: bool = False,
    seed: int = 0,
) -> PixelModel:
    """A fresh model of ``spec``, on the CPU and in training mode: float32 (B,3,S,S) pixels in [0,1] to (B,C) logits.

    ``normalisation`` is (mean, std) by channel, applied inside the model; None leaves the pixels as they are.
    ``pretrained`` starts from weights trained elsewhere, which may be downloaded; nothing else touches the network.
    ``seed`` decides the initial weights; the state of the global generator is left as it was.
    Raises ``KdbenchError`` for fewer than two classes, a dropout rate outside [0,1), dropout or pretrained weights that
    the builder doesn't have, weights that can't be downloaded, and a builder that doesn't return a module.
    """
    if num_classes < 2:
        raise KdbenchError(
            f"model '{spec.name}' found num_classes={num_classes}, expected at least 2", "count the labels"
        )
    check_dropout(spec, dropout)
    options: dict[str, Any] = {"num_classes": num_classes}
    if dropout > 0.0:
        options["dropout"] = dropout
    if pretrained:
        check_pretrained(spec)
        options["pretrained"] = True
    with exclusive(), torch.random.fork_rng(devices=[]):
        # The CPU's generator alone: torch.manual_seed would reseed the CUDA devices too, and nothing would undo that.
        torch.default_generator.manual_seed(seed)
        network = spec.build(**options)
    if not isinstance(network, nn.Module):
        raise KdbenchError(
            f"the builder of model '{spec.name}' returned {type(network).__name__}, expected torch.nn.Module",
            "return the module itself",
        )
    return PixelModel(network, normalisation)


def check_dropout(spec: ModelSpec, dropout: float) -> None:
    """Raise ``KdbenchError`` for a rate outside [0,1), or one above 0 that the builder doesn't take."""
    if not 0.0 <= dropout < 1.0:
        raise KdbenchError(f"model '{spec.name}' found dropout={dropout}, expected a rate in [0, 1)", "0 turns it off")
    if dropout > 0.0 and not _accepts(spec.build, "dropout"):
        raise KdbenchError(
            f"model '{spec.name}' found dropout={dropout}, but its builder takes no dropout",
            "use dropout=0 or a model that has it, such as wrn-16-2",
        )


def check_pretrained(spec: ModelSpec) -> None:
    """Raise ``KdbenchError`` for a builder without pretrained weights."""
    if not _accepts(spec.build, "pretrained"):
        raise KdbenchError(
            f"model '{spec.name}' found pretrained=True, but its builder has no pretrained weights",
            "use pretrained=False or a model that has them, such as resnet50-imagenet",
        )


def check_image_size(spec: ModelSpec, size: int, dataset: str) -> None:
    """Raise ``KdbenchError`` where images of ``size`` x ``size`` pixels are too small or too large for the network."""
    if spec.smallest <= size and (spec.largest is None or size <= spec.largest):
        return
    wanted = f"{spec.smallest} or more" if spec.largest is None else f"{spec.smallest} to {spec.largest}"
    raise KdbenchError(
        f"model '{spec.name}' takes images of {wanted} pixels a side, those of '{dataset}' have {size}",
        f"choose a model for them; '{spec.name}' was designed for {spec.image_size}",
    )


def _accepts(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
