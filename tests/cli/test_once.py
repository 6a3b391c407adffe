"""An option that takes one value and is given twice is a mistake that is reported, and never the last one wins."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdbench import cli
from kdbench.errors import KdbenchError


def call(*arguments: object) -> str:
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("run", "--method", "ce", "--suite", "digits", "--suite", "cifar10"), "--suite"),
        (("run", "--method", "ce", "--out", "a", "--out=b"), "--out"),
        (("run", "--method", "ce", "--tasks", "clean", "--tasks", "pgd"), "--tasks"),
        (("evaluate", "x.safetensors", "--condition", "clean", "--condition", "sym-40"), "--condition"),
        (("leaderboard", "build", "runs", "--out", "a", "--out", "b"), "--out"),
        (("data", "status", "--data-dir", "a", "--data-dir", "b"), "--data-dir"),
    ],
)
def test_two_values_are_one_too_many(arguments: tuple[str, ...], option: str) -> None:
    with pytest.raises(KdbenchError, match=rf"^{option} was given 2 times \(it takes one value"):
        call(*arguments)


def test_repeatable_options_and_switches_may_be_given_again() -> None:
    with pytest.raises(KdbenchError, match="no suite named 'x'"):
        call("run", "--method", "ce", "--suite", "x", "--seed", 0, "--seed", 1, "--json", "--json")


def test_every_method_and_seed_that_is_named_is_run(tiny_suite: Path, tmp_path: Path) -> None:
    asked = [
        "run",
        "--suite",
        tiny_suite,
        "--tasks",
        "clean,noisy_label",
        "--condition",
        "clean,sym-40",
        "--out",
        tmp_path,
        "--json",
    ]
    done = json.loads(call(*asked, "--method", "ce", "--method", "gce"))
    assert [record["spec"]["method"] for record in done] == ["ce", "gce"]
    assert json.loads(call(*asked, "--method", "ce, gce,ce")) == done, "a comma says the same"
    done = json.loads(call(*asked, "--method", "ce", "--seed", "0-1", "--seed", "1"))
    assert [record["spec"]["seed"] for record in done] == [0, 1]


def test_a_later_methods_mistake_is_found_before_the_first_is_trained(tiny_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="no method named 'gcee'"):
        call("run", "--method", "ce", "--method", "gcee", "--suite", tiny_suite, "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_version_is_that_of_the_distribution() -> None:
    assert call("--version") == f"kdbench {importlib.metadata.version('kdbench')}\n"
