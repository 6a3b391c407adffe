"""One method on one axis: mean, interval, flags, and results that do not give the scores."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.leaderboard.axes import columns
from kdbench.leaderboard.board import Measurement
from kdbench.leaderboard.cells import flags, measure
from kdbench.metrics import wilson_interval
from kdbench.results.record import Record, Score
from tests.leaderboard.evidence import Made, digits, make
from tests.leaderboard.ranked import evidence


def measured(*made: Made) -> dict[str, Measurement]:
    runs = [evidence(one) for one in made]
    return measure(columns(digits(), runs), runs)


def pgd(record: Record) -> Score:
    [score] = record.select("pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="worst")
    return score


def test_one_seed_has_its_score_and_wilsons_interval() -> None:
    made = make("a", tasks=["clean"], conditions=["clean"])
    [found] = measured(made).values()
    right = int(made.predictions["clean/clean/correct"].sum())
    assert found.value == right / 500
    assert (found.ci_low, found.ci_high) == pytest.approx(wilson_interval(right, 500), abs=1e-9)
    assert (found.basis, found.n) == ("examples", 500)
    assert found.per_seed == ((0, made.record.scores[0]),)
    assert (found.flags, found.contradicted) == ((), False)


def test_seeds_are_averaged_and_their_spread_is_in_the_interval() -> None:
    made = [make("a", seed=seed, tasks=["clean"], conditions=["clean"]) for seed in range(3)]
    [found] = measured(*made).values()
    results = np.stack([one.predictions["clean/clean/correct"] for one in made]).astype(float)
    assert found.value == pytest.approx(results.mean())
    assert [seed for seed, _ in found.per_seed] == [0, 1, 2]
    assert found.basis == "seeds and examples"
    variances = results.mean(1).var(ddof=1) / 3, results.mean(0).var(ddof=1) / 500
    assert (found.sample.seed_variance, found.sample.example_variance) == pytest.approx(variances)
    assert found.ci_low < found.value < found.ci_high
    assert found.ci_high - found.ci_low == pytest.approx(2 * 1.96 * sum(variances) ** 0.5, rel=0.05)


def test_an_axis_is_there_if_a_seed_has_its_score() -> None:
    found = measured(make("a", seed=0), make("a", seed=1, tasks=["clean"]))
    assert [seed for seed, _ in found["clean/pgd"].per_seed] == [0]
    assert [seed for seed, _ in found["clean/clean"].per_seed] == [0, 1]
    assert "clean/pgd" not in measured(make("a", tasks=["clean"]))
    assert measured() == {}


def test_results_that_do_not_give_the_score_are_contradicted_and_not_compared() -> None:
    made = make("a", tasks=["clean"], conditions=["clean"])
    name = "clean/clean/correct"
    made.predictions[name] = ~made.predictions[name]
    [found] = measured(made).values()
    assert found.contradicted
    assert (found.basis, found.value) == ("score", made.record.scores[0].value)
    assert found.sample.deviations is None


def test_missing_results_are_no_contradiction() -> None:
    made = make("a", tasks=["clean"], conditions=["clean"])
    made.predictions.clear()
    [found] = measured(made).values()
    assert (found.contradicted, found.basis) == (False, "score")


def test_a_failed_check_flags_the_scores_that_it_concerns_with_its_seeds() -> None:
    made = [make("a", seed=seed, flagged=seed != 1) for seed in range(3)]
    found = measured(*made)
    assert found["clean/pgd"].flags == ("Check large_eps of pgd failed: large_eps of pgd (seed 0, 2).",)
    assert found["clean/clean"].flags == ()


def test_each_reason_is_named_once() -> None:
    record = make("a", flagged=True).changed(checkpoint_rule="best-on-test").record
    reasons = flags([(record, pgd(record))])
    assert [reason.partition(" ")[0] for reason in reasons] == ["Check", "Its"]
    assert all(reason.endswith("(seed 0).") for reason in reasons)


def test_a_random_model_that_was_attacked_without_averaging_is_doubtful() -> None:
    record = make("a", random=True).record
    score = pgd(record)
    [reason] = flags([(record, score)])
    assert "answers at random" in reason
    averaged = score.model_copy(update={"setting": {**score.setting, "gradient_draws": 8, "votes": 32}})
    assert flags([(record, averaged)]) == ()
    assert flags([(record, record.select("clean", "accuracy")[0])]) == (), "no attack, no gradients"
    steady = make("a").record
    assert flags([(steady, pgd(steady))]) == ()


def test_the_text_of_a_check_is_one_line_of_bounded_length() -> None:
    made = make("a", flagged=True)
    checks = [check.model_copy(update={"meaning": "\u202e\n" + "x" * 9999}) for check in made.record.checks]
    record = made.changed(checks=checks).record
    [reason] = flags([(record, pgd(record))])
    assert reason.isprintable()
    assert len(reason) < 450
