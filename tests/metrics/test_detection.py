"""Out-of-distribution detection: values against scikit-learn, intervals against the truth of made-up scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from kdbench.errors import KdbenchError
from kdbench.metrics import (
    auroc,
    auroc_interval,
    detection_scores,
    false_positive_rate,
    false_positive_rate_interval,
)


def drawn(inside: int, outside: int, apart: float, *, seed: int = 0, tied: bool = False) -> tuple[np.ndarray, ...]:
    """Normal scores of both kinds of images; rounded to tenths, many are tied."""
    random = np.random.default_rng(seed)
    both = random.normal(apart, 1, inside), random.normal(0, 1, outside)
    return tuple(values.round(1) for values in both) if tied else both


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("inside", "outside", "apart"), [(500, 300, 1.0), (37, 211, 0.0), (400, 400, 3.0), (1, 1, 1.0)]
)
def test_values_are_those_of_scikit_learn(inside: int, outside: int, apart: float, tied: bool) -> None:
    ins, outs = drawn(inside, outside, apart, tied=tied)
    truth, scores = np.r_[np.ones(inside), np.zeros(outside)], np.r_[ins, outs]
    assert auroc(ins, outs) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert false_positive_rate(ins, outs) == pytest.approx(false[true >= 0.95][0], abs=1e-12)


def test_scores_are_those_of_their_papers() -> None:
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 5
    found = detection_scores(logits)
    exact = logits.double().numpy()
    assert np.allclose(found["max_softmax"], log_softmax(exact, axis=1).max(1), rtol=1e-6)
    assert np.allclose(found["max_logit"], exact.max(1), rtol=1e-6)
    assert np.allclose(found["energy"], logsumexp(exact, axis=1), rtol=1e-6)
    assert all(score.dtype == torch.float32 and score.shape == (50,) for score in found.values())


def test_softmax_outputs_next_to_one_keep_their_order() -> None:
    """A student that is very sure: in float32 all of these outputs are 1, and AUROC would be a half."""
    inside, outside = (detection_scores(torch.tensor([[logit, 0.0]]))["max_softmax"] for logit in (60.0, 50.0))
    assert torch.tensor([50.0, 0.0]).softmax(0).max() == 1
    assert auroc(inside, outside) == 1


def test_one_class_is_always_sure() -> None:
    assert detection_scores(torch.tensor([[3.0]]))["max_softmax"].item() == 0


@pytest.mark.parametrize(("inside", "outside", "apart"), [(300, 600, 0.5), (300, 600, 2.0), (500, 1000, 4.5)])
def test_intervals_hold_the_truth(inside: int, outside: int, apart: float) -> None:
    """In 300 draws a 95 % interval that keeps its word misses the truth 29 times or more in 1 of 1,000 tests."""
    areas, rates = norm.cdf(apart / 2**0.5), norm.sf(apart + norm.ppf(0.05))
    missed = np.zeros(2)
    for seed in range(300):
        scores = drawn(inside, outside, apart, seed=seed)
        low, high = auroc_interval(*scores)
        missed[0] += not low <= areas <= high
        low, high = false_positive_rate_interval(*scores)
        missed[1] += not low <= rates <= high
    assert binomtest(29, 300, 0.05, alternative="greater").pvalue < 1e-3
    assert (missed < 29).all()


def test_the_interval_of_an_area_has_delongs_width() -> None:
    """Variance by the definition: half the two sets' variances of the share of the other set that each is above."""
    ins, outs = drawn(80, 120, 1.0)
    above = (ins[:, None] > outs).astype(float)
    variance = above.mean(1).var(ddof=1) / 80 + above.mean(0).var(ddof=1) / 120
    low, high = auroc_interval(ins, outs)
    assert high - low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.03)


def test_intervals_have_a_width_where_nothing_is_confused() -> None:
    inside, outside = np.arange(100.0) + 50, np.arange(40.0)
    assert (auroc(inside, outside), false_positive_rate(inside, outside)) == (1, 0)
    low, high = auroc_interval(inside, outside)
    assert high == 1 and low == pytest.approx(binomtest(40, 40).proportion_ci(0.95, method="wilson").low)
    low, high = false_positive_rate_interval(inside, outside)
    assert low == 0 and high == pytest.approx(binomtest(0, 40).proportion_ci(0.95, method="wilson").high)
    assert auroc(outside, inside) == 0 and auroc_interval(outside, inside)[0] == 0


@pytest.mark.parametrize("inside", [1, 5, 59])
def test_a_threshold_of_few_images_is_hardly_known(inside: int) -> None:
    """The lowest of a few scores may lie above 95 % of all: then no upper bound can be given."""
    ins, outs = drawn(inside, 200, 2.0)
    low, high = false_positive_rate_interval(ins, outs)
    assert low <= false_positive_rate(ins, outs) <= high == 1


def test_equal_scores_tell_nothing() -> None:
    same = torch.ones(30)
    assert auroc(same, same) == 0.5
    low, high = auroc_interval(same, same)
    assert 0.3 < low < 0.5 < high < 0.7
    assert false_positive_rate(same, same) == 1


@pytest.mark.parametrize("function", [auroc, auroc_interval, false_positive_rate, false_positive_rate_interval])
@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (torch.zeros(0), "scores of in-distribution images have shape"),
        (torch.zeros(2, 2), "scores of in-distribution images have shape"),
        (torch.tensor([1.0, float("nan")]), "scores of in-distribution images are NaN"),
        ([1.0], "scores of in-distribution images found list"),
    ],
)
def test_other_scores_are_refused(function, inside, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        function(inside, torch.ones(3))


@pytest.mark.parametrize("function", [auroc_interval, false_positive_rate_interval])
def test_a_confidence_that_is_none(function) -> None:
    with pytest.raises(KdbenchError, match="confidence is 1"):
        function(torch.ones(3), torch.ones(3), confidence=1)
