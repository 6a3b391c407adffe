"""The doctor: whatever is broken, it says so and does not raise."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli import doctor
from kdbench.cli.app import app
from kdbench.cli.doctor import examine, exit_status, isolated
from kdbench.cli.examinations import Diagnosis
from kdbench.data import DataPlace
from kdbench.errors import KdbenchError
from kdbench.sealed import Sealed


def test_an_examination_that_raises_is_a_finding() -> None:
    def crash() -> Any:
        raise SystemExit("who would\nexit at import")

    (check,) = isolated("crash", crash)
    assert (check.name, check.status, check.found) == ("crash", "broken", "SystemExit: who would exit at import")


def test_examine_survives_when_nothing_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *_: Any, **__: Any) -> Any:
        raise ImportError(f"no module {name}")

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", refuse)
        checks = examine(tmp_path)
    names = {check.name for check in checks}
    assert {"device", "torchattacks module", "robustbench module", "plugins", "datasets"} <= names
    assert exit_status(checks) == 1


def test_examine_covers_everything_here(tmp_path: Path) -> None:
    checks = examine(DataPlace.default(tmp_path, cache_dir=tmp_path))
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert {"python", "device", "bfloat16", "threads", "cache", "disk"} <= set(names)
    for check in checks:
        assert check.status in ("ok", "warn", "broken")
        assert check.found
        assert check.expected
        assert bool(check.fix) == (check.status != "ok"), check


def test_exit_status() -> None:
    def check(status: Any) -> Diagnosis:
        return Diagnosis("x", status, "", "")

    assert exit_status([]) == 0
    assert exit_status([check("ok"), check("warn")]) == 0
    assert exit_status([check("warn"), check("broken"), check("ok")]) == 1


def test_a_users_mistake_keeps_its_hint() -> None:
    def refuse() -> Any:
        raise KdbenchError("what is wrong", "what to do")

    assert isolated("name", refuse) == [Diagnosis("name", "broken", "what is wrong", "no error", "what to do")]


@pytest.mark.parametrize(("status", "expected"), [("warn", 0), ("broken", 1)])
def test_the_command_shows_each_finding_and_sets_its_exit_status(
    status: Any, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        Diagnosis("one", "ok", "[red]1.0[/red]", ">=1"),
        Diagnosis("two", status, "0.5", ">=1", "`pip install two`"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda data_dir: found)
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == expected
    last = {
        "warn": "kdbench works here: 1 ok, 1 warning, nothing broken",
        "broken": "kdbench is broken here: 1 ok, 0 warnings, 1 broken: two",
    }
    assert shown.stdout.splitlines()[-1] == last[status]
    for text in ("[red]1.0[/red]", "two", "0.5", "`pip install two`", "how to fix it"):
        assert text in shown.stdout
    as_json = CliRunner().invoke(app, ["doctor", "--json"])
    assert as_json.exit_code == expected
    assert json.loads(as_json.stdout)[1] == {
        "name": "two", "status": status, "found": "0.5", "expected": ">=1", "fix": "`pip install two`",
    }  # fmt: skip


def test_the_files_of_a_folder_of_runs_are_verified(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    files = Sealed(runs / "s/trainings/t")
    files.write({"log.jsonl": b"{}", "checkpoint.safetensors": b"weights"})
    earlier = runs / "s/trainings/earlier"
    earlier.mkdir()
    (earlier / "resume.pt").write_bytes(b"no archive")
    (runs / "s/trainings/t/checkpoint.safetensors").write_bytes(b"Weights")
    (runs / "s/trainings/t/log.jsonl").unlink()
    result = CliRunner().invoke(app, ["doctor", "--verify", str(runs), "--json"])
    found = {(Path(one["name"]).name, one["status"]): one["found"] for one in json.loads(result.stdout)}
    assert found == {
        ("earlier", "warn"): "has no SHA256SUMS: an earlier version made it, and not all of it can be checked",
        ("resume.pt", "broken"): "is damaged (File is not a zip file)",
        ("checkpoint.safetensors", "broken"): "is damaged: it is not the file that SHA256SUMS lists",
    }
    assert result.exit_code == 1
    shown = CliRunner().invoke(app, ["doctor", "--verify", str(runs)]).stdout
    assert "2 folders, 2 files with a hash, 2 damaged, 1 note" in shown


def test_a_folder_of_runs_is_asked_for_with_verify(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="doctor got the folder"):
        CliRunner().invoke(app, ["doctor", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(KdbenchError, match="no folder .*nowhere"):
        CliRunner().invoke(app, ["doctor", "--verify", str(tmp_path / "nowhere")], catch_exceptions=False)
