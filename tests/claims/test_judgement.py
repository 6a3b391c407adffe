"""From records and the per-example results beside them to a paired difference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import kdbench
from kdbench.claims.judgement import Judged, one_score, outcome
from kdbench.results import planning
from kdbench.results.evidence import Evidence
from tests.leaderboard.evidence import Made, N, make

ACCURACY = kdbench.Measure("clean", "clean", "accuracy")
PGD = kdbench.Measure("clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20, "rule": "worst"})
ECE = kdbench.Measure("clean", "calibration", "ece", {"bins": 15})
ONE, OTHER = kdbench.MethodConfig("one"), kdbench.MethodConfig("other")


def judged(made: list[Made], measure: kdbench.Measure, **changed: Any) -> Judged:
    return Judged.make(ONE, measure, [run(one, **changed) for one in made])


def run(made: Made, **changed: Any) -> Evidence:
    return Evidence(made.record, Path("record.json"), None, {**made.predictions, **changed})


def compared(first: Judged, second: Judged, measure: kdbench.Measure) -> Any:
    return outcome(kdbench.Comparison(ONE, OTHER, measure, "higher"), first, second)


def test_a_single_seeds_difference_is_the_paired_one_of_a_textbook() -> None:
    better, worse = make("better", skill=1.3), make("worse", skill=0.7)
    found = compared(judged([better], ACCURACY), judged([worse], ACCURACY), ACCURACY)
    gaps = better.predictions["clean/clean/correct"].astype(float) - worse.predictions["clean/clean/correct"]
    assert found.difference == pytest.approx(gaps.mean())
    half = stats.t.ppf(0.975, N - 1) * gaps.std(ddof=1) / N**0.5
    # The core adds half of a disagreement in each direction (Agresti & Min 2005).
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(half, rel=0.02)
    assert (found.paired, found.n, found.basis, found.seeds) == (True, N, "examples", [0])
    assert found.verdict == "holds"


def test_several_seeds_count_as_a_source_of_doubt() -> None:
    def side(method: str, skill: float) -> Judged:
        return judged([make(method, skill=skill, seed=seed) for seed in range(3)], ACCURACY)

    found = compared(side("better", 1.3), side("worse", 0.7), ACCURACY)
    assert (found.basis, found.seeds, found.paired) == ("seeds and examples", [0, 1, 2], True)
    assert len(found.first.runs) == len(set(found.first.runs)) == 3


def test_an_open_comparison_says_how_many_seeds_would_decide_it() -> None:
    first, second = (
        judged([make(name, skill=skill, seed=seed) for seed in range(3)], ACCURACY)
        for name, skill in (("better", 1.02), ("worse", 1.0))
    )
    found = compared(first, second, ACCURACY)
    assert found.verdict == "not shown"
    assert found.needed is not None
    assert found.needed.distance == pytest.approx(abs(found.difference))
    known = planning.spread(first.sample, second.sample, by_seed=False)
    assert found.needed.seeds == planning.seeds_needed(found.needed.distance, known)
    assert found.needed.fewest is None or found.needed.seeds is None or found.needed.fewest <= found.needed.seeds
    within = kdbench.Comparison(ONE, OTHER, ACCURACY, "equal", margin=abs(found.difference) + 0.003)
    assert outcome(within, first, second).needed.distance == pytest.approx(0.003)  # type: ignore[union-attr]
    assert ("No number of seeds" in found.outlook()) == (found.needed.seeds is None)


def test_a_decided_comparison_has_no_outlook_and_one_seed_shows_no_spread() -> None:
    better, worse = make("better", skill=1.3), make("worse", skill=0.7)
    assert compared(judged([better], ACCURACY), judged([worse], ACCURACY), ACCURACY).outlook() == ""
    open_ = compared(judged([make("a")], ACCURACY), judged([make("b")], ACCURACY), ACCURACY)
    assert (open_.verdict, open_.needed) == ("not shown", None)
    assert "measure a second" in open_.outlook()


def test_results_that_do_not_give_the_score_are_not_believed() -> None:
    made = make("mine")
    wrong = ~made.predictions["clean/clean/correct"]
    side = judged([made], ACCURACY, **{"clean/clean/correct": wrong})
    assert side.basis == "score"
    assert side.side.value == pytest.approx(one_score(made.record, ACCURACY).value)
    assert not compared(side, judged([make("other")], ACCURACY), ACCURACY).paired


def test_without_results_the_scores_own_intervals_are_compared() -> None:
    made = make("mine")
    score = one_score(made.record, ACCURACY)
    side = Judged.make(ONE, ACCURACY, [Evidence(made.record, Path("record.json"), None, None)])
    assert side.sample.interval == (score.ci_low, score.ci_high)
    assert side.sample.deviations is None


def test_other_test_images_are_not_paired() -> None:
    first, second = make("one"), make("two")
    moved = judged([second], PGD, **{"clean/pgd/index": np.arange(200)})
    assert compared(judged([first], PGD), judged([second], PGD), PGD).paired
    assert not compared(judged([first], PGD), moved, PGD).paired


def test_seeds_on_different_images_have_no_example_in_common() -> None:
    first, second = run(make("one", seed=0)), make("one", seed=1)
    moved = run(second, **{"clean/pgd/index": np.arange(200)})
    assert Judged.make(ONE, PGD, [first, moved]).sample.deviations is None
    assert Judged.make(ONE, PGD, [first, run(second)]).sample.deviations is not None


def test_calibration_is_compared_through_confidence_and_correctness() -> None:
    first, second = make("one", skill=1.6), make("two", skill=0.4)
    side = judged([first], ECE)
    assert side.side.value == pytest.approx(one_score(first.record, ECE).value, abs=2e-3)
    assert compared(side, judged([second], ECE), ECE).paired
    results = {name: array for name, array in first.predictions.items() if not name.endswith("clean/correct")}
    lacking = Judged.make(ONE, ECE, [Evidence(first.record, Path("record.json"), None, results)])
    assert lacking.basis == "score"


def test_a_failed_check_stands_beside_the_score() -> None:
    side = judged([make("mine", flagged=True)], PGD)
    assert len(side.side.doubts) == 1
    assert judged([make("mine")], PGD).side.doubts == []


@pytest.mark.parametrize(
    ("measure", "found"),
    [
        (dataclasses.replace(ACCURACY, metric="accuracies"), 0),
        (dataclasses.replace(ACCURACY, condition="sym-40"), 0),
        (kdbench.Measure("clean", "pgd", "robust_accuracy", {"steps": 20, "rule": "worst"}), 2),
    ],
)
def test_a_measure_means_one_score(measure: kdbench.Measure, found: int) -> None:
    with pytest.raises(kdbench.KdbenchError, match=f"a claim compares one score, found {found} of"):
        one_score(make("mine").record, measure)
