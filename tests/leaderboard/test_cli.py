"""The commands as a user calls them, in this process."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from kdbench import cli
from kdbench.cli.leaderboard import leaderboard_app
from kdbench.cli.said import show_warning
from kdbench.leaderboard.ranking import rank
from tests.leaderboard.evidence import make

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


class Called:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["kdbench", "leaderboard", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self.capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def kdbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    monkeypatch.setattr("warnings.showwarning", show_warning)
    return Called(monkeypatch, capsys)


def test_help_names_the_commands(kdbench: Called) -> None:
    status, out, _ = kdbench("--help")
    assert status == 0
    for command in ("build", "show", "export", "validate", "verify", "diff", "submit", "publish"):
        assert f"  {command} " in out


def test_from_a_run_to_a_published_page(kdbench: Called, tmp_path: Path) -> None:
    records, site = tmp_path / "records", tmp_path / "site"
    for number, method in enumerate(("ce", "kd")):
        run = make(method, skill=1 + number).keep(tmp_path / "runs")
        status, out, err = kdbench("submit", run.parent, "--to", records)
        assert status == 0
        assert out.startswith(f"digits: {method}, seed 0\n\nRecord `")
        assert err.count("wrote ") == 3
    assert kdbench("submit", run.parent, "--to", records)[2].endswith("was there already\n")
    status, out, _ = kdbench("validate", records)
    assert (status, out.splitlines()[-1].partition(":")[0]) == (0, "2 records")
    status, out, _ = kdbench("build", records, "--out", site, "--index", tmp_path / "index.json")
    assert (status, out.splitlines()) == (0, ["digits: 2 methods, 0 records excluded", str(site / "index.html")])
    assert (site / "index.html").is_file()
    assert kdbench("diff", records, tmp_path / "index.json")[0] == 0
    assert kdbench("export", records, "--to", tmp_path / "scores.csv")[0] == 0
    assert (tmp_path / "scores.csv").read_text().startswith("suite,")
    status, out, _ = kdbench("publish", site, "--to", tmp_path / "www")
    assert "published to" in out
    assert "are already at" in kdbench("publish", site, "--to", tmp_path / "www")[1]
    found = json.loads(kdbench("publish", site, "--to", tmp_path / "www", "--json")[1])
    assert found["changed"] is False


def test_an_error_is_a_line_with_place_and_status_1(kdbench: Called, tmp_path: Path) -> None:
    path = make().publish(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"higher_is_better": true', '"higher_is_better": "yes"', 1))
    status, out, _ = kdbench("validate", path)
    line = text[: text.index('"higher_is_better": true')].count("\n") + 1
    assert status == 1
    assert out.splitlines() == [
        f"{path}:{line}: scores[0].higher_is_better: input should be a valid boolean, found 'yes'",
        "1 record: 1 error, 0 warnings",
    ]
    status, out, _ = kdbench("validate", path, "--json")
    assert status == 1
    assert json.loads(out)["problems"][0]["field"] == "scores[0].higher_is_better"


def test_the_ranking_is_printed_in_80_characters_of_plain_text(kdbench: Called, tmp_path: Path) -> None:
    for number, method in enumerate(("ce", "kd")):
        for seed in range(3):
            make(method, seed=seed, skill=1 + number).publish(tmp_path)
    status, out, err = kdbench("show", tmp_path)
    assert (status, err) == (0, "")
    assert out.isascii() or "\N{GREEK SMALL LETTER EPSILON}" in out
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 80
    board = rank(tmp_path).boards[0]
    lines = [line.split() for line in out.splitlines()]
    first, axis = board.rows[0], board.axes[0]
    assert f"{100 * first.cells[axis.key].value:.1f}" in next(line for line in lines if line[1:2] == [first.title])
    blocks = [[line[1] for line in lines if line[:1] == [place] and len(line) > 2] for place in ("1", "2")]
    assert {name for names in blocks for name in names} == {"ce", "kd"} and len(set(blocks[0])) == 1
    assert kdbench("show", tmp_path, "--suite", board.suite)[1] == out
    found = json.loads(kdbench("show", tmp_path, "--json")[1])
    assert [row["key"] for row in found["boards"][0]["rows"]] == [row.key for row in board.rows]
    status, out, err = kdbench("show", tmp_path, "--suite", "digitz")
    assert (status, out) == (2, "") and "did you mean 'digits'?" in err


def test_an_empty_folder_gives_a_page_that_says_so(kdbench: Called, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    status, out, _ = kdbench("build", tmp_path / "records", "--out", tmp_path / "site")
    assert (status, out.splitlines()[0]) == (
        0, f"nothing to rank in {tmp_path}/records: `kdbench run` makes records",
    )  # fmt: skip
    assert "No record here can be ranked." in (tmp_path / "site/index.html").read_text()


def test_a_difference_is_status_1(kdbench: Called, tmp_path: Path) -> None:
    first, second = make("ce").keep(tmp_path), make("ce", seed=1, skill=2.0).keep(tmp_path)
    near = make("ce", seed=2, skill=1.01).keep(tmp_path)
    status, out, _ = kdbench("diff", first, second)
    assert status == 1
    assert out.splitlines()[0].startswith("! cell clean")
    moved = [line for line in out.splitlines() if line.startswith("~")]
    assert moved == []
    assert any(line.startswith("~") for line in kdbench("diff", first, near, "--all")[1].splitlines())
    assert json.loads(kdbench("diff", first, first, "--json")[1]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validate"], "Missing argument 'files'"),
        (["validate", "{tmp}/nowhere.json"], "no record at"),
        (["validate", "{tmp}"], "no record under"),
        (["verify", "{tmp}/x.json"], "x.json: cannot be read: No such file"),
        (["verify", "{tmp}"], "is a folder without a record.json (give a run's folder, or a record)"),
        (["verify", "{tmp}/x.json", "--checkpoint", "y"], "not a valid record"),
        (["diff", "{tmp}"], "Missing argument 'new'"),
        (["submit", "{tmp}"], "is a folder without a record.json"),
        (["submit", "{tmp}/x.json"], "no record at"),
        (["build", "{tmp}/nowhere", "--out", "{tmp}/site"], "no folder"),
        (["export", "{tmp}", "--to", "{tmp}/x.xlsx"], ".csv or .parquet"),
        (["publish", "{tmp}", "--to", "{tmp}/www"], "no site in"),
        (["publish", "--to", "git:x"], "no"),
        (["validat", "x"], "No such command 'validat'"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    kdbench: Called, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, out, err = kdbench(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert message in err


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_sound(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["name"]
    assert workflow[True], "`on` is YAML's true"
    assert workflow["permissions"], "what a workflow may do is said, not left to the default"
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 360, name
    for step in steps(path):
        assert ("run" in step) != ("uses" in step)
        # Untrusted text of a pull request reaches a shell as a variable's value only, never as its text.
        assert "github.event." not in step.get("run", "")
        done = subprocess.run(["bash", "-n"], input=step.get("run", ""), text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_commands_of_workflows_are_ours(path: Path) -> None:
    """Every kdbench command in a workflow exists, with the options that it is given."""
    for step in steps(path):
        text = step.get("run", "").replace("\\\n", " ")
        for found in re.findall(r"kdbench leaderboard ([^|;&\n)]*)", text):
            name, *words = shlex.split(found)
            command = typer.main.get_command(leaderboard_app).commands[name]  # type: ignore[attr-defined]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "leaderboard.yml", "verify.yml"]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("0123456789abcdef.json", True),
        ("0123456789abcdef.predictions.npz", True),
        ("0123456789abcdef.log.jsonl", True),
        ("0123456789abcdef.checkpoint-sym-40.safetensors", True),
        ("0123456789abcdef.fedcba9876543210.attestation.json", True),
        ("0123456789abcdef.softmax-clean.npz", False),
        ("0123456789abcdef.checkpoint-../x.safetensors", False),
        ("record.json", False),
    ],
)
def test_the_workflow_takes_what_submit_writes_and_nothing_else(name: str, taken: bool) -> None:
    text = next(path for path in WORKFLOWS if path.name == "leaderboard.yml").read_text()
    [own] = re.findall(r"^ +name='(.*)'$", text, re.M)
    [place] = re.findall(r'^ +place="(.*)"$', text, re.M)
    assert bool(re.search(place.replace("$name", own), f"leaderboards/records/cifar10-lite/kd/{name}")) == taken
