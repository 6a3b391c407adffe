"""Where restarts start: anywhere in the ball, at the image, or where the caller says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kdbench.attacks._inputs import check_start
from kdbench.errors import unknown_name

Begin = Callable[[int, Tensor, Tensor], Tensor]
"""Number of the restart, places int64 (n,) and images float32 (n, C, H, W) at them, to the points to begin at."""

STARTS = ("uniform", "zero")
"""Names of starts: a random point of the ball; the image itself, from which the perturbation is zero."""

BLOCK = 256
"""Images whose noise is drawn together, from a seed of their own."""
KEPT_BYTES = 128 * 2**20
"""Noise that is kept: a batch of the mixed order touches all blocks, and 10,000 images of 32x32 have less."""


def starting(
    start: str | Tensor, images: Tensor, eps: float, restarts: int, generator: torch.Generator | None
) -> Begin:
    """The start of each restart: one of ``STARTS``, or float32 (restarts, N, C, H, W) of points.

    Random ones are drawn on the generator's device; None: on the CPU, from the seed 0.

    Raises:
        KdbenchError: an unknown name, or points as ``check_start`` refuses them.
    """
    if isinstance(start, Tensor):
        points = check_start(start, images, eps, restarts)
        return lambda run, part, pixels: points[run, part]
    if start not in STARTS:
        raise unknown_name("start", start, STARTS)
    if start == "zero":
        return lambda run, part, pixels: pixels
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    kept: dict[tuple[int, int], Tensor] = {}  # shared, as one restart follows the other
    seeds = restart_seeds(generator, restarts, 2**63 - 1)
    drawn = [RandomStarts(seed, eps, generator.device, kept) for seed in seeds]
    return lambda run, part, pixels: drawn[run].of(part, pixels)


def restart_seeds(generator: torch.Generator, restarts: int, below: int) -> list[int]:
    """One seed per restart, all drawn at once, so that what restart r draws doesn't depend on the restarts before."""
    return torch.randint(below, (restarts,), generator=generator, device=generator.device).tolist()


@dataclass
class RandomStarts:
    """clip01(x + U(-eps, eps)) of one restart, for any part of the images; it depends on an image's place alone.

    Only the blocks that a part touches are drawn, and few are kept, so that the memory does not grow with the number of
    images, and images that are attacked no more cost nothing.

    Attributes:
        seed: of this restart.
        eps: radius in [0, 1] pixels.
        device: where the noise is drawn.
    """

    seed: int
    eps: float
    device: torch.device
    _kept: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False)

    def of(self, part: Tensor, pixels: Tensor) -> Tensor:
        """Float32 like ``pixels``, (n, C, H, W), which are the images at places ``part``, int64 (n,) ascending."""
        places = part.tolist()
        noise = torch.empty(pixels.shape, device=self.device)
        begin = 0
        while begin < len(places):
            block = places[begin] // BLOCK
            end = begin
            while end < len(places) and places[end] // BLOCK == block:
                end += 1
            inside = torch.tensor(places[begin:end], device=self.device) - block * BLOCK
            noise[begin:end] = self._block(block, pixels.shape[1:])[inside]
            begin = end
        moved = noise.to(pixels.device).add_(pixels).clamp_(0, 1)
        return moved.contiguous(memory_format=torch.channels_last)

    def _block(self, block: int, shape: torch.Size) -> Tensor:
        key = (self.seed, block)
        if key not in self._kept:
            # Neighbouring seeds give unrelated streams; the multiplier keeps one restart's blocks off another's.
            own = torch.Generator(self.device).manual_seed((self.seed + 0x9E3779B97F4A7C15 * block) % 2**63)
            drawn = torch.empty((BLOCK, *shape), device=self.device).uniform_(-self.eps, self.eps, generator=own)
            if sum(one.nbytes for one in self._kept.values()) + drawn.nbytes > KEPT_BYTES:
                self._kept.clear()
            self._kept[key] = drawn
        return self._kept[key]
