"""A reproduction with a teacher as a row of its own, trained for real on a few digits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.reproducing.running import Planned, Ready
from kdbench.reproducing.trying import try_measures
from kdbench.running.options import RunOptions
from kdbench.studies import sweep
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.schedule import Executor
from kdbench.studies.worker import work
from tests.conftest import SMALL_SUITE
from tests.reproducing.conftest import Put

TABLE = """
paper = "A paper"
title = "A table"
[cell]
condition = "clean"
tolerance = 1
[columns.clean]
task = "clean"
metric = "accuracy"
[columns.pgd]
task = "pgd"
metric = "robust_accuracy"
setting = { variant = "pgd-std", steps = 1, rule = "worst" }
[rows.Teacher]
network = "teacher"
published = [90, 10]
[rows.KD]
method = "kd"
published = [80, 20]
[scales.smoke]
suite = "SUITE"
"""


class Here:
    """An engine that computes in this process."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder, self.started = folder, list[str]()
        self.errors: dict[str, str] = {}

    def workers(self) -> int:
        return 1

    def free(self) -> int:
        return 0 if self.errors else 1

    def start(self, key: str) -> None:
        self.started.append(key)
        self.errors[key] = work(self.folder, key, device="cpu")

    def wait(self) -> Mapping[str, str]:
        done, self.errors = self.errors, {}
        return done

    def stop(self) -> None:
        pass


def here(folder: StudyFolder, plan: StudyPlan, executor: Executor) -> sweep.Standing:
    folder.write(plan)
    return sweep.work_off(folder, plan, Here(folder), lambda node, event, word: None)


@pytest.fixture
def ready(put: Put, tmp_path: Path) -> Ready:
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL_SUITE.replace('model = "wrn-10-1"', 'model = "wrn-16-1"') + "\n[tasks.clean]\n")
    put(TABLE.replace("SUITE", str(suite)))
    return Ready.make("ours/table1", "smoke")


def test_a_teacher_is_a_row_of_its_own_and_the_one_that_the_student_had(ready: Ready, tmp_path: Path) -> None:
    options = RunOptions.make(out=tmp_path / "runs")
    planned = Planned(ready, options)
    [(_, plan)] = planned.studies
    assert [node.kind for node in plan.nodes] == ["training", "run", "run"]  # the teacher is trained once
    assert planned.evidence() == []
    [standing] = planned.run(here)
    assert standing.count("done") == 3 and not standing.errors
    runs = {run.record.spec.method: run.record for run in planned.evidence()}
    teacher, student = runs["ce"], runs["kd"]
    assert teacher.hashes.students["clean"].training == student.hashes.networks["clean/teacher"].training
    assert teacher.spec.suite.label == 'small, student="wrn-16-1"'
    assert student.spec.suite.label == "small"
    outcome, _ = ready.judge(planned.evidence(), "2026-01-02T03:04:05+00:00", options.device)
    values = {(one.row, one.column): one for one in outcome.numbers}
    for row, record in (("Teacher", teacher), ("KD", student)):
        [clean] = record.select("clean", "accuracy")
        assert values[row, "clean"].value == pytest.approx(100 * clean.value)
        assert values[row, "clean"].runs == [record.run_id]
    again = Planned(ready, options)
    assert [len(plan.nodes) for _, plan in again.studies] == [0]
    assert again.run(here) == []
    assert {run.record.run_id for run in again.evidence()} == {teacher.run_id, student.run_id}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('metric = "accuracy"', 'metric = "acuracy"', "no metric of task 'clean' named 'acuracy' .did you mean 'accur"),
        ('variant = "pgd-std", steps = 1', 'variant = "pgd-std", steps = 2', "0 scores of pgd/robust_accuracy"),
        ('variant = "pgd-std", ', "", "2 scores of pgd/robust_accuracy .* expected one"),
        ("steps = 1, ", "step = 1, ", "no key in the setting of pgd/robust_accuracy named 'step'"),
    ],
)
def test_a_measure_that_there_is_not_is_told_before_anything_is_trained(
    put: Put, tmp_path: Path, old: str, new: str, message: str
) -> None:
    suite = tmp_path / "small.toml"
    suite.write_text(SMALL_SUITE)
    assert old in TABLE
    put(TABLE.replace("SUITE", str(suite)).replace(old, new))
    ready = Ready.make("ours/table1", "smoke")
    with pytest.raises(KdbenchError, match=message):
        try_measures("ours/table1", ready.jobs, RunOptions.make(out=tmp_path))
    assert not (tmp_path / "small").exists()
