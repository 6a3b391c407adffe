"""What the documents promise is what the code has."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from kdbench.data import builtin_specs, ood_imagenet, tiny_imagenet
from kdbench.plugin import hookspecs
from kdbench.results.record import read_record
from kdbench.suites import load_suite

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_hook_is_documented_with_its_exact_signature() -> None:
    documented = set(re.findall(r"^def (kdbench_\w+\(.*\) -> .*)$", (ROOT / "docs/plugins.md").read_text(), re.M))
    declared = {
        f"{name}{inspect.signature(hook)}".replace("'", "")
        for name, hook in vars(hookspecs).items()
        if name.startswith("kdbench_")
    }
    assert documented == declared


def test_readme_shows_the_example_plugin_as_it_is() -> None:
    source = (ROOT / "examples/kdbench-focal-loss/kdbench_focal_loss.py").read_text()
    assert source.partition("\n\n")[2] in README
    assert len(source.splitlines()) <= 30


def test_ci_runs_the_readmes_second_command() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("kdbench run --method nrd")
    assert commands[1].endswith("&& tox")
    assert "grep -m1 '&& tox$' README.md" in (ROOT / ".ci/run").read_text()


def test_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_scripts_and_folders_that_are_named_are_there() -> None:
    """Commands in prose and in tox.ini, and the folders whose changes publish the page."""
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "tox.ini")] + list((ROOT / "docs").glob("*.md"))
    scripts = {name for file in files for name in re.findall(r"python -m tools\.(\w+)", file.read_text())}
    assert scripts == {
        "update",
        "measure_methods",
        "frost_textures",
        "ood_imagenet_digests",
        "screenshot",
        "draw_record",
        "try_release",
    }
    for name in scripts:
        assert '__name__ == "__main__"' in (ROOT / f"tools/{name}.py").read_text()
    workflow = (ROOT / ".github/workflows/leaderboard.yml").read_text()
    assert "--docs docs/index.html" in workflow and '--site-dir "$PWD/site/docs"' in workflow, "the board links to it"
    watched = re.findall(r'"([\w/]+)/\*\*"', workflow)
    assert {"docs", "kdbench"} <= set(watched)
    assert all((ROOT / folder).is_dir() for folder in watched)


def test_docs_hold_prose_and_what_is_generated_for_readers() -> None:
    assert {path.suffix for path in (ROOT / "docs").iterdir()} == {".md", ".png"}
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert {"tools", "docs", "tests"} <= set(built["sdist"]["include"])
    assert not {"tools", "docs", "tests"} & set(built["wheel"]["packages"])


@pytest.mark.parametrize(("folder", "methods"), [("records", {"ce", "kd", "nrd"}), ("coming", set())])
def test_committed_records_are_valid_and_in_their_place(folder: str, methods: set[str]) -> None:
    paths = list((ROOT / "leaderboards" / folder).rglob("*.json"))
    assert {path.parent.name for path in paths} >= methods
    for path in paths:
        record = read_record(path)
        assert record.status == "finished"
        place = Path(record.spec.suite.name) / record.spec.method / f"{record.run_id}.json"
        assert path.relative_to(ROOT / "leaderboards" / folder) == place
        assert record.provenance.kdbench_dirty is False
        if folder == "coming":
            assert record.spec.suite.version == load_suite(record.spec.suite.name).version


def test_every_data_set_is_in_the_docs_and_says_where_it_comes_from() -> None:
    page = (ROOT / "docs/data.md").read_text()
    for spec in builtin_specs():
        assert f"`{spec.name.removesuffix('-299')}`" in page
        assert spec.source, spec.name
        assert spec.ways or spec.name.startswith("digits")
    assert ood_imagenet.SHA256 in page and tiny_imagenet.SHA256 in page
