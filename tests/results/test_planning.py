from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kdbench.results.comparison import Sample, difference, shares
from kdbench.results.planning import (
    MOST_SEEDS,
    Spread,
    least_difference,
    paired_spread,
    power,
    seeds_needed,
    spread,
)


def of_noncentral_t(difference: float, sd: float, count: int) -> float:
    """Power of a t test over pairs, from scipy's distribution."""
    edge, shift = scipy.stats.t.ppf(0.975, count - 1), difference / sd * count**0.5
    return float(scipy.stats.nct.sf(edge, count - 1, shift) + scipy.stats.nct.cdf(-edge, count - 1, shift))


@pytest.mark.parametrize("count", [2, 3, 5, 20, 400])
@pytest.mark.parametrize("effect", [0.2, 1.0, 2.5])
def test_power_over_seeds_is_that_of_the_noncentral_t(effect: float, count: int) -> None:
    found = power(0.01 * effect, count, Spread(0.01**2, 2), fixed_images=True)
    assert found == pytest.approx(of_noncentral_t(effect, 1, count), abs=1e-5)


def test_power_without_a_difference_is_the_level_and_a_huge_one_is_certain() -> None:
    assert power(0.0, 5, Spread(1.0, 2), fixed_images=True) == pytest.approx(0.05, abs=1e-5)
    assert power(1.0, 2, Spread(1e-8, 2), fixed_images=True) == pytest.approx(1)
    assert power(0.1, 2, Spread(0.0, 2), fixed_images=True) == 1


@pytest.mark.parametrize(("effect", "count"), [(0.5, 34), (1.0, 10), (2.0, 5)])
def test_seeds_needed_are_those_of_tables_of_power(effect: float, count: int) -> None:
    """Cohen's d of pairs at 5 % two-sided and a power of 80 %: 34, 10 and 5 pairs, as G*Power and statsmodels say."""
    assert seeds_needed(effect, Spread(1.0, 9), fixed_images=True) == count
    assert of_noncentral_t(effect, 1, count) >= 0.8 > of_noncentral_t(effect, 1, count - 1)


def test_power_over_seeds_and_images_is_that_of_the_test_itself() -> None:
    """Crossed normal effects, judged by ``difference`` as a comparison does."""
    rng = np.random.default_rng(0)
    count, n, apart, sd_seed, sd_image, sd_both = 6, 100, 0.04, 0.02, 0.2, 0.3
    hits = 0
    for _ in range(900):
        table = apart + sd_seed * rng.normal(size=(count, 1)) + sd_image * rng.normal(size=n)
        table = table + sd_both * rng.normal(size=(count, n))
        means = table.mean(0)
        deviations = (means - means.mean()) / np.sqrt(n * (n - 1))
        one = Sample(table.mean(1), n, float(deviations @ deviations), deviations, "same")
        hits += difference(one, Sample(np.zeros(count), n, 0.0, np.zeros(n), "same"), by_seed=True).p_value < 0.05
    known = Spread(sd_seed**2 + sd_both**2 / n, 5, images=sd_image**2 / n, each=sd_both**2 / n, n=n)
    assert power(apart, count, known) == pytest.approx(hits / 900, abs=0.045)


def test_the_parts_of_the_spread_are_found_again() -> None:
    rng = np.random.default_rng(1)
    n, seeds = 4000, 40
    ease = rng.normal(size=n)
    ours = ease + rng.normal(size=(seeds, n)) + 0.05 * rng.normal(size=(seeds, 1)) > 0
    theirs = 0.7 * ease + 0.7 * rng.normal(size=n) + rng.normal(size=(seeds, n)) > 0
    found = paired_spread(ours, theirs)
    apart = ours.astype(float) - theirs
    halves = apart[:20].mean(0), apart[20:].mean(0)  # of two independent halves the covariance is that of images
    assert found.images == pytest.approx(np.cov(*halves)[0, 1] / n, rel=0.1)
    assert found.seeds == pytest.approx(apart.mean(1).var(ddof=1))
    assert found.images + found.each / seeds == pytest.approx(apart.mean(0).var(ddof=1) / n)


def test_from_samples_alone_the_image_part_is_as_it_is_now() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (rng.random((3, 500)) < level for level in (0.7, 0.6))
    found = spread(shares(ours), shares(theirs), by_seed=True)
    whole = paired_spread(ours, theirs)
    assert (found.seeds, found.known) == (pytest.approx(whole.seeds), 2)
    assert found.images == pytest.approx(whole.images + whole.each / 3, rel=0.1)
    alone = spread(shares(ours), shares(theirs), by_seed=False)
    assert alone.seeds == pytest.approx(ours.mean(1).var(ddof=1) + theirs.mean(1).var(ddof=1))
    assert 1 <= alone.freedom <= 2
    assert 2 <= alone.known <= 4


def test_a_spread_has_its_chi_square_interval() -> None:
    low, high = Spread(1.0, 2).sd_interval
    assert (low, high) == pytest.approx((0.5207, 6.2847), abs=1e-3)


def test_images_set_a_floor_below_which_no_number_of_seeds_helps() -> None:
    known = Spread(0.01**2, 2, images=0.005**2, n=2000)
    floor = least_difference(known)
    assert seeds_needed(0.98 * floor, known) is None
    assert seeds_needed(1.1 * floor, known) is not None
    assert power(floor, MOST_SEEDS, known) == pytest.approx(0.8, abs=1e-3)
    assert seeds_needed(0.98 * floor, known, fixed_images=True) is not None
