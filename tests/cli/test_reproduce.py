"""``kdbench reproduce``: words and options, on records that are made up."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.cli.reproductions import _gaps, _need
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.reproducing.needing import Needed
from kdbench.reproducing.running import Ready
from tests.reproducing.conftest import put as put  # a fixture
from tests.reproducing.test_judging import records


def kdbench(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["reproduce", *map(str, words)], catch_exceptions=True)


def test_what_no_record_says_is_said_once() -> None:
    assert _need(Needed("smoke", ("digits",), 1, None, None)) == "smoke  digits: 1 run; no record says how long"
    known = _need(Needed("lite", ("cifar10-lite",), 2, 6000.0, None))
    assert known.endswith(": 2 runs; about 1.7 h of a CPU core; no record says how long of a GPU")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing says what to reproduce"),
        (("arani/fig44",), "no reproduction named 'arani/fig44' .did you mean 'arani/fig4'"),
        (("list", "arani/fi4"), "no reproduction named 'arani/fi4'"),
        (("arani/fig4", "--scale", "ful"), "no scale of 'arani/fig4' named 'ful' .did you mean 'full'"),
        (("arani/fig4", "--seeds", "a"), "seeds 'a'"),
        (("arani/fig4", "arani/fig7"), "got 2 tables and figures"),
        (("arani/fig4", "--seed", "1"), "--seed goes with --claims"),
        (("arani/fig4", "--suite", "digits"), "--suite goes with --claims"),
        (("list", "--scale", "smoke"), "--scale does not go with list"),
        (("--claims", "--scale", "smoke"), "--scale goes with a table or figure"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(words: tuple[str, ...], message: str) -> None:
    error = kdbench(*words).exception
    assert isinstance(error, KdbenchError)
    assert re.search(message, str(error)), error


def test_records_from_a_folder_are_judged_and_written(put: Any, tmp_path: Path) -> None:
    put()
    records(tmp_path / "records", Ready.make("ours/table1", "smoke"))
    [alike] = (tmp_path / "records").rglob("gce")
    shutil.rmtree(alike)
    words = ("ours/table1", "--from", tmp_path / "records", "--to", tmp_path / "to")
    from kdbench.plugin import catalogue

    known = catalogue.catalogue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "catalogue", lambda: _Any(known))
        shown, said = kdbench(*words), kdbench(*words, "--json")
    assert shown.exit_code == 0, shown.exception
    first, *_ = shown.stdout.splitlines()
    assert first == "ours/table1: scale smoke, as no --scale was given; suite digits"
    assert "2 not measured: no finished run" in shown.stdout.splitlines()
    assert "same direction" in shown.stdout and "none set beside a published one" in shown.stdout
    assert (tmp_path / "to/ours/table1/smoke/table.csv").exists()
    assert json.loads(said.stdout)["scale"] == "smoke"


class _Any:
    """The catalogue, for which every name exists."""

    def __init__(self, known: Any) -> None:
        self.registries = known.registries

    def require(self, kind: str, names: list[str]) -> None:
        pass


def test_the_list_says_what_each_takes_and_what_is_known_of_it() -> None:
    shown = kdbench("list", "arani/fig4").stdout
    assert "smoke  digits: 5 runs" in shown and "full   arani: 105 runs" in shown and "best of five" in shown
    [one] = json.loads(kdbench("list", "arani/fig4", "--json").stdout)
    assert one["scales"]["smoke"]["runs"] == 5
    assert one["known"]


def test_all_that_is_not_measured_is_counted() -> None:
    gaps = _gaps(Counter({"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}))
    assert gaps == [
        "5 not measured: a", "4 not measured: b", "3 not measured: c",
        "3 not measured for other reasons: the table says which",
    ]  # fmt: skip
    assert _gaps(Counter({"a": 1})) == ["1 not measured: a"]


def test_the_list_of_all_is_a_table_and_that_of_a_paper_has_the_details() -> None:
    every = load_plugins().reproductions.names()
    head, _, *lines, _, _, hint = kdbench("list").stdout.splitlines()
    assert head.split() == ["id", "what", "it", "shows", "full", "short", "lite", "smoke", "remarks"]
    listed = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert sorted(listed) == sorted(every)
    assert listed.index("arani/fig9") + 1 == listed.index("arani/fig10")
    assert "kdbench reproduce list ID" in hint
    detailed = kdbench("list", "katz").stdout.splitlines()
    assert {line.split()[0] for line in detailed if not line.startswith(" ")} == {
        name for name in every if name.startswith("katz/")
    }
    again = kdbench("list", "arani", "arani/fig4").stdout.splitlines()
    ids = [line.split()[0] for line in again if not line.startswith(" ")]
    assert ids == [name for name in listed if name.startswith("arani/")]
    error = kdbench("list", "kats").exception
    assert isinstance(error, KdbenchError) and "kats" in str(error)
