"""A suite to start from is that suite under a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.suites import builtin_suites
from kdbench.suites.copying import copy_text
from kdbench.suites.reading import read_suite


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_a_copy_is_the_suite_but_for_its_name(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(copy_text(path))
    suite, copied = read_suite(path), read_suite(copy)
    assert copied.name == f"my-{suite.name}"
    assert copied.model_copy(update={"name": suite.name}) == suite, "the family stays, and with it what methods tune"
    assert copied.digest() != suite.digest()
    comments = [line.partition("#")[2] for line in path.read_text().splitlines() if "#" in line]
    assert all(comment in copy.read_text() for comment in comments)


@pytest.mark.parametrize("line", ["name = 'tiny'", 'name="tiny"', 'name   =   "tiny"  # mine'])
def test_a_copy_of_a_copy_and_of_a_suite_without_a_family(tiny_suite: Path, tmp_path: Path, line: str) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('name = "tiny"', line))
    copy = tmp_path / "copy.toml"
    copy.write_text(copy_text(tiny_suite))
    assert (read_suite(copy).name, read_suite(copy).family) == ("my-tiny", "tiny")
    copy.write_text(copy_text(copy))
    assert (read_suite(copy).name, read_suite(copy).family) == ("my-my-tiny", "tiny")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"name" = "tiny"', "has no line name = "),
        ('name = """tiny"""', "has no line name = "),
        ("", "name: field required"),
    ],
)
def test_what_cannot_be_copied_is_an_error(tiny_suite: Path, line: str, message: str) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('name = "tiny"', line))
    with pytest.raises(KdbenchError, match=message):
        copy_text(tiny_suite)
