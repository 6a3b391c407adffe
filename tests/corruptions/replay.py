"""The oracle on the very random numbers that ``kdbench.corruptions`` drew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.corruptions import DETERMINISTIC, _corrupt, _draws, corrupt

from . import oracle
from .conftest import channels_first, channels_last


class Recorder:
    """Lets ``_draws`` and ``torch.poisson`` work as usual and keeps what they returned, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawn: list[Tensor] = []
        for place, function in (*((_draws, name) for name in ("normal", "uniform", "integers", "below")),
                                (torch, "poisson")):  # fmt: skip
            monkeypatch.setattr(place, function, self._keep(getattr(place, function)))

    def _keep(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawing(*args: Any, **kwargs: Any) -> Tensor:
            result = draw(*args, **kwargs)
            self.drawn.append(result.clone())
            return result

        return drawing


class Told(np.random.Generator):
    """Returns the arrays that it was told, in order, where others would draw."""

    def __init__(self, *arrays: np.ndarray) -> None:
        super().__init__(np.random.PCG64(0))
        self._arrays = iter(arrays)

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return next(self._arrays)

    def poisson(self, *args: Any, **kwargs: Any) -> Any:
        return next(self._arrays)


def _colour(drawn: Tensor) -> np.ndarray:
    return drawn.double().permute(1, 2, 0).numpy()


def _impulse(drawn: list[Tensor], i: int, amount: float) -> tuple[Any, ...]:
    """scikit-image hits where its first draw is at most ``amount``, and paints white where its second is under 1/2."""
    hit = _colour(drawn[0][i])
    return (Told(hit, (hit < np.float32(amount / 2)).astype(float)),)


def _glass(drawn: list[Tensor], i: int, constants: Any) -> tuple[Any, ...]:
    distance, size = constants[1], len(drawn[0][i]) + 2 * constants[1]
    walked = slice(distance + 1, size - distance + 1)
    offsets = np.zeros((len(drawn), size, size, 2), dtype=int)
    for number, choice in enumerate(drawn):
        offsets[number, walked, walked, 0] = distance - 1 - choice[i] % (2 * distance)
        offsets[number, walked, walked, 1] = distance - 1 - choice[i] // (2 * distance)
    return (offsets,)


def _fog(drawn: list[Tensor], i: int, constants: Any) -> tuple[Any, ...]:
    decay = constants[1]
    return ([step[:, i].double().numpy() / (100 / decay**k) ** 2 for k, step in enumerate(drawn)],)


def _elastic(drawn: list[Tensor], i: int, constants: Any) -> tuple[Any, ...]:
    return drawn[0][i].numpy(), drawn[1][i].double().numpy() if len(drawn) > 1 else None


# From what the batched code drew for all images to the arrays that the oracle takes for image i.
REPLAY: dict[str, Callable[[list[Tensor], int, Any], tuple[Any, ...]]] = {
    "gaussian_noise": lambda drawn, i, c: (_colour(drawn[0][i]) / (255 * c),),
    "shot_noise": lambda drawn, i, c: (Told(_colour(drawn[0][i])),),
    "impulse_noise": _impulse,
    "speckle_noise": lambda drawn, i, c: ((_colour(drawn[0][i]) - 1) / c,),
    "glass_blur": _glass,
    "motion_blur": lambda drawn, i, c: (float(drawn[0][i]),),
    "snow": lambda drawn, i, c: (drawn[0][i, 0].double().numpy(), float(drawn[1][i])),
    "frost": lambda drawn, i, c: (int(drawn[0][i]), int(drawn[1][i, 0]), int(drawn[1][i, 1])),
    "fog": _fog,
    "elastic_transform": _elastic,
    "spatter": lambda drawn, i, c: (drawn[0][i, 0].double().numpy(),),
}


def both(images: Tensor, name: str, severity: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ours and the oracle's images, uint8 (N, 3, S, S) each; a random corruption has the same draws in both."""
    if name in DETERMINISTIC:
        expected = [oracle.corrupt(image, name, severity) for image in channels_last(images)]
        return corrupt(images, name, severity), channels_first(np.stack(expected))
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(patch)
        patch.setattr(_corrupt, "CHUNK", len(images))  # one chunk: one tensor a draw
        ours = corrupt(images, name, severity, generator=torch.Generator().manual_seed(seed))
    constants = oracle.constants(name, severity, images.shape[-1])
    expected = [
        oracle.apply(image, name, severity, *REPLAY[name](recorder.drawn, i, constants))
        for i, image in enumerate(channels_last(images))
    ]
    return ours, channels_first(np.stack(expected))
