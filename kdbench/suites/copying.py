"""A suite's file as one to start from: with its comments, under a name of its own, and of the original's family."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.suites.reading import read_suite, suite_of

ABOUT = """\
# From suite '{name}', version {version}. Run it with `kdbench run --suite FILE.toml --method ce`.
# Another setting needs another name, so that no leaderboard takes it for '{name}'. Every key: docs/suites.md.
"""


def copy_text(path: Path) -> str:
    """The text of a suite file, named ``my-<name>`` and with the line ``family`` that keeps what methods tune for it.

    Raises:
        KdbenchError: the file is no suite, or its name does not stand on a line of its own.
    """
    suite, text = read_suite(path), path.read_text(encoding="utf-8")
    family = "" if "family" in tomllib.loads(text) else f'\nfamily = "{suite.family}"'
    named, found = re.subn(
        rf"^name\s*=\s*(['\"]){re.escape(suite.name)}\1", f'name = "my-{suite.name}"{family}', text, count=1, flags=re.M
    )
    expected = suite.model_copy(update={"name": f"my-{suite.name}"})
    if not found or suite_of(tomllib.loads(named), f"the copy of {path}", folder=path.parent) != expected:
        raise KdbenchError(f"suite file {path} has no line name = ...", "copy it by hand")
    return f"{ABOUT.format(name=suite.name, version=suite.version)}{named}"
