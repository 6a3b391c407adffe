from __future__ import annotations

from rich.console import Console

from kdbench.cli.tables import score_tables
from kdbench.results.record import Check, Score
from kdbench.results.wording import FLAG, failed_checks, flagged, name, percent
from kdbench.suites import load_suite


def make(task: str, metric: str, value: float = 0.5, **setting: str | int) -> Score:
    return Score(
        task=task, metric=metric, condition="clean", setting=setting, value=value, n=200, ci_low=0.4, ci_high=0.6
    )


def test_a_score_is_named_by_task_metric_and_setting() -> None:
    assert name(make("pgd", "robust_accuracy", variant="pgd-std", steps=20)) == "pgd/robust_accuracy pgd-std steps 20"
    low = make("calibration", "ece", bins=15).model_copy(update={"higher_is_better": False})
    assert name(low) == "calibration/ece bins 15 (lower is better)"
    assert percent(low) == ("50.00 %", "40.00 - 60.00")


def test_untrusted_text_is_no_markup() -> None:
    console = Console(width=100, record=True)
    console.print(*score_tables([make("[red]task[/red]", "m")], [], "[bold]title", load_suite("digits")))
    text = console.export_text()
    assert "[red]task[/red]/m" in text
    assert "[bold]title" in text


def test_a_doubtful_score_is_marked_and_the_reason_stated() -> None:
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
    console.print(*score_tables([doubtful, other], [check], "title", load_suite("digits")))
    text = console.export_text()
    assert text.count(FLAG) == 1
