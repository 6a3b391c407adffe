from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributions import write_distribution

ADVICE = "(--no-plugins leaves out those of third parties, KDBENCH_PLUGINS=NAME,... names the ones to load)"
BLOCK = """
import ctypes, os, signal, sys
from kdbench.plugin.exits import deaths_are_said

with deaths_are_said("plugin '$(id)' of x 1.0"):
    {}
"""


def python(source: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = ":".join(filter(None, [*more.values(), *sys.path]))
    command = [sys.executable, "-c", source]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": path})


@pytest.mark.parametrize(
    ("source", "status", "signal"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11, ", by signal 'Segmentation fault'"),
        ("ctypes.string_at(0)", -11, ", by signal 'Segmentation fault'"),
        ("os.abort()", -6, ", by signal 'Aborted'"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
        ("ctypes.CDLL(None)._exit(3)", 3, ""),
    ],
)
def test_a_death_is_one_line_that_names_the_plugin(source: str, status: int, signal: str) -> None:
    done = python(BLOCK.format(source))
    line = f"error: plugin '$(id)' of x 1.0 ended the process while it was being imported{signal} {ADVICE}\n"
    assert (done.returncode, done.stdout, done.stderr) == (status, "", line)


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("if os.fork() == 0: os.abort()\n    os.wait()", 0),
        ("pass\nos.abort()", -6),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN); os.killpg(os.setpgrp() or 0, signal.SIGINT)", 0),
    ],
)
def test_nothing_is_said_of_one_that_lets_the_process_live(source: str, status: int) -> None:
    done = python(BLOCK.format(source))
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize(
    "source", ["os.abort()", "pass\n@kdbench.hookimpl\ndef kdbench_register_methods(): os.abort()"]
)
def test_a_plugin_whose_import_crashes_is_named(tmp_path: Path, source: str) -> None:
    write_distribution(tmp_path, "crash", {"mine": "crash_module"})
    (tmp_path / "crash_module.py").write_text(f"import kdbench, os\n{source}\n")
    done = python("from kdbench.plugin.loader import load_plugins; load_plugins()", site=str(tmp_path))
    assert done.returncode == -6
    assert done.stderr.startswith("error: plugin 'mine' of crash 1.0 ended the process while it was being imported")
    assert done.stderr.count("\n") == 1
