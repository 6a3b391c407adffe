"""How good a method is and whether two differ: intervals over seeds and test examples, paired where those are shared.

Each method is a ``Sample``: its score for each seed, and what its mean owes to the test examples. Two sources of doubt
are added up: other seeds, which are independent between methods, and other test examples, which are the same for all
methods, so that a difference is far better known than its two ends.

>>> right = np.array([[True, True, False, True], [True, False, False, True]])  # two seeds, four examples
>>> estimate(shares(right)).value
0.625
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr, stdtrit

from kdbench.metrics import bin_numbers, score_interval

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Two-sided: intervals are at 95 %."""
NORMAL = 1.959963984540054
"""The normal distribution's quantile for it."""
RESAMPLES = 500
"""Of the test examples, for the comparison of calibration errors."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One method's scores of one kind. Made by ``shares``, ``calibration_errors`` or ``from_intervals``."""

    values: Floats
    """(S,): the score of each seed."""
    n: int
    """Test examples of each seed."""
    example_variance: float
    """Variance of the mean over seeds that comes from the choice of test examples."""
    deviations: Floats | None = None
    """(m,): its products with another method's are the covariance that comes from test examples they share."""
    examples: str = ""
    """Which test examples: two samples are paired where this is the same."""
    fraction: bool = True
    """Whether scores lie in [0, 1]."""
    interval: tuple[float, float] | None = None
    """95 % interval of a single seed, where it is known better than from the variance."""

    @property
    def seed_variance(self) -> float:
        """Variance of the mean over seeds that comes from the choice of seeds; 0 with one seed, which shows none."""
        count = len(self.values)
        return float(self.values.var(ddof=1)) / count if count > 1 else 0.0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float
    basis: str
    """"seeds and examples", "examples" with one seed, or "score" where no per-example results are available."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """What one method has more than another."""

    value: float
    ci_low: float
    ci_high: float
    p_value: float
    """Two-sided, of no difference."""
    paired: bool
    """Whether both were measured on the same test examples, example by example."""


@dataclasses.dataclass(frozen=True, eq=False)
class Differences:
    """All differences between K methods, (K, K) each: what row i has more than row j; NaN where one has no score."""

    value: Floats
    half_width: Floats
    """Half of the 95 % interval."""
    p_value: Floats
    """Two-sided, not corrected for the number of pairs."""
    paired: NDArray[np.bool_]


def shares(results: ArrayLike, *, examples: str = "") -> Sample:
    """Means of per-example results: bool, or the mean of several bools, in [0, 1].

    Args:
        results: (S seeds, n examples), or (n,) of one seed.
        examples: which test examples they are; only methods with the same are paired.
    """
    table = np.atleast_2d(np.asarray(results, dtype=np.float64))
    seeds, n = table.shape
    means = table.mean(0)
    deviations = (means - means.mean()) / np.sqrt(n * max(n - 1, 1))
    plain = seeds == 1 and bool(np.isin(means, (0, 1)).all())
    interval = score_interval(float(means.mean()), n, NORMAL) if plain else None
    return Sample(table.mean(1), n, float(deviations @ deviations), deviations, f"{examples}:{n}", interval=interval)


def calibration_errors(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    examples: str = "",
    interval: tuple[float, float] | None = None,
) -> Sample:
    """Expected calibration errors, bins as in ``kdbench.metrics``; examples are bootstrapped.

    The resamples depend on n alone, so that all methods see the same ones and their differences are paired.

    Args:
        confidence: (S, n) or (n,), largest probability, in [0, 1].
        correct: bool, the same shape.
        bins: of equal width.
        examples: as for ``shares``.
        interval: 95 % interval of a single seed, where it was bootstrapped already.
    """
    peaks, right = np.atleast_2d(np.asarray(confidence)), np.atleast_2d(np.asarray(correct, dtype=np.float64))
    n = peaks.shape[1]
    where = bin_numbers(peaks, bins).numpy()
    counts = _resamples(n)
    values, resampled = np.empty(len(peaks)), np.zeros(len(counts))
    for seed, (peak, hit) in enumerate(zip(peaks, right, strict=True)):
        gaps = np.zeros((n, bins), dtype=np.float32)  # each example's in the column of its bin
        gaps[np.arange(n), where[seed]] = hit - peak
        values[seed] = np.abs(gaps.sum(0, dtype=np.float64)).sum() / n
        resampled += np.abs(counts @ gaps).sum(1) / n / len(peaks)
    deviations = (resampled - resampled.mean()) / np.sqrt(len(counts) - 1)
    return Sample(values, n, float(deviations @ deviations), deviations, f"{examples}:{n}:ece", interval=interval)


def from_intervals(values: ArrayLike, lows: ArrayLike, highs: ArrayLike, *, n: int, fraction: bool = True) -> Sample:
    """Scores of which nothing is known but a 95 % interval over examples each, (S,): never paired.

    Seeds share their examples, so that more of them do not make that part of the doubt smaller.
    """
    scores, low, high = (np.atleast_1d(np.asarray(numbers, dtype=np.float64)) for numbers in (values, lows, highs))
    variance = float((((high - low) / (2 * NORMAL)) ** 2).mean())
    interval = (float(low[0]), float(high[0])) if len(scores) == 1 else None
    return Sample(scores, n, variance, fraction=fraction, interval=interval)


def estimate(sample: Sample) -> Estimate:
    """Mean over seeds with its 95 % interval.

    The variance is that of seeds plus that of examples (what seeds and examples share is counted in both, so that the
    interval is rather too wide), with Welch and Satterthwaite's degrees of freedom. Intervals of fractions are Wilson's
    for the number of examples that would give this variance: inside [0, 1], and with a width at 0 and 1. With one seed
    they are over examples alone and say nothing of other seeds.
    """
    value = float(sample.values.mean())
    several = len(sample.values) > 1
    basis = "score" if sample.deviations is None else "seeds and examples" if several else "examples"
    if not several and sample.interval is not None:
        return Estimate(value, *sample.interval, basis)
    seed, example = sample.seed_variance, sample.example_variance
    variance = seed + example
    squares = seed**2 / max(len(sample.values) - 1, 1) + example**2 / max(sample.n - 1, 1)
    quantile = float(_quantile(np.array(variance**2 / squares if squares else np.inf)))
    if not sample.fraction:
        half = quantile * variance**0.5
        return Estimate(value, value - half, value + half, basis)
    alike = value * (1 - value) / variance if variance else sample.n
    return Estimate(value, *score_interval(value, alike or sample.n, quantile), basis)


def difference(one: Sample, other: Sample, *, by_seed: bool = False) -> Difference:
    """What ``one`` has more than ``other``; paired where both have results on the same examples.

    With ``by_seed`` the seeds are paired as well: value s of both is of the same seed, and the variance from seeds is
    that of the differences, s^2 / S with S - 1 degrees of freedom, whatever the two have in common.

    Raises:
        ValueError: ``by_seed`` with two numbers of seeds.
    """
    if by_seed and len(one.values) != len(other.values):
        raise ValueError(f"seeds are paired, and there are {len(one.values)} and {len(other.values)}")
    value, half, p_value, paired = (matrix[0, 1] for matrix in _known_differences([one, other], by_seed=by_seed))
    return Difference(float(value), float(value - half), float(value + half), float(p_value), bool(paired))


def differences(samples: Sequence[Sample | None]) -> Differences:
    """All differences at once; None for a method without a score.

    Variance of one: that of the seeds of each, and, from examples, s^2 / n of the per-example differences where they
    are paired, the sum of both methods' otherwise. To it comes half a disagreement in each direction (Agresti & Min
    2005), so that two methods that agree on every example are not known to differ by exactly 0. A method with one seed
    is taken to vary from seed to seed like the other one does; where both have one, nothing is said of seeds.
    """
    count = len(samples)
    value, half, p_value = (np.full((count, count), np.nan) for _ in range(3))
    paired = np.zeros((count, count), dtype=bool)
    known = [(place, sample) for place, sample in enumerate(samples) if sample is not None]
    if known:
        places = np.ix_(*[[place for place, _ in known]] * 2)
        value[places], half[places], p_value[places], paired[places] = _known_differences([s for _, s in known])
    return Differences(value, half, p_value, paired)


def _known_differences(
    samples: Sequence[Sample], *, by_seed: bool = False
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    means = np.array([sample.values.mean() for sample in samples])
    example = np.array([sample.example_variance for sample in samples])
    n = np.array([sample.n for sample in samples])
    together, paired = _covariances(samples)
    unpaired_squares = example**2 / np.maximum(n - 1, 1)
    examples = np.maximum(example[:, None] + example - 2 * together, 0)
    squares = np.where(paired, examples**2 / np.maximum(n - 1, 1), unpaired_squares[:, None] + unpaired_squares)
    seeds, seeds_squares = (_paired_seed_variances if by_seed else _seed_variances)(samples)
    squares += seeds_squares
    fractions = all(sample.fraction for sample in samples)
    more = 1 / np.minimum(n[:, None], n).astype(np.float64) ** 2 if fractions else 0
    variance = examples + seeds + more
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(squares > 0, variance**2 / squares, np.inf)
        value = means[:, None] - means
        t = np.where(value == 0, 0, np.abs(value) / np.sqrt(variance))
    half = _quantile(freedom) * np.sqrt(variance)
    p_value = 2 * stdtr(_finite(freedom), -t)
    for matrix, itself in ((value, 0.0), (half, 0.0), (p_value, 1.0)):
        np.fill_diagonal(matrix, itself)
    return value, half, p_value, paired


def _seed_variances(samples: Sequence[Sample]) -> tuple[Floats, Floats]:
    """(K, K) variances of differences that come from seeds, and the sums of their squares over degrees of freedom."""
    count = np.array([len(sample.values) for sample in samples])
    of_mean = np.array([sample.seed_variance for sample in samples])
    # [i, j]: what j brings to its difference from i, which borrows it once more where i has no spread of its own.
    brought = of_mean + (count == 1)[:, None] * (of_mean * count)
    squares = brought**2 / np.maximum(count - 1, 1)
    return brought + brought.T, squares + squares.T


def _paired_seed_variances(samples: Sequence[Sample]) -> tuple[Floats, Floats]:
    """The same where value s of all samples is of one seed."""
    values = np.stack([sample.values for sample in samples])
    count = values.shape[1]
    if count == 1:
        return np.zeros((len(samples),) * 2), np.zeros((len(samples),) * 2)
    variances = (values[:, None] - values).var(2, ddof=1) / count
    return variances, variances**2 / (count - 1)


def _covariances(samples: Sequence[Sample]) -> tuple[Floats, NDArray[np.bool_]]:
    """(K, K) covariances of means through shared examples, 0 where they share none; and where they do."""
    covariance = np.zeros((len(samples), len(samples)))
    paired = np.zeros(covariance.shape, dtype=bool)
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        if sample.deviations is not None:
            groups.setdefault(sample.examples, []).append(place)
    for group in groups.values():
        rows = np.stack([_deviations(samples[place]) for place in group])
        covariance[np.ix_(group, group)] = rows @ rows.T
        paired[np.ix_(group, group)] = True
    return covariance, paired


def _deviations(sample: Sample) -> Floats:
    assert sample.deviations is not None
    return sample.deviations


def sign_test(gained: int, lost: int) -> float:
    """Two-sided p-value of the exact sign test, which on right and wrong answers of two models is McNemar's exact test
    (McNemar 1947): as many examples are gained as are lost.

    Args:
        gained: examples that only one of the two answers rightly.
        lost: those that only the other does.

    >>> round(sign_test(1, 5), 5), sign_test(0, 0)
    (0.21875, 1.0)
    """
    few, many = sorted((gained, lost))
    return min(1.0, 2 * float(bdtr(few, few + many, 0.5))) if many else 1.0


def holm(p_values: ArrayLike) -> Floats:
    """Holm's adjusted p-values, the same shape; NaN is no test (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(given))
    order = tests[np.argsort(given.ravel()[tests], kind="stable")]
    left = np.arange(len(order), 0, -1)
    adjusted.ravel()[order] = np.minimum(np.maximum.accumulate(left * given.ravel()[order]), 1)
    return adjusted


def significant(pairs: Differences) -> NDArray[np.bool_]:
    """(K, K): which pairs differ, at 5 % over all pairs together."""
    upper = np.triu_indices(len(pairs.p_value), 1)
    found = np.zeros(pairs.p_value.shape, dtype=bool)
    found[upper] = holm(pairs.p_value[upper]) < LEVEL  # False for NaN
    return found | found.T


@functools.lru_cache(maxsize=2)
def _resamples(n: int) -> NDArray[np.float32]:
    """(RESAMPLES, n): how often each example is drawn."""
    generator = np.random.default_rng(n)
    draws = generator.integers(n, size=(RESAMPLES, n))
    return np.stack([np.bincount(row, minlength=n) for row in draws]).astype(np.float32)


def _finite(freedom: Floats) -> Floats:
    return np.minimum(freedom, 1e9)


def _quantile(freedom: Any) -> Any:
    """Student's t, two-sided 5 %."""
    return stdtrit(_finite(freedom), 1 - LEVEL / 2)
