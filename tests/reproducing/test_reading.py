from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.reproducing import read_reproduction
from tests.reproducing.conftest import TABLE, Put

FAMILY = """
paper = "A paper"
title = "A figure"
figure = { kind = "lines", x = "rate" }
[cell]
condition = "clean"
params = { alpha = 0.9 }
[columns.acc]
task = "clean"
metric = "accuracy"
tolerance = 1
[rows.mine]
method = "messy-collaboration"
params = { variant = "T" }
each = { rate = [0.1, 0.5] }
published = { acc = { "0.5" = 93 } }
[rows.teacher]
network = "teacher"
[[cells]]
row = "mine 0.5"
column = "acc"
tolerance = 2
params = { alpha = 0.5 }
[scales.smoke]
suite = "digits"
"""


def test_rows_are_multiplied_with_columns(put: Put) -> None:
    found = read_reproduction(put())
    assert (found.id, found.rows, found.columns) == ("ours/table1", ["weak", "strong", "alike"], ["accuracy", "PGD-20"])
    assert [(cell.row, cell.column, cell.published, cell.tolerance) for cell in found.cells] == [
        ("weak", "accuracy", 80.0, 0.5), ("strong", "accuracy", 95.0, 0.5), ("strong", "PGD-20", 40.0, 3.0),
        ("alike", "accuracy", 80.2, 0.5), ("alike", "PGD-20", 10.0, 3.0),
    ]  # fmt: skip
    assert found.cell("strong", "PGD-20").setting["steps"] == 20
    assert found.at("full").seeds == (0, 1)


def test_a_row_stands_for_a_family_and_a_cell_goes_before_it(put: Put) -> None:
    found = read_reproduction(put(FAMILY, "fig1"))
    first, second, teacher = found.cells
    assert (first.row, first.line, first.x, first.published) == ("mine 0.1", "mine", 0.1, None)
    assert first.params == {"alpha": 0.9, "variant": "T", "rate": 0.1}
    assert (second.row, second.published, second.tolerance) == ("mine 0.5", 93.0, 2.0)
    assert second.params == {"alpha": 0.5, "variant": "T", "rate": 0.5}
    assert (teacher.network, teacher.method, teacher.x, teacher.line) == ("teacher", "", None, "teacher")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('task = "clean"', 'taks = "clean"', "no key named 'taks' .did you mean 'task'"),
        ("[80.0, ", "[80.0, 1, ", "rows.weak.published has 3 numbers, expected one of each of the 2 columns"),
        ('method = "ce"\n', "", "row 'weak', column 'accuracy' names no method"),
        ('task = "clean"\n', "", "row 'weak', column 'accuracy' names no task"),
        ('metric = "accuracy"\ncondition = "clean"\n', 'metric = "accuracy"\n', "condition: field required"),
        ("tolerance = 0.5", "tolerance = 0", "tolerance 0, expected one above 0"),
        ("tolerance = 0.5\n", "", "has a published number and no tolerance"),
        ("[scales.smoke]", "[scales.smok]", "no scale named 'smok' .did you mean 'smoke'"),
        ('seeds = "0-1"', 'seeds = "1-0"', "scales.full: seeds '1-0'"),
        ('seeds = "0-1"', 'rows = ["weka"]', "no row named 'weka' .did you mean 'weak'"),
        ('seeds = "0-1"', 'columns = ["pgd"]', "no column named 'pgd'"),
        ('seeds = "0-1"', 'conditions = { sym-40 = "clean" }', "no condition named 'sym-40'"),
        ('seeds = "0-1"', 'suites = { cifar100 = "digits" }', "no data named 'cifar100'"),
        ('suite = "digits"\nseeds = "0-1"', 'seeds = "0-1"', "scales.full names no suite"),
        ('second = ["alike"', 'second = ["alice"', "no row named 'alice'"),
        ('second = ["alike", "PGD-20"]', 'second = ["weak", "PGD-20"]', "no number in row 'weak', column 'PGD-20'"),
        ('relation = "higher"', 'relation = "equal"', "relation 'equal' has the margin 0"),
        ('relation = "higher"', 'relation = "above"', "expectation 1: relation"),
        ('known = ["It is made up."]', "figure = { kind = 'pie' }", "figure: kind"),
        ('known = ["It is made up."]', "known = 3", "known"),
        ("[columns.accuracy]", "[columns.accuracy]\nlog = 'loss'", "names a log and a task"),
        ("[columns.accuracy]", "[columns.accuracy]\nover = 'steps'", "a curve with a single published number"),
        ("[rows.weak]", "[rows.weak]\neach = { q = [] }", "write one parameter and a list of values"),
        ("title", "titel", "no key named 'titel'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_that_says_where(put: Put, old: str, new: str, message: str) -> None:
    assert old in TABLE
    with pytest.raises(KdbenchError, match=message) as raised:
        read_reproduction(put(TABLE.replace(old, new, 1)))
    assert "table1.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_family_says_which_value_it_has_not(put: Put) -> None:
    with pytest.raises(KdbenchError, match="no value of .*rows.mine.published.acc named '0.6'"):
        read_reproduction(put(FAMILY.replace('"0.5" = 93', '"0.6" = 93')))
    with pytest.raises(KdbenchError, match="no column named 'ac'"):
        read_reproduction(put(FAMILY.replace("acc = {", "ac = {")))


def test_what_is_no_file_or_no_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="cannot read reproduction"):
        read_reproduction(tmp_path / "p" / "none.toml")
    (tmp_path / "bad.toml").write_text("rows = [")
    with pytest.raises(KdbenchError, match="is not TOML"):
        read_reproduction(tmp_path / "bad.toml")
