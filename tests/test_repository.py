"""What people expect in a repository: a citation, templates, a changelog. They agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
yaml = pytest.importorskip("yaml", reason="needs pyyaml, as `tox -e tests` has it")


def of_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_citation_is_what_cff_1_2_asks_for_and_agrees_with_pyproject() -> None:
    citation = of_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    # The keys of the schema 1.2.0 for software, https://github.com/citation-file-format; it allows no others.
    known = "abstract authors cff-version commit contact date-released doi identifiers keywords license license-url "
    known += "message preferred-citation references repository repository-artifact repository-code title type url "
    known += "version"
    assert citation.keys() <= set(known.split())
    assert (citation["cff-version"], citation["type"]) == ("1.2.0", "software")
    for author in citation["authors"]:
        assert author.keys() >= {"name"} or author.keys() >= {"family-names", "given-names"}
    assert str(citation["version"]) == PROJECT["version"]
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["abstract"] == PROJECT["description"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert len(set(citation["keywords"])) == len(citation["keywords"])


@pytest.mark.parametrize("name", ["bug", "method-or-result", "question"])
def test_an_issue_form_has_what_github_asks_for(name: str) -> None:
    form = of_yaml(ROOT / f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"] and form["description"]
    fields = [element for element in form["body"] if element["type"] != "markdown"]
    assert fields, "GitHub refuses a form without a field"
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    for field in fields:
        assert field["type"] in {"checkboxes", "dropdown", "input", "textarea"}
        assert field["attributes"]["label"]
        assert field["type"] != "dropdown" or field["attributes"]["options"]


def test_the_changelog_begins_with_what_is_unreleased_and_has_each_version_once() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", heading) for heading in headings[1:]]
    assert all(released), headings
    versions = [match[1] for match in released if match]
    days = [date.fromisoformat(match[2]) for match in released if match]
    assert len(set(versions)) == len(versions)
    assert days == sorted(days, reverse=True)
    assert not versions or versions[0] == PROJECT["version"]


def test_the_changelog_sorts_its_entries_as_keep_a_changelog_does() -> None:
    kinds = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
