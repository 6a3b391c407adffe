from __future__ import annotations

from rich.console import Console

from kdbench.cli.tables import score_tables
from kdbench.results.headline import headline
from kdbench.results.record import Check, Score
from kdbench.results.wording import FLAG, failed_checks, flagged, name, percent


def make(task: str, metric: str, value: float = 0.5, **setting: str | int) -> Score:
    return Score(
        task=task, metric=metric, condition="clean", setting=setting, value=value, n=200, ci_low=0.4, ci_high=0.6
    )


def test_a_score_is_named_by_task_metric_and_setting() -> None:
    assert name(make("pgd", "robust_accuracy", variant="pgd-std", steps=20)) == "pgd/robust_accuracy pgd-std steps 20"
    low = make("calibration", "ece", bins=15).model_copy(update={"higher_is_better": False})
    assert name(low) == "calibration/ece bins 15 (lower is better)"
    assert percent(low) == ("50.00 %", "40.00 - 60.00")


def test_of_many_scores_the_worst_case_or_the_means_are_shown() -> None:
    cells = [make("corruption", "accuracy", corruption=f"c{i}", severity=1) for i in range(95)]
    assert [score.metric for score in headline([make("corruption", "mca"), *cells])] == ["mca"]
    rules = [make("pgd", "robust_accuracy", steps=k, rule=rule) for k in (10, 20) for rule in ("worst", "mean", "any")]
    conditional = [make("pgd", "conditional_accuracy", steps=k, rule="worst") for k in (10, 20)]
    shown = headline([*rules, *conditional])
    assert [(score.metric, score.setting["steps"]) for score in shown] == [
        ("robust_accuracy", 10),
        ("robust_accuracy", 20),
    ]


def test_strangers_text_is_no_markup() -> None:
    console = Console(width=100, record=True)
    console.print(*score_tables([make("[red]task[/red]", "m")], [], "[bold]title"))
    text = console.export_text()
    assert "[red]task[/red]/m" in text
    assert "[bold]title" in text


def test_a_doubtful_score_is_marked_and_the_reason_told() -> None:
    check = Check(
        name="zero_gradients", task="pgd", condition="clean", setting={"variant": "pgd-std"}, passed=False,
        value=0.25, limit=0.01, n=200, flags=["pgd"], meaning="gradients vanish",
    )  # fmt: skip
    doubtful, other = (make("pgd", "robust_accuracy", variant=v, rule="worst") for v in ("pgd-std", "pgd-arani"))
    assert flagged(doubtful, [check]) == f"{name(doubtful)} {FLAG}"
    assert flagged(other, [check]) == name(other)
    [line] = failed_checks([check, check.model_copy(update={"passed": True})])
    assert "clean pgd zero_gradients pgd-std: 0.25 found, at most 0.01 expected, n = 200: gradients vanish" in line
    console = Console(width=150, record=True)
    console.print(*score_tables([doubtful, other], [check], "title"))
    text = console.export_text()
    assert text.count(FLAG) == 1


def test_a_task_with_many_scores_of_one_kind_is_not_left_out() -> None:
    attacks = [make("attack", metric, attack=f"a{i}") for metric in ("robust_accuracy", "other") for i in range(7)]
    assert headline(attacks) == attacks
