"""``kdbench describe suite``: what each installed method would get there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli import app
from kdbench.cli.describe import describe_tuning, describe_views, tuning_rows
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.suites import FOLDER, load_suite
from kdbench.suites.reading import read_suite


def test_a_suite_shows_what_differs_from_defaults_for_every_method_and_condition() -> None:
    found = describe_tuning(load_suite("nrd-cifar10"))
    assert list(found) == load_plugins().methods.names()
    assert all(list(conditions) == list(load_suite("nrd-cifar10").conditions) for conditions in found.values())
    # Shon et al. 2024, Table 5; the suite's own are lr .1 and weight decay 5e-4.
    assert found["gce"]["sym-80"] == {"params": {"q": 0.9, "view": "strong"}, "optimizer": {"lr": 0.01}}
    assert found["ce"]["clean"] == {"params": {"view": "strong"}, "optimizer": {"lr": 0.05, "weight_decay": 1e-3}}
    assert found["kd"]["clean"] == {"params": {}, "optimizer": {}}, "a method without recipes"
    assert found["elr-plus"]["sym-80"] is None, "its recipe for this data set is for asymmetric noise"
    schedules = describe_tuning(load_suite("arani"))["fickle-teacher"]["clean"]
    assert schedules == {"params": {}, "optimizer": {"epochs": 350, "milestones": [105, 210, 280]}}


def test_a_suite_shows_what_each_methods_students_see(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (FOLDER / "cifar10-lite.toml").read_text()
    path.write_text(text.replace('view = "suite"\n', "", 1))
    views = describe_views(load_suite(str(path)))
    assert views["strong"] == ["nrd"]
    assert {"ce", "gjs", "kd", "dividemix"} <= set(views["suite"])
    path.write_text(text)
    assert list(describe_views(load_suite(str(path)))) == ["suite"]
    assert describe_tuning(load_suite(str(path)))["nrd"]["clean"]["params"]["view"] == "suite"  # type: ignore[index]
    shown = CliRunner().invoke(app, ["describe", "suite", str(path)]).stdout
    assert "view: suite" in shown and "views suite: bootstrap-hard" in shown


def test_conditions_and_methods_that_get_the_same_share_a_row() -> None:
    tuned: dict[str, Any] = {"params": {"q": 0.5, "view": "strong"}, "optimizer": {"lr": 0.01}}
    usual: dict[str, Any] = {"params": {}, "optimizer": {}}
    rows = tuning_rows({
        "a": {"clean": tuned, "noisy": usual, "web": tuned}, "b": {"clean": None, "noisy": None, "web": None},
        "c": {"clean": usual, "noisy": usual, "web": usual}, "d": {"clean": usual, "noisy": usual, "web": usual},
    })  # fmt: skip
    assert rows == [
        ("a", "clean, web", "q=0.5 view=strong", "lr=0.01"),
        ("a", "noisy", "defaults", "the suite's"),
        ("b", "all", "defaults: it has recipes, none for this", "the suite's"),
        ("c, d", "all", "defaults", "the suite's"),
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_a_suite_file_is_described_too(tmp_path: Path, kept: bool) -> None:
    text = (FOLDER / "nrd-cifar10.toml").read_text().replace('name = "nrd-cifar10"', 'name = "mine"')
    if not kept:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("family"))
    (tmp_path / "mine.toml").write_text(text)
    done = CliRunner().invoke(app, ["describe", "suite", str(tmp_path / "mine.toml"), "--json"])
    described = json.loads(done.stdout)
    assert described["family"] == ("nrd-cifar10" if kept else "mine")
    optimizer = {"lr": 0.05, "weight_decay": 1e-3}
    assert described["methods"]["ce"]["clean"] == (
        {"params": {"view": "strong"}, "optimizer": optimizer} if kept else None
    )
    shown = CliRunner().invoke(app, ["describe", "suite", str(tmp_path / "mine.toml")]).stdout
    assert ("lr=0.05 weight_decay=0.001" in shown) == kept


def test_a_suite_to_start_from_is_printed_as_toml(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["describe", "suite", "cifar10", "--toml"]).stdout
    mine = tmp_path / "mine.toml"
    mine.write_text(printed)
    assert (read_suite(mine).name, read_suite(mine).conditions) == ("my-cifar10", load_suite("cifar10").conditions)
    again = CliRunner().invoke(app, ["describe", "suite", str(mine), "--toml"]).stdout
    assert 'name = "my-my-cifar10"' in again


@pytest.mark.parametrize("arguments", [["method", "kd", "--toml"], ["suite", "digits", "--toml", "--json"]])
def test_toml_is_of_suites_alone(arguments: list[str]) -> None:
    error = CliRunner().invoke(app, ["describe", *arguments]).exception
    assert isinstance(error, KdbenchError)
    assert "--toml does not go with" in error.message


def test_distances_are_written_as_in_tables() -> None:
    """eps was 0.00784314 here, and 2/255 in every table."""
    shown = CliRunner().invoke(app, ["describe", "suite", "cifar10-lite"]).stdout
    assert "attack eps: 2/255" in shown
    assert "step_sizes (pgd-std .00196), subset 2000" in shown
    assert "0.0078" not in shown
    assert " 8/255 " in CliRunner().invoke(app, ["describe", "method", "kd-smoothed-adversarial"]).stdout
