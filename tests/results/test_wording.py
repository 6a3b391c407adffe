from __future__ import annotations

import pytest

from kdbench.results.record import Check, Score
from kdbench.results.wording import FLAG, describe_setting, failed_checks, flagged, name, percent, shared, words


def make(task: str, metric: str, value: float = 0.5, **setting: str | int) -> Score:
    return Score(
        task=task, metric=metric, condition="clean", setting=setting, value=value, n=200, ci_low=0.4, ci_high=0.6
    )


def test_a_score_is_named_by_task_metric_and_setting() -> None:
    assert name(make("pgd", "robust_accuracy", variant="pgd-std", steps=20)) == "pgd/robust_accuracy pgd-std steps 20"
    low = make("calibration", "ece", bins=15).model_copy(update={"higher_is_better": False})
    assert name(low) == "calibration/ece bins 15 (lower is better)"
    assert percent(low) == ("50.00 %", "40.00 - 60.00")


def test_a_score_that_is_no_fraction_has_its_unit() -> None:
    seconds = make("speed", "step", value=0.012345).model_copy(
        update={"unit": "s", "ci_low": 0.01, "ci_high": 123456.0}
    )
    assert percent(seconds) == ("0.01235 s", "0.01 - 1.235e+05")


def test_a_setting_is_its_values_numbers_with_their_names() -> None:
    assert describe_setting({}) == ""
    assert describe_setting({"variant": "pgd-std", "eps": 0.031, "random": True}) == "pgd-std eps .031 random true"


def test_a_setting_is_one_line_of_names_and_values() -> None:
    assert words({"variant": "é", "steps": 20, "on": True, "list": [1, "ü"]}) == (
        "variant é, steps 20, on true, list [1, ü]"
    )
    assert words({}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (False, "false"), (0, "0"), (2 / 255, "0.00784314"), (1e-6, "1e-06"), ("", ""), ((), "none"),
     ([1, None], "1, none"), ([[1, 2], []], "[1, 2], none"), (float("inf"), "inf"), (1 / 3, "0.333333"),
     ({"batch_size": 8, "milestones": []}, "batch_size 8, milestones none"),
     ({"step_sizes": {"a": 2 / 255, "b": 0.03}, "options": {}}, "step_sizes (a 2/255, b .03), options none")],
)  # fmt: skip
def test_values_of_all_kinds(value: object, text: str) -> None:
    assert words(value) == text


def test_a_distance_is_known_by_its_name() -> None:
    assert words(2 / 255, "eps") == "2/255"
    assert words([2 / 255, 0.031], "step_sizes") == "2/255, .031"
    assert words(1, "eps") == "1"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.031, ".031"), (2 / 255, "2/255"), (0.00784313725490196, "2/255"), (0.0, "0"), (1.0, "255/255"), (1e-9, "1e-09"),
     (0.00196078431372549, ".00196"), (-0.1, "-0.1"), (1e308, "1e+308")],
)  # fmt: skip
def test_distances_are_in_levels_where_these_are_whole(value: float, written: str) -> None:
    assert words({"eps": value, "other": 0.5}) == f"eps {written}, other 0.5"
    assert describe_setting({"step_size": value}) == f"step_size {written}"


def test_what_is_known_of_a_setting_is_left_out_of_a_name() -> None:
    score = make("pgd", "robust_accuracy", variant="pgd-std", steps=20)
    assert name(score, {"variant": "pgd-std"}) == "pgd/robust_accuracy steps 20"
    assert shared([{"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1}]) == {"a": 1}
    assert shared([]) == {}


def test_a_doubtful_score_is_marked_and_the_reason_given() -> None:
    check = Check(
        name="zero_gradients", task="pgd", condition="clean", setting={"variant": "pgd-std"}, passed=False,
        value=0.25, limit=0.01, n=200, flags=["pgd"], meaning="gradients vanish",
    )  # fmt: skip
    doubtful, other = (make("pgd", "robust_accuracy", variant=v, rule="worst") for v in ("pgd-std", "pgd-arani"))
    assert flagged(doubtful, [check]) == f"{name(doubtful)} {FLAG}"
    assert flagged(other, [check]) == name(other)
    [line] = failed_checks([check, check.model_copy(update={"passed": True})])
    assert line == (
        f"{FLAG} clean pgd zero_gradients pgd-std: 0.25 found, at most 0.01 expected, n = 200: gradients vanish"
    )
