from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("kind", ["methods", "suites", "tasks", "datasets", "models", "label-noises", "claims"])
def test_everything_that_is_registered_is_listed_with_its_origin_and_a_line_about_it(kind: str) -> None:
    registry = getattr(load_plugins(), kind.replace("-", "_"))
    listed = {row["name"]: row for row in json.loads(shown("list", kind, "--json"))}
    assert list(listed) == list(registry)
    for name, row in listed.items():
        assert row["from"] == registry.origin(name)
        assert row["summary"], f"nothing is said about {kind} {name}"
    assert next(iter(listed)) in shown("list", kind)
    assert list(json.loads(shown("list", kind.removesuffix("s"), "--json"))[0]) == ["name", "summary", "from"]


@pytest.mark.parametrize(
    ("kind", "name"), [("suite", "digits"), ("task", "pgd"), ("dataset", "cifar10"), ("model", "wrn-16-2")]
)
def test_a_description_is_text_or_json(kind: str, name: str) -> None:
    assert f"name: {name}" in shown("describe", kind, name)
    assert json.loads(shown("describe", kind, name, "--json"))["name"] == name


def test_no_summary_stops_in_mid_sentence() -> None:
    """corruption's first sentence has two lines: "... (Hendrycks & Dietterich" was all that was listed."""
    for kind in ("tasks", "methods", "attacks"):
        for row in json.loads(shown("list", kind, "--json")):
            assert row["summary"].endswith("."), row
            assert row["summary"].count("(") == row["summary"].count(")"), row
    listed = {row["name"]: row["summary"] for row in json.loads(shown("list", "tasks", "--json"))}
    assert "(Hendrycks & Dietterich 2019); not mCE" in listed["corruption"]


def test_a_wrong_kind_is_found_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.plugin.loader.load_plugins", lambda: pytest.fail("loaded"))
    for command, nearest in (("list", "methods"), ("describe", "method")):
        error: Any = CliRunner().invoke(app, [command, "methd", "nrd"][: 2 + (command == "describe")]).exception
        assert isinstance(error, KdbenchError)
        assert error.hint == f"did you mean '{nearest}'?"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("method", "nrd"), ("method", "fickle-teacher"), ("method", "ce"), ("suite", "digits"), ("suite", "arani"),
     ("task", "pgd"), ("dataset", "cifar10"), ("model", "wrn-16-2"), ("attack", "pgd"), ("claim", "smkd-order"),
     ("label-noise", "symmetric")],
)  # fmt: skip
def test_a_description_is_not_written_in_python(kind: str, name: str) -> None:
    text = shown("describe", kind, name)
    for python in ("{'", "['", "None", "True", "False", "Undefined", "()", "<class '", "<function"):
        assert python not in text, python


def test_a_recipe_says_where_it_holds_and_what_it_sets() -> None:
    text = " ".join(shown("describe", "method", "nrd").split())
    assert "cifar10, no noise or symmetric or symmetric-inclusive pi2=0.6" in text
    text = " ".join(shown("describe", "suite", "digits").split())
    assert "sym-40 symmetric, rate 0.4, seed 0 all epochs 30, batch_size 32, lr 0.05" in text
    assert "pgd clean subset 200, every_restart 100" in text


def test_unknown_kinds_and_names_say_the_nearest() -> None:
    for arguments, message in (
        (["list", "methodz"], "did you mean 'methods'"),
        (["describe", "method", "nrdd"], "did you mean 'nrd'"),
    ):
        error: Any = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, KdbenchError)
        assert message in (error.hint or "")


def test_plugins_that_fail_and_clash_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(shown("plugins", "--json"))["failures"] == []
    plugins = load_plugins()
    monkeypatch.setattr(
        type(plugins.methods), "clashes", lambda self: {"ce": ["a 1", "b 2"]} if self.kind == "method" else {}
    )
    assert json.loads(shown("plugins", "--json"))["clashes"] == [
        {"kind": "method", "name": "ce", "from": ["a 1", "b 2"]}
    ]
    assert "two plugins bring a method named 'ce': a 1 and b 2" in shown("plugins")


def test_attacks_are_listed_and_a_family_says_how_its_members_are_written() -> None:
    listed = {row["name"] for row in json.loads(shown("list", "attacks", "--json"))}
    assert listed == {"pgd", "apgd", "autoattack", "autoattack-fast", "torchattacks:MEMBER"}
    described = json.loads(shown("describe", "attack", "pgd", "--json"))
    assert {parameter["name"]: parameter["default"] for parameter in described["parameters"]}["restarts"] == 5
    described = json.loads(shown("describe", "attack", "torchattacks:PGD", "--json"))
    assert {parameter["name"] for parameter in described["parameters"]} >= {"steps", "alpha", "restarts"}
    family = shown("describe", "attack", "torchattacks")
    assert "written: torchattacks:MEMBER" in family
    assert "FGSM" in family.partition("members: ")[2]
    with pytest.raises(KdbenchError, match="no attack named 'pdg'") as caught:
        shown("describe", "attack", "pdg")
    assert "did you mean 'pgd'" in str(caught.value.hint)
