"""Which score stands for a task is one rule, for a column, a table and a pull request."""

from __future__ import annotations

import pytest

from kdbench.leaderboard.axes import columns
from kdbench.results.headline import Headline, headline_of, shown, unattacked_keys
from kdbench.results.record import Score
from kdbench.specs import Suite, TaskPlan
from kdbench.suites import load_suite
from tests.leaderboard.evidence import make as make_record


def make(task: str, metric: str, value: float = 0.5, **setting: str | int) -> Score:
    return Score(
        task=task, metric=metric, condition="clean", setting=setting, value=value, n=200, ci_low=0.4, ci_high=0.6
    )


def test_a_headline_picks_by_metric_and_setting() -> None:
    headline = Headline("PGD-20", "robust_accuracy", {"steps": 20, "rule": "worst"})
    assert headline.picks(make("pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="worst"))
    assert not headline.picks(make("pgd", "robust_accuracy", steps=10, rule="worst"))
    assert not headline.picks(make("pgd", "conditional_accuracy", steps=20, rule="worst"))
    assert not headline.picks(make("pgd", "robust_accuracy", steps=20))


def test_a_table_and_a_board_show_the_same_score_of_a_task() -> None:
    record = make_record().record
    suite = record.spec.suite
    in_table = {score.task: score for score in shown(record.scores, suite) if score.task in ("pgd", "corruption")}
    on_board = {column.axis.task: column for column in columns(suite, [])}
    for task in ("pgd", "corruption"):
        assert on_board[task].headline.picks(in_table[task])
        assert sum(score.task == task for score in shown(record.scores, suite)) == 1
    assert in_table["pgd"].setting == {"variant": "pgd-std", "steps": 20, "rule": "worst"}
    assert in_table["corruption"].metric == "mca"


def test_a_task_with_few_scores_is_shown_whole_and_the_order_is_kept() -> None:
    scores = [make("clean", "accuracy"), make("clean", "top5_accuracy"), *(make("ood", "a", k=k) for k in range(5))]
    assert shown(scores, load_suite("digits")) == scores


def test_of_many_attacks_each_has_a_row_of_the_headline_s_metric() -> None:
    names = [f"a{number}" for number in range(4)]
    suite = load_suite("digits").model_copy(update={"tasks": {"attack": TaskPlan(settings={"attacks": names})}})
    scores = [
        make("attack", metric, attack=name) for name in names for metric in ("robust_accuracy", "conditional_accuracy")
    ]
    assert [(s.metric, s.setting["attack"]) for s in shown(scores, suite)] == [("robust_accuracy", n) for n in names]


def test_a_task_that_is_not_installed_is_shown_by_its_first_score() -> None:
    scores = [make("foreign", "m", k=k) for k in range(9)]
    assert shown(scores, load_suite("digits")) == scores[:1]


@pytest.mark.parametrize("settings", [{"bins": []}, {"unknown": 1}])
def test_settings_that_a_task_does_not_understand_leave_it_without_a_headline(settings: dict[str, object]) -> None:
    suite: Suite = load_suite("digits").model_copy(update={"tasks": {"calibration": TaskPlan(settings=settings)}})
    assert headline_of(suite, "calibration") is None


def test_tasks_say_which_results_are_on_the_unattacked_images() -> None:
    assert unattacked_keys() == ("clean/correct", "noisy_label/correct")


def test_unit_and_direction_are_the_tasks_and_not_a_records() -> None:
    score = make_record().record.select("calibration", "ece")[0]
    headline = headline_of(make_record().record.spec.suite, "calibration")
    assert headline is not None
    assert (headline.unit, headline.higher_is_better) == ("fraction", False)
    assert headline.picks(score)
    for change in ({"higher_is_better": True}, {"unit": "nats"}):
        other = score.model_copy(update=change)
        assert headline.means(other)
        assert not headline.picks(other)
