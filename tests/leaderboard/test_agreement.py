"""Whether two measurements agree, against counts and intervals worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from kdbench.leaderboard.agreement import Examples, compare
from kdbench.metrics import wilson_interval
from kdbench.results.record import Score


def share(value: float, n: int) -> Score:
    low, high = wilson_interval(value * n, n)
    return Score(task="t", metric="accuracy", condition="c", value=value, n=n, ci_low=low, ci_high=high)


def one(old: Score, new: Score, *, whole: bool) -> str:
    [agreement] = compare([old], [new], lambda score: None, whole=whole)
    return agreement.verdict


def test_without_examples_the_intervals_decide() -> None:
    old = share(0.8, 1000)
    assert one(old, share(0.8, 1000), whole=True) == "same"
    assert one(old, share(0.81, 1000), whole=True) == "within interval"
    assert one(old, share(0.84, 1000), whole=True) == "not"
    assert one(old, share(0.75, 100), whole=False) == "within interval"
    assert one(old, share(0.5, 100), whole=False) == "not"


def test_by_examples_gains_and_losses_decide() -> None:
    """Five against five is chance; ten against none is not: p = 2 / 2^10."""
    old, new = np.zeros(100, bool), np.zeros(100, bool)
    old[:5], new[5:10] = True, True
    [agreement] = compare([share(0.05, 100)], [share(0.05, 100)], lambda score: Examples(old, new), whole=True)
    assert agreement.verdict == "within interval"
    [agreement] = compare(
        [share(0.0, 100)],
        [share(0.1, 100)],
        lambda score: Examples(np.zeros(100, bool), np.arange(100) < 10),
        whole=True,
    )
    assert (agreement.verdict, agreement.basis) == ("not", "10 examples gained and 0 lost, p = 0.002")


def test_a_sample_that_differs_by_more_than_both_intervals_allow_is_not_the_same() -> None:
    """The sides that face each other, of .03 and .04, allow .05 at 95 %."""
    old = share(0.5, 1000).model_copy(update={"ci_low": 0.4, "ci_high": 0.53})
    for value, verdict in ((0.5499, "within interval"), (0.5501, "not")):
        new = share(0.5, 500).model_copy(update={"value": value, "ci_low": value - 0.04, "ci_high": 0.9})
        assert one(old, new, whole=False) == verdict
        assert one(new, old, whole=False) == verdict


def test_confidences_may_drift_a_little_in_the_mean() -> None:
    confidence = np.full(100, 0.5, dtype=np.float32)
    for moved, verdict in ((0, "same"), (0.009, "within interval"), (0.011, "not")):
        [agreement] = compare(
            [share(0.5, 100)],
            [share(0.5, 100)],
            lambda score, m=moved: Examples(confidence, confidence + m),
            whole=True,
        )
        assert agreement.verdict == verdict


def test_every_recorded_score_has_a_verdict() -> None:
    first, second = share(0.5, 100), share(0.5, 100).model_copy(update={"setting": {"steps": 20}})
    found = compare([first, second], [second], lambda score: None, whole=True)
    assert [(one.score, one.verdict) for one in found] == [(first, "not reproduced"), (second, "same")]
    assert [one.verdict for one in compare([first], [], lambda score: None, whole=False)] == ["unchecked"]
    assert json.dumps([one.to_dict() for one in found], allow_nan=False)


def test_on_the_machine_of_the_record_within_the_interval_is_not_the_same() -> None:
    old, new = share(1.0, 1000), share(0.99, 1000).model_copy(update={"ci_low": 0.9})
    old = old.model_copy(update={"ci_low": 0.98})
    [elsewhere] = compare([old], [new], lambda score: None, whole=True)
    [here] = compare([old], [new], lambda score: None, whole=True, exact=True)
    assert (elsewhere.verdict, here.verdict) == ("within interval", "not")
    assert here.basis.startswith("the machine of the record gives the same bits")
    [same] = compare([old], [old], lambda score: None, whole=True, exact=True)
    assert same.verdict == "same"


def test_equal_confidences_do_not_excuse_another_score() -> None:
    confidence = Examples(np.full(100, 0.5, np.float32), np.full(100, 0.5, np.float32))
    old, new = share(0.5, 100), share(0.9, 100)
    [found] = compare([old], [new], lambda score: confidence, whole=True)
    assert found.verdict == "not"


def test_a_record_that_says_less_of_its_settings_is_compared_all_the_same() -> None:
    """Records from before a score said its attack's budget were left out score by score, and nothing was refuted."""

    def score(value: float, **setting: Any) -> Score:
        return share(value, 100).model_copy(update={"setting": setting})

    old = [score(0.5, steps=10, rule="worst"), score(0.4, steps=20, rule="worst")]
    new = [score(0.5, steps=k, rule=rule, eps=0.031) for k in (10, 20) for rule in ("worst", "any")]
    found = compare(old, new, lambda score: None, whole=True)
    assert [(one.score.setting["steps"], one.verdict) for one in found] == [(10, "same"), (20, "not")]
    for unknown in (score(0.5, rule="worst"), score(0.5, steps=10, rule="worst", eps=0.01)):
        [one] = compare([unknown], new, lambda score: None, whole=True)
        assert one.verdict == "not reproduced", "which of the two it is, or that it is any, is not known"


def test_of_many_scores_of_an_honest_record_hardly_one_is_called_not() -> None:
    """The level holds over all scores: among 40 records of 25 scores with chance flips, about one in 20 at most."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        scores = [share(0.5, 40).model_copy(update={"metric": f"m{i}"}) for i in range(25)]
        flips = {score.metric: rng.random(40) < 0.5 for score in scores}

        def examples(score: Score, flips: dict[str, Any] = flips) -> Examples:
            return Examples(flips[score.metric], ~flips[score.metric])

        refused += any(agreement.verdict == "not" for agreement in compare(scores, scores, examples, whole=True))
    assert refused <= 5


def test_the_level_holds_over_all_tasks() -> None:
    """Ten against none, p = 2 / 2^10 = .00195: rare for the one score of one of 25 tasks (.05 / 25), not of 26."""
    both = Examples(np.zeros(100, bool), np.arange(100) < 10)
    found = [
        compare([share(0.0, 100)], [share(0.1, 100)], lambda score: both, whole=False, tasks=tasks)[0].verdict
        for tasks in (1, 25, 26)
    ]
    assert found == ["not", "not", "within interval"]
