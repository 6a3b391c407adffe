from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard.ranking import rank
from kdbench.leaderboard.site.origin import again, explain, task_words
from tests.leaderboard.evidence import make


def test_each_axis_is_explained_by_its_task_with_the_settings_used(tmp_path: Path) -> None:
    make("ce").publish(tmp_path)
    board = rank(tmp_path).boards[0]
    found = explain(board, board.rows[0])
    assert [one["title"] for one in found] == [axis.title for axis in board.axes]
    assert found[0]["what"].startswith("Share of all test images whose largest logit is the true class")
    pgd = next(one for one in found if one["title"].startswith("PGD"))
    assert "`" not in pgd["what"] and any("steps" in setting for setting in pgd["settings"])


def test_a_task_that_is_not_installed_says_nothing() -> None:
    assert task_words("no-such-task") == ""


def test_what_decides_the_numbers_is_said_once_where_records_agree() -> None:
    first, second = (make("ce", seed=seed).record for seed in range(2))
    moved = second.model_copy(update={"provenance": second.provenance.model_copy(update={"threads": 7})})
    facts = dict(again([first, moved], evaluated=False))
    assert facts["threads"] == f"{first.provenance.threads}; 7"
    assert facts["torch"] == first.provenance.torch
    assert facts["corrupted images"] == first.spec.corruption_images
    assert set(first.spec.datasets) == set(facts["data sets, under --data-dir"].split(", "))
