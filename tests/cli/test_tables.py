from __future__ import annotations

from typing import Any

from rich.console import Console

from kdbench.cli.tables import score_tables, seeds_tables
from kdbench.results.record import Check, Score
from kdbench.results.wording import FLAG
from kdbench.suites import load_suite
from tests.leaderboard.evidence import make as make_run


def make(task: str, metric: str, value: float = 0.5, **setting: str | int | float) -> Score:
    return Score(
        task=task, metric=metric, condition="clean", setting=setting, value=value, n=200, ci_low=0.4, ci_high=0.6
    )


def test_untrusted_text_is_no_markup() -> None:
    console = Console(width=100, record=True)
    console.print(*score_tables([make("[red]task[/red]", "m")], [], "[bold]title", load_suite("digits")))
    text = console.export_text()
    assert "[red]task[/red]/m" in text
    assert "[bold]title" in text


def test_a_doubtful_score_is_marked_in_the_table() -> None:
    check = Check(
        name="zero_gradients", task="pgd", condition="clean", setting={"variant": "pgd-std"}, passed=False,
        value=0.25, limit=0.01, n=200, flags=["pgd"], meaning="gradients vanish",
    )  # fmt: skip
    doubtful, other = (make("pgd", "robust_accuracy", variant=v, rule="worst") for v in ("pgd-std", "pgd-arani"))
    console = Console(width=150, record=True)
    console.print(*score_tables([doubtful, other], [check], "title", load_suite("digits")))
    assert console.export_text().count(FLAG) == 1


def test_seeds_are_a_mean_and_a_standard_deviation() -> None:
    """Of .5 and .6: mean .55, standard deviation .1 / sqrt(2); a score that one seed has not has none."""
    records = [
        make_run(seed=seed).record.model_copy(
            update={"scores": [make("clean", "accuracy", value), *extra], "checks": []}
        )
        for seed, value, extra in ((0, 0.5, [make("ood", "accuracy", 0.25)]), (1, 0.6, []))
    ]
    [table] = seeds_tables(records, "title")
    assert table.title == "title, condition clean"
    assert [str(column.header) for column in table.columns] == ["measured", "mean of 2 seeds", "sd over seeds"]
    assert [list(column.cells) for column in table.columns] == [
        ["clean/accuracy", "ood/accuracy"], ["55.00 %", "25.00 %"], ["7.07", "-"],
    ]  # fmt: skip


def test_the_budget_of_an_attack_is_said_once() -> None:
    """The table showed PGD at 2/255 and transfer at 8/255, and named neither."""
    budget: dict[str, Any] = {"eps": 2 / 255, "step_size": 0.00196078431372549, "restarts": 1, "start": "zero"}
    transfer = [make("transfer", "accuracy", source=source, **budget) for source in ("teacher", "self")]
    pgd = make("pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="worst", **budget)
    [table] = score_tables([make("ood", "accuracy", dataset="far"), pgd, *transfer], [], "title", load_suite("digits"))
    said = "eps 2/255, step_size .00196, restarts 1, start zero"
    rows = ["ood/accuracy far", f"pgd: {said}", "pgd/robust_accuracy pgd-std steps 20 worst", f"transfer: {said}",
            "transfer/accuracy teacher", "transfer/accuracy self"]  # fmt: skip
    assert list(table.columns[0].cells) == rows
    assert list(table.columns[3].cells) == ["200", "", "200", "", "200", "200"]
    record = make_run().record.model_copy(update={"scores": [pgd, *transfer], "checks": []})
    [table] = seeds_tables([record, record], "title")
    assert list(table.columns[0].cells) == rows[1:]


def test_one_table_per_condition() -> None:
    scores = [make("clean", "accuracy"), make("clean", "accuracy").model_copy(update={"condition": "sym-40"})]
    assert [table.title for table in score_tables(scores, [], "ce", load_suite("digits"))] == [
        "ce, condition clean",
        "ce, condition sym-40",
    ]


def test_a_table_says_what_the_student_saw() -> None:
    scores = [make("clean", "accuracy"), make("clean", "accuracy").model_copy(update={"condition": "sym-40"})]
    tables = score_tables(scores, [], "nrd", load_suite("digits"), {"clean": "strong"})
    assert [table.title for table in tables] == ["nrd, condition clean, view strong", "nrd, condition sym-40"]
