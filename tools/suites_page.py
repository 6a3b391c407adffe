"""docs/suites.md: every key of a suite file, from the fields that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.cli.describe import describe_parameters
from kdbench.plugin.loader import load_plugins
from kdbench.results.wording import words
from kdbench.suites.reading import TABLES, keys
from tools.markdown import cell, prose, table

START = """    kdbench describe suite cifar10 --toml > mine.toml     # a suite to start from, with its comments
    kdbench describe suite mine.toml                      # what each installed method gets there
    kdbench run --suite mine.toml --method nrd"""
FILES = """A suite is data: one TOML file, given by its path or registered by a plugin ([how](plugins.md#a-suite)). The
order of its tables is free, but keys stand above the first table that is not theirs. A key that no table has is an
error that names the right one, before anything is trained. TOML has no value for none: where that is the default, the
key is left out. Two settings never share a name and version."""
BY_HAND = """`--set` changes values of a suite for a run, with the table before the key: `kdbench run --method nrd --set
recipe.epochs=30 --set conditions.sym-40.recipe.lr=0.01`; in Python `kdbench.run(changes={"recipe.epochs": 30})`. A key
of `recipe` is then of all conditions, also of those that state their own, and of all networks that are trained there;
one behind `conditions.NAME` is of that condition alone. Tables that can be changed are `recipe`, `attack`, `watch`,
`networks.NAME` and `conditions.NAME`, as far as the suite has them, and `tasks.NAME`: a task that it has not is
measured as well then. Values are JSON: `[60, 90]`, `true`, `null` for none. What is set by hand goes before what a
method tunes; where epochs change, milestones move with them unless they are given as well. It is another setting: the
record states it (`spec.suite.changed`), and leaderboards, tables and reports name it and never average or rank it
together with the standard one, even where the value is the suite's own."""
HEADINGS: Mapping[str, str] = {
    "": "The top of the file",
    "recipe": "How all networks are trained; conditions go before it, key by key. Required keys may be theirs alone.",
    "attack": "The budget of every task that attacks, unless its own settings have another.",
    "watch": "An attack on some test images after each epoch of a student. It decides nothing and is logged.",
    "networks.*": "A network that the suite trains for others, under its role: a teacher, a source of attacks.",
    "conditions.*": "A training set, which gives one student.",
    "conditions.*.noise": "Label noise that is added to the condition.",
    "conditions.*.recipe": "The keys of `[recipe]`, for this condition.",
    "tasks.*": "A measurement. A table without keys measures with all defaults.",
}
SETTINGS = """They stand in `settings = { ... }` or under `[tasks.NAME.settings]`. Distances are of [0, 1] pixels;
`2/255` stands for the number."""


def suites_page() -> str:
    """The whole page."""
    tasks = load_plugins().tasks
    ours = [name for name in tasks.names() if tasks.origin(name).startswith("kdbench ")]
    return f"""# Suite files

{START}

{prose(FILES)}

## Values set by hand

{prose(BY_HAND)}

{(chr(10) * 2).join(section(name) for name in TABLES)}

## Settings of the tasks

{prose(SETTINGS)}

{(chr(10) * 2).join(settings(name, describe_parameters(tasks.get(name).Settings)) for name in ours)}

Written by `python -m tools.update`.
"""


def section(name: str) -> str:
    """One table of a suite file."""
    if not name:
        return f"## {HEADINGS[name]}\n\n{rows([one for one in described(name) if one['name'] in keys(name)])}"
    parts = [f"## `[{name.replace('*', 'NAME')}]`", prose(HEADINGS[name])]
    if name != "conditions.*.recipe":
        parts.append(rows(described(name)))
    return "\n\n".join(parts)


def described(name: str) -> list[dict[str, Any]]:
    """The keys of a table; those that a file need not state say so."""
    found = describe_parameters(TABLES[name])
    optional = {"family": "the name", "recipe": "`[recipe]`"}
    return [{**one, "default": optional.get(one["name"], one["default"])} for one in found]


def settings(name: str, found: Sequence[Mapping[str, Any]]) -> str:
    """The settings of one task."""
    return f"### `{name}`\n\n{rows(found) if found else 'None.'}"


def rows(found: Sequence[Mapping[str, Any]]) -> str:
    """Key, default, range and meaning."""
    return table(
        ["key", "default", "range", "meaning"],
        [
            [
                f"`{one['name']}`",
                cell(words(one["default"], one["name"]) or "none"),
                cell(one["range"]),
                cell(one["meaning"]),
            ]
            for one in found
        ],
    )
