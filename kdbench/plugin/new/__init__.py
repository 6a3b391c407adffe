"""A new plugin package, written from templates: it installs, passes its own tests, and is there to be changed."""

from __future__ import annotations

import keyword
import os
import re
import shutil
from pathlib import Path
from typing import Final, Literal, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdbench.errors import KdbenchError, unknown_name
from kdbench.files import new_folder, write_atomically

Kind = Literal["method", "task", "attack", "dataset", "noise"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)

REGISTRIES: Final = {
    "method": "method",
    "task": "task",
    "attack": "attack",
    "dataset": "dataset",
    "noise": "label noise",
}
"""What the registry is called that a kind goes to."""

COMMANDS: Final = {
    "method": "kdbench run --method {name}",
    "task": "kdbench run --method ce --tasks {name}",
    "attack": "kdbench run --method ce --tasks attack --attack {name}",
    "dataset": "kdbench describe dataset {name}",
    "noise": "kdbench describe label-noise {name}",
}
"""How to try it once it is installed."""

PREFIX: Final = "kdbench-"
NAME: Final = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST: Final = 40
TAKEN: Final = frozenset({"kdbench", "torch", "pydantic", "check_method", "check_attack", "pretend_accelerator"})
"""Names that a generated module has for something else."""


def check_name(name: str, kind: str) -> str:
    """The name without "kdbench-" in front, which its package gets anyway.

    Raises:
        KdbenchError: it can't be a name of Python, or there is no such kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of plugin", kind, KINDS)
    short = name.removeprefix(PREFIX)
    if not NAME.fullmatch(short) or len(short) > LONGEST:
        hint = f"small letters, digits and single hyphens, at most {LONGEST}, as in 'focal-loss'"
        raise KdbenchError(f"a plugin can't be named '{name}'", hint)
    symbol = short.replace("-", "_")
    if keyword.iskeyword(symbol) or symbol in TAKEN:
        raise KdbenchError(f"a plugin can't be named '{name}', which its code has for something else", "choose another")
    return short


def write_plugin(name: str, kind: str, into: Path) -> list[Path]:
    """Write the package ``kdbench-<name>`` into a folder, all of it or nothing; returns its files.

    Raises:
        KdbenchError: a bad name, a folder that is there already or can't be written.
    """
    short = check_name(name, kind)
    target = into / f"{PREFIX}{short}"
    if os.path.lexists(target):
        raise KdbenchError(f"{target} is there already", "choose another name, or another folder with --into")
    texts = _texts(short, kind)
    try:
        into.mkdir(parents=True, exist_ok=True)
        temporary = new_folder(into, f".{target.name}-")
    except OSError as error:
        raise KdbenchError(f"cannot write to {into}: {error.strerror}", "name another folder with --into") from None
    try:
        for file, text in texts.items():
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(temporary / file, text.encode())
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [target / file for file in texts]


def _texts(name: str, kind: str) -> dict[str, str]:
    """File of the package to its text."""
    symbol = name.replace("-", "_")
    module = f"kdbench_{symbol}"
    values = {
        "name": name,
        "symbol": symbol,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "module": module,
        "package": f"{PREFIX}{name}",
        "title": f"The {REGISTRIES[kind]} '{name}'",
        "plural": f"{REGISTRIES[kind].replace(' ', '-')}s",
        "command": COMMANDS[kind].format(name=name),
    }
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        ".github/workflows/ci.yml": "ci.yml",
        f"{module}.py": f"{kind}.py",
        f"tests/test_{symbol}.py": f"{kind}_test.py",
    }
    if kind in ("method", "attack"):
        templates["tests/conftest.py"] = "conftest.py"
    # It is code and no web page: nothing is escaped, and names are checked.
    environment = Environment(
        loader=PackageLoader("kdbench.plugin.new"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return {file: environment.get_template(f"{one}.j2").render(values) for file, one in templates.items()}
