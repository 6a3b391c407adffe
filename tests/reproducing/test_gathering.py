from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.reproducing.outcome import Number
from kdbench.reproducing.running import Ready, from_folders
from kdbench.running.options import RunOptions
from kdbench.specs import Suite
from kdbench.suites import load_suite
from tests.leaderboard.evidence import make
from tests.reproducing.conftest import TABLE, Put


def test_a_folder_without_records_of_the_suite_is_told(put: Put, tmp_path: Path) -> None:
    put()
    ready = Ready.make("ours/table1", "smoke")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KdbenchError, match="0 records, none of suite digits"):
        from_folders(ready, [tmp_path / "empty"])
    with pytest.raises(KdbenchError, match="no folder"):
        from_folders(ready, [tmp_path / "gone"])


def _another_radius(suite: Suite) -> Suite:
    assert suite.attack is not None
    return suite.model_copy(update={"attack": suite.attack.model_copy(update={"eps": 0.1})})


def _judged(put: Put, folder: Path, suite: str, first: dict[str, Any], second: dict[str, Any]) -> Number:
    """Of a method under attack, from records of two seeds that are made so."""
    put(TABLE.replace('suite = "digits"', f'suite = "{suite}"'))
    ready = Ready.make("ours/table1", "full")
    for seed, rest in enumerate((first, second)):
        given = {"suite": load_suite(suite), "params": ready.jobs[1].plan.params["clean"], "conditions": ["clean"]}
        make("kd", seed=seed, **{**given, **rest}).publish(folder)
    device = RunOptions.make(out=folder).device
    outcome, _ = ready.judge(from_folders(ready, [folder]), "2026-01-02T03:04:05+00:00", device)
    return next(one for one in outcome.numbers if (one.row, one.column) == ("strong", "PGD-20"))


@pytest.mark.parametrize(
    ("suite", "first", "other", "why"),
    [
        ("digits", {}, {"versions": {"pgd": 1}}, "version 1 of task pgd; here it is 2"),
        (
            "digits", {}, {"suite": load_suite("digits").model_copy(update={"version": 98})},
            f"version 98 of the suite; here it is {load_suite('digits').version}",
        ),
        (
            "digits", {}, {"suite": _another_radius(load_suite("digits"))},
            "another suite of this name: attack.eps is 0.1; here it is 0.031",
        ),
        (
            "cifar10-lite",
            {"datasets": {"cifar10": load_plugins().datasets.get("cifar10").sha256}},
            {"datasets": {"cifar10": "0" * 64}},
            "incomplete or other images of data set cifar10: not those that have this name",
        ),
    ],
)  # fmt: skip
def test_records_that_no_leaderboard_counts_give_no_number(
    put: Put, tmp_path: Path, suite: str, first: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    one = _judged(put, tmp_path / "one", suite, first, other)
    assert (one.seeds, one.why) == ([0], f"seed 1 left out: {why}")
    assert (one.tolerance, one.verdict in ("within tolerance", "outside")) == (6.0, True)
    none = _judged(put, tmp_path / "none", suite, other, other)
    assert (none.value, none.verdict) == (None, "not measured")
    assert none.why == f"seed 0, 1 left out: {why}"
