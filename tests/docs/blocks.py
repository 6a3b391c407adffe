"""The code of README, CONTRIBUTING and docs/: fenced blocks, indented blocks, and command lines within sentences.

A fenced block says what it is; an indented one, and a fenced one without a word, is taken for commands or Python by how
it looks, else for something printed. ``<!-- not run: WHY -->`` above a block of a page that is run exempts it.
"""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCED = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]+\n(?:[ \t]*\n(?= {4}))*)+")
SIGNATURE = re.compile(r"^(\s*def \w+\(.*\)(?: -> [^#:]+?)?)(?=\s*(?:#.*)?$)", re.M)
"""A function that is shown without its body."""
PROGRAMS = ("kdbench", "python", "python3", "pip", "tox", "git", "ray", "srun", "scancel", "export", "docker")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    kind: str
    """bash, python, toml, or text: something printed."""
    code: str
    why_not: str = ""
    """Why it is not run."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All code of a page, in its order."""
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix()
    found = []
    for match in FENCED.finditer(text):
        kind = {"console": "bash"}.get(match["kind"], match["kind"]) or _kind(match["code"])
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(name, line, kind, match["code"], match["why"] or ""))
    rest = without_fenced(text)
    for match in INDENTED.finditer(rest):
        code = textwrap.dedent(match[0])
        found.append(Block(name, rest.count("\n", 0, match.start()) + 1, _kind(code), code))
    return sorted(found, key=lambda block: block.line)


def without_fenced(text: str) -> str:
    """The text, with as many empty lines where fenced blocks are."""
    return FENCED.sub(lambda match: "\n" * match[0].count("\n"), text)


def command_lines(code: str) -> list[list[str]]:
    """The commands of shell code as words, with continued lines joined and comments gone."""
    lines = code.replace("\\\n", " ").splitlines()
    prompted = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
    found: list[list[str]] = []
    for line in prompted or lines:
        typed = re.sub(r"(?:^|\s)#\s.*$|(?<=\s)[<>]\s*\S+", "", line)  # without comments and files at its ends
        lexer = shlex.shlex(typed, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                found += [words] if words else []
                words = []
            elif words or not re.fullmatch(r"[A-Z_]+=\S*", word):  # not a variable in front of the command
                words.append(word)
    return found


def sentences(page: Path) -> list[list[str]]:
    """Command lines of kdbench that stand in sentences and tables."""
    text = INDENTED.sub("", without_fenced(page.read_text()))
    spans = re.findall(r"(?<!`)`(kdbench\s[^`]+)`(?!`)", text)
    return [words for span in spans for words in command_lines(span.replace("\n", " ").replace(r"\|", "|"))]


def parsed(code: str) -> ast.Module:
    """Python, in which functions may be shown without their bodies."""
    return ast.parse(SIGNATURE.sub(r"\1: ...", code))


def _kind(code: str) -> str:
    first = code.strip().splitlines()[0].removeprefix("$ ")
    if first.split()[0] in PROGRAMS or re.match(r"[A-Z_]+=\S+ \w", first):
        return "bash"
    try:
        tree = parsed(code)
    except SyntaxError:
        return "text"
    statements = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef)
    return "python" if any(isinstance(node, statements) for node in tree.body) else "text"
