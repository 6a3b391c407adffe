"""What a command imports before it knows that it needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.cli import COMMANDS, load_commands
from kdbench.cli.app import app

HEAVY = ("torch", "numpy", "pandas", "scipy", "sklearn", "PIL", "torchvision", "kdbench_baselines")
PARSING = ("pydantic", "rich", "pluggy")
"""What takes a tenth of a second."""


def imported(*arguments: str | Path, of: tuple[str, ...] = HEAVY) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """Which of some modules a command line imports, and what came of it."""
    code = f"""
import sys
sys.argv = {["kdbench", *map(str, arguments)]!r}
from kdbench.cli import main
try:
    main()
finally:
    print(*({of!r} & sys.modules.keys()), file=sys.stderr)
""".replace(f"{of!r} &", f"set({of!r}) &")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    return set(done.stderr.splitlines()[-1].split()), done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--help"], "Train a method"),
        (["leaderboard", "--help"], "verify"),
        (["run", "--methd", "ce"], "No such option: --methd"),
        (["rum"], "No such command 'rum'"),
    ],
)
def test_help_and_misspelt_options_and_commands_import_nothing(arguments: list[str], said: str) -> None:
    found, done = imported(*arguments, of=(*HEAVY, *PARSING))
    assert found == set()
    assert said in done.stdout + done.stderr


def test_a_misspelt_kind_imports_nothing_heavy() -> None:
    found, done = imported("list", "methdos")
    assert found == set()
    assert "did you mean 'methods'?" in done.stderr


def test_a_model_that_is_not_there_loads_no_more_than_torch_takes() -> None:
    """The compiler of torch, which torchvision loads, takes as long as all the rest."""
    found, done = imported(
        "evaluate", "/nowhere.safetensors", of=("torch", "torchvision", "torch._dynamo", "scipy.stats")
    )
    assert found == {"torch"}
    assert "no checkpoint at /nowhere.safetensors" in done.stderr


def test_every_command_is_where_the_table_says() -> None:
    load_commands()
    here = {
        one.name or (one.callback.__name__ if one.callback else ""): one.callback for one in app.registered_commands
    }
    groups = {group.name for group in app.registered_groups}
    assert {*here, *groups} == {*COMMANDS}
    for name, callback in here.items():
        assert callback is not None
        assert callback.__module__ == f"kdbench.cli.{COMMANDS[name]}"
