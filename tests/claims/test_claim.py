"""A claim as data: what it compares, and how an interval is judged."""

from __future__ import annotations

import math
from typing import Any

import pytest

import kdbench
from kdbench.claims.claim import combined, tally

ONE, OTHER = kdbench.MethodConfig("one"), kdbench.MethodConfig("other", {"rate": 0.5})
ACCURACY = kdbench.Measure("clean", "clean", "accuracy")


def comparison(relation: str, margin: float = 0.0) -> kdbench.Comparison:
    return kdbench.Comparison(ONE, OTHER, ACCURACY, relation, margin)  # type: ignore[arg-type]  # some are wrong


@pytest.mark.parametrize(
    ("relation", "margin", "interval", "verdict"),
    [
        ("higher", 0.0, (0.001, 0.05), "holds"),
        ("higher", 0.0, (0.0, 0.05), "not shown"),
        ("higher", 0.0, (-0.01, 0.05), "not shown"),
        ("higher", 0.0, (-0.05, -0.01), "fails"),
        ("lower", 0.0, (-0.05, -0.01), "holds"),
        ("lower", 0.0, (-0.05, 0.01), "not shown"),
        ("lower", 0.0, (0.01, 0.05), "fails"),
        ("not lower", 0.02, (-0.01, 0.05), "holds"),
        ("not lower", 0.02, (-0.03, 0.05), "not shown"),
        ("not lower", 0.02, (-0.05, -0.03), "fails"),
        ("equal", 0.02, (-0.019, 0.019), "holds"),
        ("equal", 0.02, (-0.01, 0.03), "not shown"),
        ("equal", 0.02, (-0.05, 0.05), "not shown"),
        ("equal", 0.02, (0.03, 0.05), "fails"),
        ("equal", 0.02, (-0.05, -0.03), "fails"),
        ("higher", 0.0, (-1.0, 1.0), "not shown"),
    ],
)
def test_the_whole_interval_decides(relation: str, margin: float, interval: tuple[float, float], verdict: str) -> None:
    assert comparison(relation, margin).judge(*interval) == verdict


@pytest.mark.parametrize(
    ("relation", "margin", "message"),
    [
        ("above", 0.0, "no relation named 'above'"),
        ("hihger", 0.0, "did you mean 'higher'"),
        ("higher", 0.1, "relation 'higher' has the margin 0.1"),
        ("equal", 0.0, "relation 'equal' has the margin 0.0"),
        ("not lower", -0.1, "has the margin -0.1"),
        ("equal", math.inf, "has the margin inf"),
        ("equal", math.nan, "has the margin nan"),
    ],
)
def test_a_comparison_without_meaning_is_refused(relation: str, margin: float, message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        comparison(relation, margin)


def test_a_claim_that_compares_nothing_is_refused() -> None:
    with pytest.raises(kdbench.KdbenchError, match="claim 'empty' compares nothing"):
        kdbench.Claim("empty", "A paper", "Nothing.", [])


def test_each_method_is_measured_once_on_all_that_is_compared_of_it() -> None:
    robust = kdbench.Measure("clean", "transfer", "accuracy", {"source": "self"})
    claim = kdbench.Claim(
        "several",
        "A paper",
        "It is so.",
        [
            comparison("higher"),
            kdbench.Comparison(OTHER, ONE, robust, "lower"),
            kdbench.Comparison(ONE, ONE, robust, "lower", second_setting={"source": "teacher"}),
        ],
    )
    assert claim.configs() == [ONE, OTHER]
    assert [measure.setting.get("source") for measure in claim.measures(ONE)] == [None, "self", "self", "teacher"]
    assert [measure.task for measure in claim.measures(OTHER)] == ["clean", "transfer"]


def test_a_claim_is_no_better_than_its_worst_comparison() -> None:
    order = ["not measured", "fails", "not shown", "holds"]
    for place, worst in enumerate(order):
        assert combined([*order[place:], "holds"]) == worst  # type: ignore[arg-type, list-item]  # literals, as text


def test_a_comparison_says_what_it_compares() -> None:
    pgd = kdbench.Measure("clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20})
    text = str(kdbench.Comparison(ONE, OTHER, pgd, "equal", margin=0.02))
    assert text == "clean pgd/robust_accuracy pgd-std 20: one equal to other (rate 0.5) within 0.02"


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"holds": 1}, "of 1 comparison 1 holds"),
        ({"holds": 2, "not shown": 1}, "of 3 comparisons 2 hold, 1 open"),
        ({"not measured": 1, "fails": 2, "holds": 1}, "of 4 comparisons 1 holds, 2 fail, 1 not measured"),
    ],
)
def test_comparisons_are_counted_by_their_verdicts(counts: dict[Any, int], text: str) -> None:
    assert tally(counts) == text
