"""How many seeds show a difference between two methods: power of the tests in ``kdbench.results.comparison``.

Two questions have two answers. On the test images that there are, only seeds vary: a t test over seeds. Over other test
images too, as ``comparison.difference`` tests, a part of the variance stays, however many seeds there are.

>>> seeds_needed(0.01, Spread(seeds=0.01**2, known=2), fixed_images=True)
10
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit

from kdbench.results.comparison import LEVEL, Sample

POWER = 0.8
"""Chance to find the difference, where it is there."""
MOST_SEEDS = 10_000
"""More are not looked for."""
_NODES, _HALVES = np.polynomial.legendre.leggauss(256)
_TAILS, _WEIGHTS = (1 - _NODES) / 2, _HALVES / 2
"""Probabilities and weights by which a mean over a distribution is a sum over its quantiles."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a difference between two methods varies, in the score's unit squared."""

    seeds: float
    """Variance of the difference on the same test images from one seed to the next."""
    known: float
    """Degrees of freedom that it is known with."""
    freedom: float = 1.0
    """Degrees of freedom that each seed after the first adds: 1 where seeds are paired, up to 2 of independent ones."""
    images: float = 0.0
    """Variance that the choice of test images gives the difference, over all seeds there could be."""
    each: float = 0.0
    """What it is more in the mean of N seeds, times N."""
    n: int = 2
    """Test images."""

    def at(self, sd: float) -> Spread:
        """The same with another standard deviation over seeds."""
        return dataclasses.replace(self, seeds=sd**2)

    @property
    def sd(self) -> float:
        """Standard deviation of the difference over seeds."""
        return math.sqrt(self.seeds)

    @property
    def sd_interval(self) -> tuple[float, float]:
        """95 % interval of ``sd``, if seeds scatter normally: (n - 1) s^2 / sigma^2 has a chi-square distribution."""
        low, high = (math.sqrt(self.known / chdtri(self.known, tail)) for tail in (LEVEL / 2, 1 - LEVEL / 2))
        return self.sd * low, self.sd * high


def paired_spread(one: NDArray[np.generic], other: NDArray[np.generic]) -> Spread:
    """Of two methods with the same seeds on the same test images, (S, n) each, S > 1.

    The variance from images is split as in a two-way analysis of variance without replicates: into that of images, and
    that of images and seeds together, of which each further seed takes its part away.
    """
    apart = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    count, n = apart.shape
    by_seed, by_image = apart.mean(1), apart.mean(0)
    rest = apart - by_seed[:, None] - by_image + apart.mean()
    both = float((rest**2).sum()) / ((count - 1) * max(n - 1, 1))
    images = max(float(by_image.var(ddof=1)) - both / count, 0.0) / n
    return Spread(float(by_seed.var(ddof=1)), count - 1, images=images, each=both / n, n=n)


def spread(one: Sample, other: Sample, *, by_seed: bool) -> Spread:
    """Of two methods from their samples alone, of two seeds or more each; without ``by_seed`` seeds are independent.

    The variance from images is taken as it is now, so that the number of seeds is rather too large.
    """
    if one.deviations is not None and other.deviations is not None and one.examples == other.examples:
        images = float(((one.deviations - other.deviations) ** 2).sum())
    else:
        images = one.example_variance + other.example_variance
    n = min(one.n, other.n)
    if by_seed:
        return Spread(float((one.values - other.values).var(ddof=1)), len(one.values) - 1, images=images, n=n)
    ours, theirs = (float(sample.values.var(ddof=1)) for sample in (one, other))
    total = ours + theirs
    squares = ours**2 / (len(one.values) - 1) + theirs**2 / (len(other.values) - 1)
    freedom = total**2 / (ours**2 + theirs**2) if total else 2.0
    return Spread(total, total**2 / squares if squares else 2.0, freedom, images, n=n)


def power(difference: float, count: float, spread: Spread, *, fixed_images: bool = False) -> float:
    """Chance that a two-sided test at 5 % finds a difference with so many seeds, of each method.

    The statistic is a noncentral t: where images are fixed and seeds scatter normally exactly; else with Welch and
    Satterthwaite's degrees of freedom for the sum of both variances.
    """
    seeds, freedom = spread.seeds / count, spread.freedom * (count - 1)
    if fixed_images:
        real = estimated = seeds
    else:
        images = spread.images + spread.each / count
        real = seeds + spread.images
        estimated = seeds + images + 1 / spread.n**2  # what images and seeds share is counted in both
        squares = seeds**2 / freedom + images**2 / max(spread.n - 1, 1)
        freedom = min(estimated**2 / squares, 1e6) if squares else 1e6
    if real == 0:
        return float(abs(difference) > 0)
    edge = float(stdtrit(freedom, 1 - LEVEL / 2)) * math.sqrt(estimated / real)
    scatter = edge * np.sqrt(chdtri(freedom, _TAILS) / freedom)  # of the estimated standard error
    effect = abs(difference) / math.sqrt(real)
    return float(_WEIGHTS @ (ndtr(effect - scatter) + ndtr(-effect - scatter)))


def seeds_needed(difference: float, spread: Spread, *, fixed_images: bool = False) -> int | None:
    """The fewest seeds of each method with a power of 80 %, at least 2; None where ``MOST_SEEDS`` have less."""

    def enough(count: int) -> bool:
        return power(difference, count, spread, fixed_images=fixed_images) >= POWER

    high = 2
    while not enough(high):
        if high >= MOST_SEEDS:
            return None
        high = min(2 * high, MOST_SEEDS)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, 2)


def least_difference(spread: Spread) -> float:
    """The smallest difference that any number of seeds would show with a power of 80 % over other test images."""
    low, high = 0.0, 1.0
    while power(high, MOST_SEEDS, spread) < POWER:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, MOST_SEEDS, spread) >= POWER else (middle, high)
    return high
