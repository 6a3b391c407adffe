from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray

from kdbench import metrics
from kdbench.results import comparison
from kdbench.results.comparison import (
    Sample,
    calibration_errors,
    difference,
    differences,
    estimate,
    from_intervals,
    shares,
)

Results = NDArray[np.bool_]


def students(
    rng: np.random.Generator, levels: list[float], *, seeds: int, n: int, spread: float = 0.0, flips: float = 0.5
) -> list[Results]:
    """Right answers (seeds, n) of several methods on the same images: where the image's ease, which all share, and the
    single network's noise are together above a threshold, which moves with the seed."""
    ease = rng.normal(size=n)
    found = []
    for level in levels:
        noise = flips * rng.normal(size=(seeds, n))
        shift = spread * rng.normal(size=(seeds, 1))
        found.append(ease + noise + shift + scipy.stats.norm.ppf(level) * np.sqrt(1 + flips**2 + spread**2) > 0)
    return found


def test_one_seed_of_plain_answers_has_wilsons_interval() -> None:
    right = np.arange(200) < 130
    found = estimate(shares(right))
    assert (found.ci_low, found.ci_high) == pytest.approx(metrics.wilson_interval(130, 200))
    assert (found.value, found.basis) == (0.65, "examples")


def test_one_seed_of_means_over_cells_has_students_interval_to_first_order() -> None:
    cells = np.random.default_rng(0).random((95, 3000)) < 0.6
    found = estimate(shares(cells.mean(0)))
    low, high = scipy.stats.t.interval(0.95, 2999, cells.mean(), scipy.stats.sem(cells.mean(0)))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=1e-5)
    assert found.ci_high - found.ci_low < 0.2 * np.ptp(metrics.wilson_interval(cells.mean() * 3000, 3000))


def test_variances_of_seeds_and_examples_are_added() -> None:
    right = students(np.random.default_rng(1), [0.7], seeds=4, n=500, spread=0.3)[0].astype(float)
    sample = shares(right)
    assert sample.seed_variance == pytest.approx(np.var(right.mean(1), ddof=1) / 4)
    assert sample.example_variance == pytest.approx(np.var(right.mean(0), ddof=1) / 500)
    found = estimate(sample)
    assert found.basis == "seeds and examples"
    parts = np.array([sample.seed_variance, sample.example_variance])
    dof = parts.sum() ** 2 / (parts**2 / [3, 499]).sum()
    half = scipy.stats.t.ppf(0.975, dof) * parts.sum() ** 0.5
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(half, rel=0.05)
    assert dof < 30  # three seeds more are not 500 examples


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_wrong_answer_in_three_seeds_is_no_certainty(value: float) -> None:
    found = estimate(shares(np.full((3, 2000), value)))
    low, high = found.ci_low, found.ci_high
    assert (low, high) == pytest.approx(metrics.wilson_interval(2000 * value, 2000))
    assert (high - low) > 0.001


def test_intervals_stay_inside_the_possible() -> None:
    rng = np.random.default_rng(2)
    for level in (0.001, 0.01, 0.99, 0.999):
        found = estimate(shares(students(rng, [level], seeds=2, n=100, spread=1)[0]))
        assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.1), (5, 0.3)])
def test_intervals_of_a_mean_cover_the_truth(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(3)
    drawn = [students(rng, [0.8], seeds=seeds, n=400, spread=spread)[0] for _ in range(400)]
    found = [estimate(shares(right)) for right in drawn]
    covered = np.mean([one.ci_low <= 0.8 <= one.ci_high for one in found])
    assert 0.92 <= covered <= 0.995


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.1), (5, 0.3)])
def test_intervals_of_a_difference_cover_the_truth_and_equal_methods_seldom_differ(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(4)
    drawn = [students(rng, [0.8, 0.75, 0.8], seeds=seeds, n=400, spread=spread) for _ in range(400)]
    found = [[shares(right) for right in trio] for trio in drawn]
    unlike = [difference(a, b) for a, b, _ in found]
    assert np.mean([one.ci_low <= 0.05 <= one.ci_high for one in unlike]) >= 0.93
    assert np.mean([difference(a, c).p_value < 0.05 for a, _, c in found]) <= 0.07


def test_pairing_is_worth_images() -> None:
    one, other = students(np.random.default_rng(5), [0.8, 0.78], seeds=1, n=5000, flips=0.1)
    paired = difference(shares(one, examples="x"), shares(other, examples="x"))
    apart = difference(shares(one, examples="x"), shares(other, examples="y"))
    assert (paired.paired, apart.paired) == (True, False)
    assert paired.value == pytest.approx(apart.value) == pytest.approx(one.mean() - other.mean())
    assert (paired.ci_high - paired.ci_low) < 0.6 * (apart.ci_high - apart.ci_low)
    assert paired.p_value < 0.001 < apart.p_value


def test_paired_difference_is_the_paired_t_test() -> None:
    one, other = students(np.random.default_rng(6), [0.7, 0.69], seeds=1, n=2000)
    found = difference(shares(one), shares(other))
    reference = scipy.stats.ttest_rel(one[0].astype(float), other[0].astype(float))
    assert found.p_value == pytest.approx(reference.pvalue, rel=0.01)
    interval = reference.confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high), abs=1e-4)


def test_few_disagreements_are_judged_about_like_mcnemars_exact_test() -> None:
    base = np.zeros(1000, dtype=bool)
    for extra in range(1, 12):
        better = np.arange(1000) < extra
        exact = scipy.stats.binomtest(0, extra).pvalue
        found = difference(shares(better), shares(base)).p_value
        assert 0.4 * exact < found < 2 * exact
        assert (found < 0.05) == (extra > 4)  # the plain t-test calls four disagreements significant
    assert difference(shares(base), shares(base)).p_value == 1
    assert difference(shares(base), shares(base)).ci_high > 0


def test_differences_are_antisymmetric_and_holes_stay_holes() -> None:
    rights = students(np.random.default_rng(7), [0.6, 0.7, 0.8], seeds=3, n=300, spread=0.1)
    samples: list[Sample | None] = [shares(right) for right in rights]
    samples.insert(1, None)
    found = differences(samples)
    np.testing.assert_allclose(found.value, -found.value.T)
    for matrix in (found.half_width, found.p_value):
        np.testing.assert_allclose(matrix, matrix.T)
        assert np.isnan(matrix[1]).all()
    assert not found.paired[1].any()
    alone = difference(shares(rights[0]), shares(rights[2]))
    assert found.p_value[0, 3] == pytest.approx(alone.p_value)
    assert found.value[0, 3] + found.half_width[0, 3] == pytest.approx(alone.ci_high)


def test_seeds_count_in_a_difference() -> None:
    rng = np.random.default_rng(8)
    steady, other = students(rng, [0.8, 0.8], seeds=3, n=1000)
    moved = other | (rng.random(other.shape) < np.array([[0.0], [0.3], [0.6]]))
    assert difference(shares(moved), shares(steady)).p_value > 0.05
    assert difference(shares(moved[1]), shares(steady[1])).p_value < 1e-6


def test_one_seed_against_three_is_not_taken_for_certain() -> None:
    rng = np.random.default_rng(14)
    drawn = [students(rng, [0.8, 0.8], seeds=3, n=1000, spread=0.2) for _ in range(300)]
    wrong = [difference(shares(one[:1]), shares(other)).p_value < 0.05 for one, other in drawn]
    assert np.mean(wrong) <= 0.07  # examples alone would call about two thirds of them different
    back = difference(shares(drawn[0][1]), shares(drawn[0][0][:1]))
    assert back.p_value == pytest.approx(difference(shares(drawn[0][0][:1]), shares(drawn[0][1])).p_value)


def test_scores_alone_are_compared_by_their_intervals() -> None:
    one = from_intervals([0.80], [0.78], [0.82], n=1500)
    other = from_intervals([0.75], [0.73], [0.77], n=1500)
    found = difference(one, other)
    assert found.paired is False
    half = 1.96 * 2**0.5 * 0.02 / 1.96
    assert (found.ci_low, found.ci_high) == pytest.approx((0.05 - half, 0.05 + half), rel=1e-2)
    assert (estimate(one).ci_low, estimate(one).ci_high, estimate(one).basis) == (0.78, 0.82, "score")
    three = from_intervals([0.80, 0.81, 0.79], [0.78, 0.79, 0.77], [0.82, 0.83, 0.81], n=1500)
    assert estimate(three).ci_low < 0.78
    assert estimate(three).basis == "score"


def test_numbers_that_are_no_fractions_are_not_bounded() -> None:
    found = estimate(from_intervals([12.0, 13.0], [10, 11], [14, 15], n=50, fraction=False))
    assert found.value == 12.5
    assert found.ci_high - 12.5 == pytest.approx(12.5 - found.ci_low)
    same = from_intervals([12.0], [12], [12], n=50, fraction=False)
    assert difference(same, same).p_value == 1


def _softmax(rng: np.random.Generator, n: int, sharpness: float) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.from_numpy(rng.normal(size=(n, 10))) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(int(rng.integers(9999))))
    return (logits * sharpness).softmax(1), labels[:, 0]


def test_calibration_errors_are_those_of_the_metric() -> None:
    probabilities, labels = _softmax(np.random.default_rng(9), 3000, 1.5)
    confidence = probabilities.amax(1).numpy()
    correct = (probabilities.argmax(1) == labels).numpy()
    sample = calibration_errors(confidence, correct)
    assert sample.values[0] == pytest.approx(metrics.expected_calibration_error(probabilities, labels), abs=1e-6)
    low, high = metrics.bootstrap_ece_interval(probabilities, labels)
    assert (sample.example_variance**0.5) == pytest.approx((high - low) / 3.92, rel=0.1)


def test_calibration_is_paired_by_common_resamples() -> None:
    rng = np.random.default_rng(10)
    probabilities, labels = _softmax(rng, 2000, 1.3)
    sharper = (probabilities.log() * 1.05).softmax(1)
    samples = [
        calibration_errors(p.amax(1).numpy(), (p.argmax(1) == labels).numpy(), examples="x")
        for p in (probabilities, sharper)
    ]
    found = difference(samples[1], samples[0])
    assert found.paired
    draws = rng.integers(2000, size=(300, 2000))
    naive = [
        metrics.expected_calibration_error(sharper[d], labels[d])
        - metrics.expected_calibration_error(probabilities[d], labels[d])
        for d in torch.from_numpy(draws)
    ]
    assert (found.ci_high - found.ci_low) / 3.92 == pytest.approx(np.std(naive), rel=0.25)
    alone = sum(sample.example_variance for sample in samples) ** 0.5
    assert (found.ci_high - found.ci_low) / 3.92 < alone / 2


def test_holm_is_the_step_down_procedure() -> None:
    rng = np.random.default_rng(11)
    given = rng.random(20) ** 4
    adjusted = comparison.holm(given)
    rejected = set()
    for step, place in enumerate(np.argsort(given)):
        if given[place] >= 0.05 / (20 - step):
            break
        rejected.add(int(place))
    assert set(np.flatnonzero(adjusted < 0.05)) == rejected
    assert 0 < len(rejected) < 20
    with_hole = comparison.holm(np.append(given, np.nan))
    np.testing.assert_allclose(with_hole[:-1], adjusted)
    assert np.isnan(with_hole[-1])


def test_many_pairs_are_corrected_for() -> None:
    rights = students(np.random.default_rng(12), [0.8] * 40, seeds=1, n=1000)
    found = differences([shares(right) for right in rights])
    uncorrected = int((found.p_value < 0.05).sum()) // 2
    corrected = comparison.significant(found)
    assert uncorrected > 10
    assert corrected.sum() == 0
    better = differences([*(shares(right) for right in rights), shares(np.ones((1, 1000)))])
    assert comparison.significant(better)[-1, :-1].all()
    assert comparison.significant(better)[:-1, -1].all()


def test_a_thousand_methods_take_one_product_of_matrices() -> None:
    table = np.random.default_rng(13).random((1000, 3, 200)) < 0.5
    found = differences([shares(right) for right in table])
    assert found.p_value.shape == (1000, 1000)
    lone = difference(shares(table[17]), shares(table[900]))
    assert found.p_value[17, 900] == pytest.approx(lone.p_value)


def test_seeds_in_pairs_are_a_paired_t_test_where_examples_add_nothing() -> None:
    rng = np.random.default_rng(11)
    shared = rng.normal(size=5)
    ours, theirs = shared + 0.1 * rng.normal(size=5), shared + 0.1 * rng.normal(size=5) - 0.2
    one, other = (Sample(values, 100, 0.0, np.zeros(100), "same", fraction=False) for values in (ours, theirs))
    found = difference(one, other, by_seed=True)
    test = scipy.stats.ttest_rel(ours, theirs)
    assert found.p_value == pytest.approx(test.pvalue)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.ci_high - found.ci_low < np.ptp([difference(one, other).ci_low, difference(one, other).ci_high])
    with pytest.raises(ValueError, match="seeds are paired, and there are 5 and 4"):
        difference(one, Sample(theirs[:4], 100, 0.0), by_seed=True)


def test_pairs_of_one_seed_are_compared_by_their_examples_alone() -> None:
    rng = np.random.default_rng(12)
    one, other = (shares(rng.random(300) < level) for level in (0.7, 0.6))
    assert difference(one, other, by_seed=True) == difference(one, other)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 5), (7, 7), (0, 12), (150, 190), (2000, 1)])
def test_the_sign_test_is_the_exact_binomial_one(gained: int, lost: int) -> None:
    expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1
    assert comparison.sign_test(gained, lost) == pytest.approx(expected)
    assert comparison.sign_test(lost, gained) == comparison.sign_test(gained, lost)
