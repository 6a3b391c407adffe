"""The command line: parse, call, print.

A command's module is imported when it is asked for, and everything heavy inside the command that needs it.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from kdbench.cli.app import app
from kdbench.cli.interruption import BY_CTRL_C, end_by_sigterm, last_words
from kdbench.cli.said import complain, show_warning
from kdbench.errors import KdbenchError, named, raised_at
from kdbench.interruption import heed_lost
from kdbench.search_path import without_working_directory
from kdbench.threads import wait_asleep

COMMANDS = {
    "run": "run",
    "evaluate": "evaluate",
    "runs": "runs",
    "sweep": "sweep",
    "compare": "compare",
    "plot": "plot",
    "report": "report",
    "reproduce": "reproduce",
    "list": "catalogue",
    "describe": "catalogue",
    "plugins": "catalogue",
    "new-plugin": "new_plugin",
    "doctor": "doctor",
    "data": "data",
    "leaderboard": "leaderboard",
}
"""Command to the module that brings it once it is imported, in the order of the help."""
MEASURING = {"run", "evaluate", "reproduce", "verify"}
"""Commands that train or measure what anybody may have written."""


def main() -> None:
    """Entry point: a user's mistake is one line and exit status 2, an interruption is a line and 130, or 143."""
    warnings.showwarning = show_warning
    without_working_directory()
    wait_asleep()
    end_by_sigterm()
    heed_lost()
    try:
        load_commands(sys.argv[1:])
        if MEASURING & {*_named(sys.argv[1:])[:2]}:
            from kdbench.running.isolated.server import prepare

            prepare()
        status = _call()
    except SystemExit as leave:  # of a third party's code: ours returns its status
        complain(f"error: {raised_at(leave)} ended the command: {named(leave)}")
        status = 2
    except KdbenchError as error:
        complain(f"error: {error.message}", f" ({error.hint})" if error.hint else "")
        sys.exit(2)
    except KeyboardInterrupt:
        words, status = last_words()
        complain(words)
        sys.exit(status)
    except BrokenPipeError:
        sys.exit(_unread())
    except OSError as error:  # a full disk, a folder that is a file, a missing right: not ours to fix
        complain(f"error: {_of_system(error)}")
        sys.exit(2)
    except Exception as error:
        # Usage errors of the parser, which typer ships under a private name.
        if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
        else:
            # What was wrong about a command, its own help says.
            command = getattr(getattr(error, "ctx", None), "command_path", "kdbench")
            complain(f"error: {error.format_message().rstrip('.')} (`{command} --help` shows what there is)")
        sys.exit(error.exit_code)
    sys.exit(status)


def _call() -> int:
    try:
        status = app(standalone_mode=False, prog_name="kdbench") or 0
        sys.stdout.flush()
    except SystemExit as leave:
        if isinstance(leave.__context__, BrokenPipeError):  # the parser turns a reader that left into an exit
            raise leave.__context__ from None
        raise
    if status == BY_CTRL_C:  # the parser turns an interruption into a status
        raise KeyboardInterrupt
    return int(status)


def _unread() -> int:
    """The status where the reader of the output has left; what is still to be written goes nowhere, without a word."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _of_system(error: OSError) -> str:
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


def again() -> int:
    """The command once more, in a process that was made for it; the result is its status. What is wrong is raised, and
    reported by the process that asked."""
    load_commands(sys.argv[1:])
    try:
        return _call()
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        raise KdbenchError(_of_system(error)) from None


def load_commands(words: Sequence[str] = ()) -> None:
    """Import the module of the command that ``words`` ask for; where they ask for none that is known, all of them."""
    asked = next(iter(_named(words)), "")
    modules = [COMMANDS[asked]] if asked in COMMANDS else COMMANDS.values()
    for module in dict.fromkeys(modules):
        importlib.import_module(f"kdbench.cli.{module}")


def _named(words: Sequence[str]) -> list[str]:
    """The command that words ask for, and what follows, without options."""
    return [word for word in words if not word.startswith("-")]
