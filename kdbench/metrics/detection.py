"""How well a score tells images of the training distribution from others; it is larger for those of the distribution.

AUROC and the false positive rate at 95 % true positives, as the field reports them (Hendrycks & Gimpel 2017; Liang et
al. 2018), with in-distribution images as the positive class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.metrics._inputs import Array, as_logits, as_tensor
from kdbench.metrics.intervals import normal_quantile, require_confidence, score_interval, wilson_interval

TRUE_POSITIVES = 0.95
"""Share of in-distribution images that are taken for such where false positives are counted."""
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


def auroc(inside: Array, outside: Array) -> float:
    """Area under the ROC curve: the chance that an in-distribution image scores above another, ties counted half.

    Args:
        inside: real (N,), scores of in-distribution images.
        outside: real (M,), those of out-of-distribution images.

    Raises:
        KdbenchError: no scores, another shape, or scores that are NaN.

    >>> auroc(np.array([3.0, 2.0, 1.0]), np.array([2.0, 0.0]))
    0.75
    """
    ins, outs = _sorted(inside, "in-distribution"), _sorted(outside, "out-of-distribution")
    return float(_share_below(outs, ins).mean())


def auroc_interval(inside: Array, outside: Array, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the AUROC over the images of both kinds, inside [0, 1].

    The variance is that of DeLong et al. 1988. The interval is Wilson's for as many examples as a share of this
    variance has, so that it has a width at 1: there, and where all scores are alike, for the smaller set's number. Near
    1 the variance comes out too small; no more than ``MOST_ALIKE`` times the examples that there are count.

    Raises:
        KdbenchError: as ``auroc``, or a confidence outside (0, 1).
    """
    quantile = normal_quantile(confidence)
    ins, outs = _sorted(inside, "in-distribution"), _sorted(outside, "out-of-distribution")
    of_ins, of_outs = _share_below(outs, ins), _share_below(-ins[::-1], -outs[::-1])
    value = float(of_ins.mean())
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (of_ins, of_outs) if len(part) > 1)
    alike = value * (1 - value) / variance if variance else 0.0
    most = MOST_ALIKE * (len(ins) + len(outs))
    return score_interval(value, min(alike, most) or min(len(ins), len(outs)), quantile)


def false_positive_rate(inside: Array, outside: Array) -> float:
    """Share of out-of-distribution images that score no less than 95 % of in-distribution ones do.

    The threshold is the largest score that at least ``TRUE_POSITIVES`` of the in-distribution images reach.

    Args:
        inside: real (N,), scores of in-distribution images.
        outside: real (M,), those of out-of-distribution images.

    Raises:
        KdbenchError: no scores, another shape, or scores that are NaN.

    >>> false_positive_rate(np.arange(20.0), np.array([0.0, 0.5, 1.0, 2.0]))
    0.5
    """
    ins, outs = _sorted(inside, "in-distribution"), _sorted(outside, "out-of-distribution")
    return _reaching(outs, ins[_place(len(ins))])


def false_positive_rate_interval(inside: Array, outside: Array, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of ``false_positive_rate`` over the images of both kinds, inside [0, 1].

    Out-of-distribution images give Wilson's interval at the threshold. In-distribution images give the threshold's own,
    between two of their scores (the binomial interval of a quantile), and the rates at its ends. The two are
    independent: on each side their squares add up (Zou & Donner 2008).

    Raises:
        KdbenchError: as ``false_positive_rate``, or a confidence outside (0, 1).
    """
    from scipy.stats import binom  # as long in loading as numpy, and every command that loads the tasks would pay it

    require_confidence(confidence)
    ins, outs = _sorted(inside, "in-distribution"), _sorted(outside, "out-of-distribution")
    n, tail = len(ins), (1 - confidence) / 2
    rate = _reaching(outs, ins[_place(n)])
    fewest, most = (int(binom.ppf(share, n, TRUE_POSITIVES)) for share in (tail, 1 - tail))
    largest = 1.0 if most == n else _reaching(outs, ins[n - most - 1])
    smallest = _reaching(outs, ins[min(n - fewest, n - 1)])
    low, high = wilson_interval(rate * len(outs), len(outs), confidence)
    below, above = math.hypot(rate - low, rate - smallest), math.hypot(high - rate, largest - rate)
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


def _sorted(values: Array, name: str) -> Floats:
    found = as_tensor(values, f"scores of {name} images")
    if found.ndim != 1 or len(found) == 0 or found.is_complex():
        raise KdbenchError(
            f"scores of {name} images have shape {tuple(found.shape)}, expected (N,) with N of at least 1",
            "pass one real number an image",
        )
    scores = np.sort(found.cpu().double().numpy())
    if np.isnan(scores[-1]):
        raise KdbenchError(f"scores of {name} images are NaN", "check the checkpoint for NaN weights")
    return scores
