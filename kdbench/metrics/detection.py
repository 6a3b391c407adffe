"""How well a score tells known images from foreign ones. It is larger for those that are taken for known.

AUROC and the false positive rate at 95 % true positives, as the field reports them (Hendrycks & Gimpel 2017; Liang et
al. 2018), with known images as the positive class.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.metrics._inputs import Array, as_logits, as_tensor
from kdbench.metrics.intervals import require_confidence, score_interval, wilson_interval

TRUE_POSITIVES = 0.95
"""Share of known images that are taken for known where false positives are counted."""
MOST_ALIKE = 4
"""Normal scores of 500 and 1,000 images with an AUROC of 0.9999: the interval holds it 98 % of the time with this, 87 %
without."""

Floats = NDArray[np.float64]


def detection_scores(logits: Array) -> dict[str, Tensor]:
    """Three scores of each image from its logits alone, float32 (N,) each, on the CPU.

    - ``max_softmax``: the largest softmax output (Hendrycks & Gimpel 2017), as its logarithm: the order is the same,
      and outputs next to 1 do not round to it.
    - ``max_logit``: the largest logit (Hendrycks et al. 2022).
    - ``energy``: the log of the sum of the exponentials of all logits, at temperature 1 (Liu et al. 2020).

    Args:
        logits: floating (N, C), finite.

    Raises:
        KdbenchError: another shape or dtype, no examples, or values that are not finite.

    >>> {name: round(float(score), 4) for name, score in detection_scores(np.array([[2.0, 0.0, 0.0]])).items()}
    {'max_softmax': -0.2395, 'max_logit': 2.0, 'energy': 2.2395}
    """
    found = as_logits(logits)
    largest, which = found.max(1)
    others = (found - largest[:, None]).exp().scatter(1, which[:, None], 0).sum(1)
    excess = others.log1p()
    return {
        "max_softmax": (-excess).float(),
        "max_logit": largest.float(),
        "energy": (largest + excess).float(),
    }


def auroc(known: Array, foreign: Array) -> float:
    """Area under the ROC curve: the chance that a known image scores above a foreign one, ties counted half.

    Args:
        known: real (N,), scores of known images.
        foreign: real (M,), those of foreign images.

    Raises:
        KdbenchError: no scores, another shape, or scores that are NaN.

    >>> auroc(np.array([3.0, 2.0, 1.0]), np.array([2.0, 0.0]))
    0.75
    """
    inside, outside = _sorted(known, "known"), _sorted(foreign, "foreign")
    return float(_share_below(outside, inside).mean())


def auroc_interval(known: Array, foreign: Array, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the AUROC over known and foreign images, inside [0, 1].

    The variance is that of DeLong et al. 1988. The interval is Wilson's for as many examples as a share of this
    variance has, so that it has a width at 1: there, and where all scores are alike, for the smaller set's number. Near
    1 the variance comes out too small; no more than ``MOST_ALIKE`` times the examples that there are count.

    Raises:
        KdbenchError: as ``auroc``, or a confidence outside (0, 1).
    """
    require_confidence(confidence)
    inside, outside = _sorted(known, "known"), _sorted(foreign, "foreign")
    of_known, of_foreign = _share_below(outside, inside), _share_below(-inside[::-1], -outside[::-1])
    value = float(of_known.mean())
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (of_known, of_foreign) if len(part) > 1)
    alike = value * (1 - value) / variance if variance else 0.0
    most = MOST_ALIKE * (len(inside) + len(outside))
    return score_interval(value, min(alike, most) or min(len(inside), len(outside)), _quantile(confidence))


def false_positive_rate(known: Array, foreign: Array) -> float:
    """Share of foreign images that score no less than 95 % of known ones do.

    The threshold is the largest score that at least ``TRUE_POSITIVES`` of the known images reach.

    Args:
        known: real (N,), scores of known images.
        foreign: real (M,), those of foreign images.

    Raises:
        KdbenchError: no scores, another shape, or scores that are NaN.

    >>> false_positive_rate(np.arange(20.0), np.array([0.0, 0.5, 1.0, 2.0]))
    0.5
    """
    inside, outside = _sorted(known, "known"), _sorted(foreign, "foreign")
    return _reaching(outside, inside[_place(len(inside))])


def false_positive_rate_interval(known: Array, foreign: Array, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of ``false_positive_rate`` over known and foreign images, inside [0, 1].

    Foreign images give Wilson's interval at the threshold. Known images give the threshold's own, between two of their
    scores (the binomial interval of a quantile), and the rates at its ends. The two are independent: on each side their
    squares add up (Zou & Donner 2008).

    Raises:
        KdbenchError: as ``false_positive_rate``, or a confidence outside (0, 1).
    """
    require_confidence(confidence)
    inside, outside = _sorted(known, "known"), _sorted(foreign, "foreign")
    n, tail = len(inside), (1 - confidence) / 2
    rate = _reaching(outside, inside[_place(n)])
    fewest, most = (int(binom.ppf(share, n, TRUE_POSITIVES)) for share in (tail, 1 - tail))
    lowest = 1.0 if most == n else _reaching(outside, inside[n - most - 1])
    highest = _reaching(outside, inside[min(n - fewest, n - 1)])
    low, high = wilson_interval(rate * len(outside), len(outside), confidence)
    below, above = math.hypot(rate - low, rate - highest), math.hypot(high - rate, lowest - rate)
    return max(0.0, rate - below), min(1.0, rate + above)


def _place(n: int) -> int:
    """Of the threshold among n scores in ascending order."""
    return n - math.ceil(TRUE_POSITIVES * n - 1e-9)


def _reaching(scores: Floats, threshold: float) -> float:
    """Share of scores in ascending order that are no less than a threshold."""
    return 1 - int(np.searchsorted(scores, threshold, side="left")) / len(scores)


def _share_below(others: Floats, scores: Floats) -> Floats:
    """For each score, the share of the others, in ascending order, that are smaller; ties count half."""
    both = np.searchsorted(others, scores, side="left") + np.searchsorted(others, scores, side="right")
    return np.asarray(both / (2 * len(others)))


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _sorted(values: Array, name: str) -> Floats:
    found = as_tensor(values, f"scores of {name} images")
    if found.ndim != 1 or len(found) == 0 or found.is_complex():
        raise KdbenchError(
            f"scores of {name} images have shape {tuple(found.shape)}, expected (N,) with N of at least 1",
            "pass one real number an image",
        )
    scores = np.sort(found.double().cpu().numpy())
    if np.isnan(scores[-1]):
        raise KdbenchError(f"scores of {name} images are NaN", "check the checkpoint for NaN weights")
    return scores
