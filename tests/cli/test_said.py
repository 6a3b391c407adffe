from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.cli.said import notes_once
from kdbench.progress import say
from kdbench.standard_output import others_on_stderr


def test_what_others_print_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with others_on_stderr():
        print("python")
        subprocess.run([sys.executable, "-c", "print('a process')"], check=True)
    print("the answer")
    found = capfd.readouterr()
    assert found.out == "the answer\n"
    assert "python" in found.err and "a process" in found.err


def test_a_note_of_several_runs_is_said_once_and_all_else_each_time(caplog: pytest.LogCaptureFixture) -> None:
    with notes_once():
        for seed in range(3):
            say(["note: another setting", f"note: seed {seed}", "run 1 is being done: waiting for it"])
    said = [record.getMessage() for record in caplog.records]
    assert said.count("note: another setting") == 1
    assert len([line for line in said if line.startswith("note: seed")]) == 3
    assert len([line for line in said if line.startswith("run 1")]) == 3
    with notes_once():
        say(["note: another setting"])
    assert len(caplog.records) == len(said) + 1, "another command says it again"


def test_a_closed_standard_output_is_no_fault() -> None:
    module = "kdbench.standard_output"
    code = f"import os; os.close(1); from {module} import others_on_stderr as f\nwith f(): os.write(2, b'said')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"said"


def test_json_stays_json_beside_a_model_that_prints(tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(
        "import torch\nprint('at import')\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        print('in forward')\n"
        "        return images.flatten(1)[:, :10]\n"
    )
    command = [sys.executable, "-m", "kdbench", "evaluate", "talking:Net", "--suite", "digits", "--tasks", "clean"]
    environment = {**os.environ, "PYTHONPATH": ":".join([*sys.path[:3], str(tmp_path)])}
    done = subprocess.run(
        [*command, "--json", "--out", str(tmp_path / "runs"), "--condition", "clean"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["record"]
    assert "at import" in done.stderr and "in forward" in done.stderr
