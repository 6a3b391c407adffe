"""Whatever the documents show can be typed: commands and options exist, Python's names do, TOML is TOML."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import kdbench
from kdbench.cli import load_commands
from kdbench.cli.app import app
from tests import commands
from tests.docs.blocks import PAGES, PROGRAMS, ROOT, Block, blocks, command_lines, parsed, sentences

BLOCKS = [block for page in PAGES for block in blocks(page)]
OPEN = re.compile(r"\.\.\.|\b[A-Z]{2,}\b|\b[\w-]+\.toml\b")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@pytest.fixture(scope="module")
def root() -> Any:
    load_commands()
    return get_command(app)


def of(kind: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.kind == kind]


def complaint(root: Any, words: list[str]) -> str:
    """What is wrong with the command line of kdbench; '' for nothing. Nothing is run."""
    command, context = root, root.context_class(root, info_name="kdbench")
    rest = words[1:]
    while hasattr(command, "commands"):
        while rest and rest[0].startswith("-"):
            if rest.pop(0) not in {name for parameter in command.params for name in parameter.opts}:
                return "no such option of the group"
        if not rest or rest[0].startswith("-") or rest[0] == "...":
            return ""  # a group by itself shows its help
        if rest[0] not in command.commands:
            return f"no command {rest[0]}"
        command = command.commands[rest.pop(0)]
        context = command.context_class(command, info_name=command.name, parent=context)
    try:
        _, extra, _ = command.make_parser(context).parse_args([word for word in rest if word != "..."])
    except Exception as error:  # the parser's own, which typer ships under a private name
        return str(getattr(error, "message", error))
    if extra:
        return f"too many words: {extra}"
    return ""


def test_the_check_finds_what_is_wrong(root: Any) -> None:
    for line, wrong in {
        "kdbench run --method nrd --seed 0 --seed 1": "",
        "kdbench compare ce kd --from leaderboards/records": "",
        "kdbench leaderboard build runs --out site": "",
        "kdbench --no-plugins list methods": "",
        "kdbench runn --method nrd": "no command",
        "kdbench leaderboard bild": "no command",
        "kdbench run --methd nrd": "No such option",
        "kdbench run nrd": "too many words",
        "kdbench run --method": "requires an argument",
    }.items():
        found = complaint(root, line.split())
        assert (wrong in found) if wrong else not found, (line, found)


@pytest.mark.parametrize("block", of("bash"))
def test_commands_can_be_typed(block: Block, root: Any) -> None:
    for words in command_lines(block.code):
        if words[0] == "kdbench":
            assert not (wrong := complaint(root, words)), f"{' '.join(words)}: {wrong}"
        elif words[0] == ".":
            assert words[1:] == [".venv/bin/activate"]
        else:
            assert words[0] in PROGRAMS or (ROOT / words[0]).is_file(), words
        for word in words:
            assert set(",".join(re.findall(r"^(?:\.|kdbench)\[([\w,-]+)\]$", word)).split(",")) <= EXTRAS | {""}, word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_sentences_can_be_typed(page: Path, root: Any) -> None:
    wrong = {" ".join(words): complaint(root, words) for words in sentences(page)}
    # In a sentence a command may stand for itself, without what it needs.
    assert not {line: why for line, why in wrong.items() if why and "Missing" not in why}


def looking() -> list[list[str]]:
    """All command lines that only look, and whose words all are what they say: no NAME, no file of the reader's."""
    lines = [words for block in BLOCKS if block.kind == "bash" for words in command_lines(block.code)]
    lines += [words for page in PAGES for words in sentences(page)]
    whole = {tuple(words) for words in lines if words[:2] in (["kdbench", "list"], ["kdbench", "describe"])}
    return sorted(list(words) for words in whole if len(words) > 2 and not OPEN.search(" ".join(words)))


@pytest.mark.parametrize("words", looking(), ids=" ".join)
def test_what_only_looks_is_run(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = commands.kdbench(*words[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout


def names(tree: ast.AST) -> Iterator[str]:
    """Dotted names that begin with kdbench, and those that are imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "kdbench":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "kdbench")
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if re.fullmatch(r"kdbench(\.\w+)+", dotted):
                yield dotted


def resolves(dotted: str) -> bool:
    value: Any = kdbench
    for index, part in enumerate(dotted.split(".")[1:], start=2):
        if not hasattr(value, part):
            try:
                value = importlib.import_module(".".join(dotted.split(".")[:index]))
            except ImportError:
                return False
        else:
            value = getattr(value, part)
    return True


@pytest.mark.parametrize("block", of("python"))
def test_python_compiles_and_its_names_of_kdbench_are_there(block: Block) -> None:
    tree = parsed(block.code)
    compile(tree, str(block), "exec")
    assert [name for name in names(tree) if not resolves(name)] == []


@pytest.mark.parametrize("block", of("toml"))
def test_toml_is_toml(block: Block) -> None:
    assert tomllib.loads(block.code)


def test_every_block_is_of_a_known_kind() -> None:
    assert {block.kind for block in BLOCKS} == {"bash", "python", "toml", "text"}
    for block in BLOCKS:
        if block.kind == "text":
            assert not re.search(r"^\s*(\$ )?kdbench ", block.code, re.M), f"{block}: commands that nobody checks"
