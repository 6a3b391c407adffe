"""What is done to pixels in front of a network from elsewhere, and to the order of its outputs behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import KdbenchError, unknown_name
from kdbench.models.normalise import Normalisation, PixelModel


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of RGB pixels in [0, 1], and what its outputs stand for."""

    mean: tuple[float, ...] | None = None
    """Of each channel, in [0, 1] pixel units; None: pixels are not normalised."""
    std: tuple[float, ...] | None = None
    """Likewise; there where ``mean`` is."""
    resize: int | None = None
    """Side in pixels of the square images that it wants; None: as they are."""
    classes: tuple[str, ...] | None = None
    """Names of its outputs, in their order; None: the data set's classes in the data set's order."""

    @property
    def normalisation(self) -> Normalisation | None:
        """Mean and deviation, None where pixels are not normalised."""
        return (self.mean, self.std) if self.mean is not None and self.std is not None else None


class Preprocessed(nn.Module):
    """A network behind its preprocessing: float32 (B, 3, H, W) pixels in [0, 1] to float (B, C) logits.

    Resized (bilinear with antialiasing), normalised, then the outputs put in the order of ``class_names``: those of a
    class that the data set has not are left out. Each step has a gradient, so that attacks work on the pixels given.
    Raises ``KdbenchError`` for a class of the data set that the network has not, or has twice.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, class_names: Sequence[str]) -> None:
        super().__init__()
        self.preprocessing = applied = preprocessing
        self.resize: nn.Module = nn.Identity() if applied.resize is None else _Resize(applied.resize)
        self.model = PixelModel(network, applied.normalisation)
        self.order: nn.Module = nn.Identity()
        if applied.classes is not None:
            self.order = _ClassOrder(applied.classes, class_names)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.order(self.model(self.resize(pixels)))
        return logits


class _Resize(nn.Module):
    """(B, C, H, W) to (B, C, side, side); values stay between the least and the greatest of the image."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, pixels: Tensor) -> Tensor:
        return F.interpolate(pixels, (self.side, self.side), mode="bilinear", align_corners=False, antialias=True)


class _ClassOrder(nn.Module):
    """Outputs (B, len(outputs)) to those of ``wanted``, (B, len(wanted)), by name."""

    columns: Tensor

    def __init__(self, outputs: Sequence[str], wanted: Sequence[str]) -> None:
        super().__init__()
        for name in wanted:
            if name not in outputs:
                raise unknown_name("class of the model", name, outputs, "`--classes` says how its outputs are called")
            if outputs.count(name) > 1:
                raise KdbenchError(f"{outputs.count(name)} outputs of the model are named '{name}'", "name each once")
        self.count = len(outputs)
        self.register_buffer("columns", torch.tensor([outputs.index(name) for name in wanted]), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        return _taken(logits, self.columns, self.count)


@torch.fx.wrap  # one step to a tracer, which can't follow a branch on a shape
def _taken(logits: Tensor, columns: Tensor, count: int) -> Tensor:
    if logits.shape[1] != count:
        raise KdbenchError(
            f"the model has {logits.shape[1]} outputs, {count} classes were named", "name each output with --classes"
        )
    return logits.index_select(1, columns)
