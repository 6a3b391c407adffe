from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kdbench.leaderboard import read_records
from kdbench.leaderboard.axes import Column, columns, results
from kdbench.leaderboard.validate import validate
from kdbench.results import comparison
from kdbench.results.evidence import Evidence
from kdbench.results.samples import sample
from kdbench.specs import Suite, TaskPlan
from kdbench.suites import builtin_suites, load_suite
from tests.leaderboard.evidence import Made, digits, make


def read(folder: Path, *made: Made) -> list[Evidence]:
    for one in made:
        one.publish(folder)
    return sorted(read_records(folder)[0], key=lambda one: one.record.spec.seed)


def by_title(suite: Suite, runs: list[Evidence]) -> dict[str, Column]:
    return {column.axis.title: column for column in columns(suite, runs)}


def test_the_axes_of_a_suite_are_its_tasks_headlines(tmp_path: Path) -> None:
    found = by_title(digits(), read(tmp_path, make()))
    assert list(found) == [
        "clean", "OOD", "mCA", "transfer ε .031", "PGD-20 ε .031", "noisy sym-40", "ECE", "ECE sym-40",
    ], "by families"  # fmt: skip
    assert found["PGD-20 ε .031"].axis.setting == {"variant": "pgd-std", "steps": 20, "rule": "worst"}
    assert found["OOD"].axis.setting == {"dataset": "digits-fonts"}
    assert found["transfer ε .031"].axis.setting == {"source": "teacher"}
    assert [title for title, column in found.items() if not column.axis.higher_is_better] == ["ECE", "ECE sym-40"]
    assert len({column.axis.key for column in found.values()}) == 8


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_every_suite_has_axes_with_titles_of_their_own(path: Path) -> None:
    found = columns(load_suite(path.stem), [])
    titles = [column.axis.title for column in found]
    assert len(titles) == len(set(titles)) >= 2


def test_a_planned_task_that_nobody_measured_is_an_axis_all_the_same(tmp_path: Path) -> None:
    found = by_title(digits(), read(tmp_path, make(tasks=["clean"])))
    assert "PGD-20 ε .031" in found


def test_a_task_that_is_not_installed_is_its_first_score_and_unpaired(tmp_path: Path) -> None:
    suite = digits().model_copy(update={"tasks": {"clean": TaskPlan(), "foreign": TaskPlan()}})
    runs = read(tmp_path, make(suite=suite, versions={"foreign": 3}))
    found = by_title(suite, runs)
    assert list(found) == ["clean", "foreign", "foreign sym-40"]
    score = found["foreign"].score(runs[0])
    assert score is not None
    assert results(found.values(), runs[0]).keys() == {"clean/clean"}
    one, doubtful = sample([score], [None])
    assert (comparison.estimate(one).basis, doubtful) == ("score", False)


def test_settings_that_a_task_no_longer_understands_leave_the_first_score(tmp_path: Path) -> None:
    for settings in ({"unheard": 1}, {"bins": [15], "unheard": [1]}):
        suite = digits().model_copy(update={"tasks": {"calibration": TaskPlan(settings=settings)}})
        runs = read(tmp_path, make(suite=suite))
        [column, _] = columns(suite, runs)
        assert (column.axis.title, column.axis.metric) == ("calibration", "ece")


def test_per_example_results_are_those_behind_the_score(tmp_path: Path) -> None:
    made = make()
    [run] = read(tmp_path, made)
    found = columns(digits(), [run])
    behind = results(found, run)
    assert behind.keys() == {column.axis.key for column in found}
    for column in found:
        score = column.score(run)
        assert score is not None
        one, doubtful = sample([score], [behind[column.axis.key]])
        assert not doubtful
        assert one.values[0] == pytest.approx(score.value, abs=1e-6)
        assert comparison.estimate(one).basis == "examples"
    cells = [
        values for name, values in made.predictions.items() if name.startswith("clean/corruption/") and "-" in name
    ]
    assert len(cells) == 95
    np.testing.assert_allclose(behind["clean/corruption"].values, np.mean(cells, axis=0))
    assert behind["clean/clean"].examples.endswith(":all")
    assert behind["clean/pgd"].examples != behind["clean/clean"].examples


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("clean/clean/correct", np.ones(499, dtype=bool)),
        ("clean/clean/correct", np.ones(500, dtype=np.int64)),
        ("clean/clean/correct", np.ones((500, 1), dtype=bool)),
        ("clean/calibration/confidence", np.full(500, np.nan, dtype=np.float32)),
        ("clean/calibration/confidence", np.full(500, 7, dtype=np.float32)),
        ("clean/calibration/confidence", np.ones(500, dtype=np.int64)),
    ],
)
def test_arrays_that_cannot_be_are_not_used(tmp_path: Path, name: str, array: np.ndarray) -> None:
    [run] = read(tmp_path, make(tasks=["clean", "calibration"], conditions=["clean"]))
    assert run.predictions is not None
    broken = dataclasses.replace(run, predictions={**run.predictions, name: array})
    task = name.split("/")[1]
    assert f"clean/{task}" not in results(columns(digits(), [run]), broken)
    assert f"clean/{task}" in results(columns(digits(), [run]), run)


def test_one_record_does_not_turn_a_column_around(tmp_path: Path) -> None:
    """It lacks the score, first of all records or not, and validation says what is wrong with it."""
    honest, turned = make("ce"), make("aa")
    scores = [
        score.model_copy(update={"higher_is_better": True}) if score.metric == "ece" else score
        for score in turned.record.scores
    ]
    wrong = turned.changed(scores=scores)
    runs = sorted(read(tmp_path, honest, wrong), key=lambda run: run.record.spec.method)
    assert [run.record.spec.method for run in runs] == ["aa", "ce"]
    column = by_title(digits(), runs)["ECE"]
    assert not column.axis.higher_is_better
    assert column.score(runs[0]) is None
    assert column.score(runs[1]) is not None
    path = wrong.publish(tmp_path / "alone")
    messages = [problem.message for problem in validate(path) if problem.field.endswith("higher_is_better")]
    assert set(messages) == {"fraction, higher is better, but task 'calibration' says fraction, lower is better"}
