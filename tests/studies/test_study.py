from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.parameters import parse_assignments
from kdbench.seeds import parse_seeds
from kdbench.studies.study import Study, make_study, parse_sweep, read_study


def study(**values: Any) -> Study:
    return make_study("a test", {"name": "one", "methods": ["ce"], **values})


def test_parameters_are_crossed_with_seeds_and_methods() -> None:
    found = study(
        methods=["kd", "ce"], seeds="0-1", parameters={"kd": {"alpha": [0.1, 0.2], "temperature": [4, 8]}}
    ).requests()
    assert len(found) == 2 * (4 + 1)
    assert [(one.method, one.params, one.seed) for one in found[:5]] == [
        ("kd", {"alpha": 0.1, "temperature": 4}, 0),
        ("kd", {"alpha": 0.1, "temperature": 8}, 0),
        ("kd", {"alpha": 0.2, "temperature": 4}, 0),
        ("kd", {"alpha": 0.2, "temperature": 8}, 0),
        ("ce", {}, 0),
    ]
    assert [one.seed for one in found] == [0] * 5 + [1] * 5


def test_a_parameter_of_all_methods_gives_way_to_a_methods_own() -> None:
    found = study(methods=["a", "b"], parameters={"sigma": [1, 2], "b": {"sigma": 3}}).requests()
    assert [(one.method, one.params) for one in found] == [
        ("a", {"sigma": 1}), ("a", {"sigma": 2}), ("b", {"sigma": 3}),
    ]  # fmt: skip


def test_zipped_lists_go_together_and_are_crossed_with_the_rest() -> None:
    found = study(parameters={"x": [1, 2]}, zipped={"ce": {"y": [1, 2, 3], "z": ["a", "b", "c"]}}).requests()
    assert [tuple(one.params[name] for name in "xyz") for one in found] == [
        (1, 1, "a"), (1, 2, "b"), (1, 3, "c"), (2, 1, "a"), (2, 2, "b"), (2, 3, "c"),
    ]  # fmt: skip


def test_all_is_every_installed_method() -> None:
    assert study(methods="all").with_methods(["ce", "kd"]).methods == ("ce", "kd")
    assert study(methods=["kd"]).with_methods(["ce", "kd"]).methods == ("kd",)


def test_values_methods_and_seeds_given_twice_are_one() -> None:
    assert len(study(methods=["ce", "ce"], seeds=[1, 1], parameters={"x": [2, 2]}).requests()) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zipped": {"x": [1, 2], "y": [1]}}, "lists that go together: x has 2, y has 1 values"),
        ({"zipped": {"x": [1, 2]}, "parameters": {"x": 1}}, "parameter 'x' is crossed and zipped"),
        ({"parameters": {"kd": {"alpha": 1}}}, "no method of the study named 'kd'"),
        ({"parameters": {"x": []}}, "empty list"),
        ({"seeds": list(range(100_001))}, "has 100001 runs, at most 100000"),
    ],
)
def test_mistakes_that_show_when_it_is_expanded(values: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        study(**values).requests()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 1}, "no key of a test named 'seed' .did you mean 'seeds'"),
        ({"seeds": "4-1"}, "a test: seeds '4-1': found '4-1' .write them as 0-4"),
        ({"seeds": "x"}, "found 'x'"),
        ({"seeds": [-1]}, "a test: seeds"),
        ({"methods": []}, "a test: methods"),
        ({"threads": 0}, "a test: threads"),
        ({"name": "../up"}, "a test: name"),
    ],
)
def test_mistakes_in_the_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        study(**values)


def test_a_file_has_its_own_name_and_finds_its_suite(tmp_path: Path) -> None:
    file = tmp_path / "night.toml"
    file.write_text('suite = "mine.toml"\nmethods = ["ce"]\nseeds = "0-2"\n[engine.local]\nworkers = 3\n')
    found = read_study(file, threads=2)
    assert (found.name, found.suite) == ("night", str(tmp_path / "mine.toml"))
    assert (found.seeds, found.threads, found.engine) == ((0, 1, 2), 2, {"local": {"workers": 3}})


@pytest.mark.parametrize(("text", "message"), [(None, "cannot read study"), ("methods = [", "is not TOML")])
def test_a_file_that_is_none(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "night.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(KdbenchError, match=message):
        read_study(file)


def test_what_the_command_line_says_of_parameters() -> None:
    table = parse_sweep(["sigma=.1,0.2", "nrd.view=strong", "nrd.pi=[1,2],[3]"], ["nrd", "ce"], parse_assignments)
    assert table == {"sigma": [".1", 0.2], "nrd": {"view": "strong", "pi": [[1, 2], [3]]}}


@pytest.mark.parametrize("name", ["sigma", "nrd.view"])
def test_a_parameter_that_is_given_twice_loses_no_value(name: str) -> None:
    hint = f"give it all values at once: --set {name}=a,b"
    with pytest.raises(KdbenchError, match=f"--set gives '{name}' twice .{hint}"):
        parse_sweep([f"{name}=2", "beta=1", f"{name}=4"], ["nrd"], parse_assignments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sigma", "--set got 'sigma'"), ("sigma=", "--set got 'sigma='"),
        ("nr.view=own", "no method of the study named 'nr' .did you mean 'nrd'"),
    ],
)  # fmt: skip
def test_parameters_that_nobody_can_read(text: str, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        parse_sweep([text], ["nrd"], parse_assignments)


def test_seeds() -> None:
    assert parse_seeds("3") == [3]
    assert parse_seeds("0-2, 5,7-8") == [0, 1, 2, 5, 7, 8]
    for wrong in ("", "1-", "-1", "1,,2", "0-9999999999999"):
        with pytest.raises(KdbenchError, match="write them as"):
            parse_seeds(wrong)


def test_values_of_the_suite_are_crossed_as_parameters_are() -> None:
    study = make_study("test", {
        "name": "s", "methods": ["ce", "kd"],
        "parameters": {"recipe.lr": [0.1, 0.2], "kd": {"alpha": 0.5, "recipe.epochs": 2}},
    })  # fmt: skip
    assert [(one.method, one.params, one.changes) for one in study.requests()] == [
        ("ce", {}, {"recipe.lr": 0.1}),
        ("ce", {}, {"recipe.lr": 0.2}),
        ("kd", {"alpha": 0.5}, {"recipe.lr": 0.1, "recipe.epochs": 2}),
        ("kd", {"alpha": 0.5}, {"recipe.lr": 0.2, "recipe.epochs": 2}),
    ]


def test_runs_may_be_listed_one_by_one() -> None:
    listed = [
        {"method": "kd", "params": {"alpha": 0.5}, "conditions": ["clean"], "tasks": ["clean"]},
        {"method": "ce", "changes": {"student": "wrn-16-1"}, "seed": 7},
    ]
    found = make_study("test", {"name": "s", "seeds": "0-1", "runs": listed}).requests()
    assert [(one.method, one.seed, one.conditions, one.tasks) for one in found] == [
        ("kd", 0, ("clean",), ("clean",)), ("ce", 7, None, None), ("kd", 1, ("clean",), ("clean",)),
    ]  # fmt: skip
    assert (found[0].params, found[1].changes) == ({"alpha": 0.5}, {"student": "wrn-16-1"})
    both = study(runs=listed[:1]).requests()
    assert [(one.method, one.conditions) for one in both] == [("ce", None), ("kd", ("clean",))]


def test_values_of_the_suite_on_the_command_line() -> None:
    texts = ["recipe.lr=0.1,0.2", "kd.recipe.epochs=2", "kd.alpha=0.5"]
    assert parse_sweep(texts, ["ce", "kd"], parse_assignments) == {
        "recipe.lr": [0.1, 0.2], "kd": {"recipe.epochs": 2, "alpha": 0.5},
    }  # fmt: skip
