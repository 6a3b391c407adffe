from __future__ import annotations

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.reproducing import read_reproduction
from kdbench.reproducing.planning import make_studies, plan_jobs
from kdbench.suites import load_suite
from kdbench.training.seeds import derive_seed
from tests.reproducing.conftest import TABLE, Put

NETWORK = """
paper = "A paper"
title = "A table"
[cell]
metric = "accuracy"
task = "noisy_label"
[columns.a]
condition = "sym-05"
[columns.b]
condition = "sym-40"
[rows.Teacher]
network = "teacher"
[rows.Other]
network = "teacher"
method = "gce"
params = { q = 0.5 }
[rows.Student]
method = "kd"
[scales.smoke]
suite = "digits"
seeds = "3-4"
set = { "recipe.epochs" = 2 }
params = { kd = { alpha = 0.5 } }
conditions = { sym-05 = { use = "sym-40", set = { "noise.rate" = 0.05 } } }
"""


def test_cells_of_one_network_are_one_run_under_all_of_their_conditions(put: Put) -> None:
    item = read_reproduction(put())
    jobs = plan_jobs(item, "full", load_plugins())
    [study] = make_studies(item, "full", jobs, (0, 1), threads=2)
    assert (study.name, study.suite, study.seeds, study.threads) == ("reproduce-ours-table1-full", "digits", (0, 1), 2)
    assert [(run.method, run.conditions, run.tasks) for run in study.runs] == [
        ("ce", ("clean",), ("clean",)), ("kd", ("clean",), ("clean", "pgd")), ("gce", ("clean",), ("clean", "pgd")),
    ]  # fmt: skip
    assert len(study.requests()) == 6


def test_a_suites_network_is_a_run_of_its_own_with_its_own_seed(put: Put) -> None:
    item = read_reproduction(put(NETWORK))
    [study] = make_studies(item, "smoke", plan_jobs(item, "smoke", load_plugins()), (3, 4))
    teacher = load_suite("digits").network("teacher")
    runs = {(run.method, run.changes.get("conditions.sym-40.noise.rate")): run for run in study.runs}
    assert len(runs) == 6
    of_suite = runs["ce", 0.05]
    assert of_suite.changes == {"recipe.epochs": 2, "conditions.sym-40.noise.rate": 0.05, "student": teacher.model}
    assert (of_suite.seed, of_suite.params) == (derive_seed(teacher.seed, "teacher"), {})
    assert (runs["gce", None].seed, runs["gce", None].params) == (of_suite.seed, {"q": 0.5})
    student = runs["kd", None]
    assert (student.seed, student.params, student.changes) == (None, {"alpha": 0.5}, {"recipe.epochs": 2})
    assert student.conditions == ("sym-40",)
    seeds = [request.seed for request in study.requests()]
    assert seeds.count(of_suite.seed) == 4  # once each, whatever the seeds of the study
    assert seeds.count(3) == seeds.count(4) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('method = "ce"', 'method = "kdd"', "no method named 'kdd' .did you mean 'kd'"),
        ('method = "kd"', 'method = "kd"\nparams = { alfa = 1 }', "no parameter .*named 'alfa'|alfa"),
        ('method = "kd"', 'method = "kd"\nparams = { alpha = 2.0 }', "alpha"),
        ('condition = "clean"', 'condition = "sym-20"', "no condition named 'sym-20'"),
        ('task = "pgd"', 'task = "pgdd"', "no task named 'pgdd' .did you mean 'pgd'"),
        ('task = "pgd"', 'task = "noisy_label"', "does not apply to condition clean"),
        ('suite = "digits"\nseeds', 'suite = "digit"\nseeds', "no suite named 'digit'"),
        ('seeds = "0-1"', 'set = { "recipe.epoch" = 1 }', "did you mean epochs"),
        ('seeds = "0-1"', 'set = { "tasks.pgd.settings.subst" = 1 }', "no setting of task 'pgd' named 'subst'"),
        ('method = "ce"', 'network = "techer"', "no network role named 'techer'"),
    ],
)
def test_what_does_not_exist_is_told_with_row_and_column(put: Put, old: str, new: str, message: str) -> None:
    assert old in TABLE
    item = read_reproduction(put(TABLE.replace(old, new, 1)))
    with pytest.raises(KdbenchError, match=message) as raised:
        plan_jobs(item, "full", load_plugins())
    assert str(raised.value).startswith("'ours/table1' at scale full, row '")


def test_a_task_that_the_suite_does_not_measure_there_is_refused_unless_it_is_set(put: Put) -> None:
    noisy = TABLE.replace('task = "pgd"', 'task = "pgd"\ncondition = "sym-40"')
    item = read_reproduction(put(noisy))
    with pytest.raises(KdbenchError, match="task 'pgd' does not apply to condition sym-40"):
        plan_jobs(item, "full", load_plugins())
    meant = noisy.replace('seeds = "0-1"', 'set = { "tasks.pgd.conditions" = ["clean", "sym-40"] }')
    assert plan_jobs(read_reproduction(put(meant)), "full", load_plugins())


def test_a_scale_it_has_not_is_told_with_those_it_has(put: Put) -> None:
    item = read_reproduction(put())
    with pytest.raises(KdbenchError, match="no scale of 'ours/table1' named 'lite' .known: full, smoke"):
        plan_jobs(item, "lite", load_plugins())
