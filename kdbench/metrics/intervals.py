"""How well a share of examples is known."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from statistics import NormalDist

from scipy.special import stdtrit

from kdbench.errors import KdbenchError


def wilson_interval(correct: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, in [0, 1] (Wilson 1927), without continuity correction.

    Unlike the normal approximation it stays inside [0, 1] and has a width at 0 of n and at n of n.

    Args:
        correct: number of successes, 0 <= correct <= n; a mean over repetitions needs not be whole.
        n: number of trials, >= 1.
        confidence: two-sided coverage, in (0, 1).

    Raises:
        KdbenchError: an argument out of its range.

    >>> tuple(round(bound, 4) for bound in wilson_interval(9, 10))
    (0.5958, 0.9821)
    """
    if n < 1 or not 0 <= correct <= n:
        raise KdbenchError(f"{correct} correct of {n}, expected 0 <= correct <= n and n >= 1", "count examples again")
    return score_interval(correct / n, n, normal_quantile(confidence))


def normal_quantile(confidence: float) -> float:
    """The normal distribution's quantile of a two-sided coverage in (0, 1); raises ``KdbenchError`` for another."""
    require_confidence(confidence)
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def score_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a share in [0, 1] of n > 0 examples, which needs not be whole, for a quantile of
    whatever distribution the doubt has: the normal's for ``wilson_interval``, Student's where a variance was estimated.

    Raises:
        KdbenchError: an argument out of its range.
    """
    if not (0 <= share <= 1 and n > 0):
        raise KdbenchError(f"a share of {share} of {n} examples, expected one in [0, 1] of more than 0", "count again")
    square = quantile * quantile
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def with_draws(interval: tuple[float, float], values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a fraction over examples and draws, of a model that is random at test time.

    Each half of the interval over examples is independent of Student's t times the standard deviation of a draw: their
    squares add up. What examples and draws share is counted in both, so that the interval is rather too wide.

    Args:
        interval: over examples, of the first value, in [0, 1].
        values: of each draw, in [0, 1]; the first is the one that is reported. One alone leaves the interval as it is.

    Raises:
        KdbenchError: something that is no fraction.

    >>> tuple(round(bound, 4) for bound in with_draws((0.86, 0.94), [0.9, 0.8, 1.0]))
    (0.4679, 1.0)
    """
    wrong = [one for one in (*interval, *values) if not -1e-9 <= one <= 1 + 1e-9]
    if wrong:
        raise KdbenchError(f"{wrong[0]} is no fraction, expected values in [0, 1]", "divide percents by 100")
    if len(values) < 2:
        return interval
    value = values[0]
    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values)
    low, high = (math.hypot(value - bound, half) for bound in interval)
    return max(0.0, value - low), min(1.0, value + high)


def require_confidence(confidence: float) -> None:
    """Raise for a two-sided coverage that is none."""
    if not 0 < confidence < 1:
        raise KdbenchError(f"confidence is {confidence}, expected between 0 and 1", "e.g. 0.95")
