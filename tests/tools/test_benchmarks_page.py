from __future__ import annotations

import json
from typing import Any

import pytest

from kdbench.results.record import Record
from tests.leaderboard.evidence import make
from tools import benchmarks_page


def timed(method: str = "ce", seed: int = 0, *, wall: float = 100.0, busy: float = 1.0, **seconds: float) -> Record:
    """A record of a run of ``wall`` seconds whose two threads worked for a share of them."""
    record = make(method, seed=seed, conditions=["clean"], tasks=["clean"]).record
    made = record.provenance.model_copy(
        update={
            "started": "2026-01-02T03:00:00+00:00",
            "finished": f"2026-01-02T03:{int(wall // 60):02}:{wall % 60:09.6f}+00:00",
            "cpu_seconds": 2 * busy * wall,
            "seconds": {"data": 0.5, "train/clean/student": 12.5, "evaluate/clean/clean": 0.7, **seconds},
        }
    )
    return record.model_copy(update={"provenance": made})


def test_a_run_beside_other_work_does_not_count() -> None:
    assert benchmarks_page.undisturbed(timed(busy=0.9))
    assert not benchmarks_page.undisturbed(timed(busy=0.89))


def test_a_run_that_found_its_student_trained_does_not_count() -> None:
    """Its training took 12.5 seconds when it was done, which is more than the whole run took now."""
    assert benchmarks_page.undisturbed(timed(wall=14))
    assert not benchmarks_page.undisturbed(timed(wall=13))


def test_the_parts_of_a_run_are_what_it_did_for_itself() -> None:
    """The training of the suite's networks is not its own; that of the student counts as it was done."""
    record = timed(**{"train/clean/teacher": 50.0, "evaluate/clean/pgd": 3.0})
    assert benchmarks_page.spent_alone(record) == {
        "read data": 0.5, "train clean/student": 12.5, "measure clean/clean": 0.7, "measure clean/pgd": 3.0,
    }  # fmt: skip


def test_parts_are_averaged_over_the_runs_that_have_them() -> None:
    runs = [{"a": 1.0, "b": 2.0}, {"a": 2.0}]
    assert benchmarks_page.mean_of(runs) == {"a": 1.5, "b": 2.0}
    assert benchmarks_page.seconds_rows([{"a": 1.0}, {"b": 2.0}]) == [["a", "1.0", "-"], ["b", "-", "2.0"]]


def test_durations_are_means_over_the_runs_of_a_method() -> None:
    records = [
        timed("ce", 0, **{"evaluate/clean/clean": 1.0}), timed("ce", 1, **{"evaluate/clean/clean": 2.0}),
        timed("kd", 0), timed("kd", 1, busy=0.1),
    ]  # fmt: skip
    text = benchmarks_page.durations(records)
    rows = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in text.splitlines() if "|" in line
    }
    assert rows["part"] == ["`ce`", "`kd`"]
    assert rows["measure clean/clean"] == ["1.5", "0.7"]
    assert rows["**together**"] == ["**14.5**", "**13.7**"]
    assert rows["runs"] == ["2", "1"]
    assert "a processor, threads: 2, cpu, torch 2.11.0, training in float32" in text


def test_without_times_worth_showing_there_is_no_table() -> None:
    assert benchmarks_page.durations([]).endswith("No records of `cifar10-lite` yet.")
    assert "shared its machine" in benchmarks_page.durations([timed(busy=0.1)])


def test_a_comparison_says_how_many_times_as_fast_and_on_what() -> None:
    row: dict[str, Any] = {
        "work": "an attack", "peer": "theirs", "n": 1000, "unit": "images", "ratio": 2.345, "lowest": 2.0,
        "highest": 3.0, "reach": "at least 2x", "our_seconds": 1.234, "peer_seconds": 2.9, "device_name": "a processor",
        "threads": 2, "facts": {"clean": 0.5}, "torch": "2.11",
    }  # fmt: skip
    line = benchmarks_page.against_others({"attack": row}).splitlines()[-1]
    assert line == (
        "| an attack | theirs | 1,000 images | **2.35x** (2.00-3.00) | at least 2x | 1.23 / 2.9 | "
        "a processor, 2 threads | clean 0.5 |"
    )


@pytest.mark.parametrize(
    ("reach", "said"),
    [
        ("at least 2x", "at least 2x"),
        ("at least 20x", "at least 20x: **not reached**"),
        ("at most 2.2x (at least 0.45x)", "at most 2.2x (at least 0.45x)"),
        ("at most 2 s more of the processor", "at most 2 s more of the processor"),
    ],
)
def test_what_was_wanted_and_not_reached_is_called_so(reach: str, said: str) -> None:
    row = {
        "work": "an attack", "peer": "theirs", "n": 9, "unit": "images", "ratio": 2.0, "lowest": 1.0, "highest": 3.0,
        "reach": reach, "our_seconds": 1, "peer_seconds": 2, "device_name": "a processor", "threads": 2, "facts": {},
        "torch": "2.11",
    }  # fmt: skip
    assert f" | {said} | " in benchmarks_page.against_others({"attack": row})


def test_growth_has_a_column_for_each_size_in_order() -> None:
    row = {"device_name": "a processor", "threads": 2, "sizes": {"1000": {"seconds": 1.5, "mebibytes": 20.4}}}
    other = {**row, "sizes": {"100": {"seconds": 0.25, "mebibytes": 1.0}}}
    lines = benchmarks_page.growth({"one": row, "other": other}).splitlines()
    assert lines[-4] == "| task | n = 100 | n = 1,000 |"
    assert lines[-2:] == ["| one | - | 1.50 s, 20 MiB |", "| other | 0.25 s, 1 MiB | - |"]


@pytest.mark.parametrize("section", ["ratios", "growth", "page"])
def test_what_is_measured_is_shown(section: str) -> None:
    measured = json.loads(benchmarks_page.MEASURED.read_text())
    page = benchmarks_page.benchmarks_page()
    for name, row in measured[section].items():
        assert f"| {row['work'] if section == 'ratios' else name} | " in page
