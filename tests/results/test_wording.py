from __future__ import annotations

from kdbench.results.record import Check, Score
from kdbench.results.wording import FLAG, describe_setting, failed_checks, flagged, name, percent


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
    assert describe_setting({"variant": "pgd-std", "eps": 0.031, "random": True}) == "pgd-std eps 0.031 random True"


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
