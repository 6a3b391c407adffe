from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from kdbench.comparing.contestants import find
from kdbench.comparing.names import choose
from kdbench.comparing.plan import Needed, assumptions, in_points, plan
from kdbench.comparing.writing import needed_data, needed_text
from kdbench.errors import KdbenchError
from kdbench.results.planning import seeds_needed
from tests.leaderboard.evidence import make


def planned(runs: Path, wanted: float = 0.02, by_seed: bool = True) -> list[Needed]:
    field = find(["ce", "kd"], runs)
    return plan(field.contestants, choose(field.suite, field.runs, ["clean"]), wanted, by_seed=by_seed)


def test_the_spread_is_that_of_differences_seed_by_seed(runs: Path) -> None:
    values: dict[str, list[float]] = {"ce": [], "kd": []}
    for name, own in values.items():
        for seed in range(3):
            made = make(name, seed=seed, tasks=["clean"], conditions=["clean"])
            made.keep(runs)
            own.append(float(made.predictions["clean/clean/correct"].mean()))
    [row] = planned(runs)
    apart = np.subtract(values["kd"], values["ce"])
    assert row.spread.sd == pytest.approx(apart.std(ddof=1))
    assert row.difference == pytest.approx(apart.mean())
    low, high = (row.spread.sd * (2 / scipy.stats.chi2.ppf(tail, 2)) ** 0.5 for tail in (0.975, 0.025))
    assert row.spread.sd_interval == pytest.approx((low, high))
    assert row.fixed == seeds_needed(0.02, row.spread, fixed_images=True)
    assert row.fixed_range == tuple(seeds_needed(0.02, row.spread.at(sd), fixed_images=True) for sd in (low, high))
    assert row.needed is None or row.more == max(0, row.needed - 3)
    [independent] = planned(runs, by_seed=False)
    assert independent.spread.sd == pytest.approx(np.hypot(*(np.std(own, ddof=1) for own in values.values())))


def test_few_test_images_set_a_floor_that_is_named(runs: Path) -> None:
    for name in ("ce", "kd"):
        for seed in (0, 1):
            make(name, seed=seed, tasks=["clean"], conditions=["clean"], skill=1 + (name == "kd")).keep(runs)
    [row] = planned(runs, 0.001)
    assert row.needed is None
    assert row.least > 0.001
    notes = assumptions([row])
    assert any(note.startswith("Where no number of seeds suffices, the test images decide") for note in notes)
    assert any(note.startswith("With 2 seeds the spread itself is hardly known") for note in notes)
    assert needed_text([row]).rows[0][-1] == "never"
    assert needed_data([row])[0]["needed"] is None


def test_one_seed_shows_no_spread(runs: Path) -> None:
    make("ce", tasks=["clean"]).keep(runs)
    make("kd", tasks=["clean"]).keep(runs)
    make("kd", seed=1, tasks=["clean"]).keep(runs)
    with pytest.raises(KdbenchError, match="needs two seeds in common, found of ce 1, kd 2 .run a second seed"):
        planned(runs)


def test_points_are_a_word() -> None:
    assert (in_points(0.01), in_points(0.005)) == ("1 point", "0.5 points")
