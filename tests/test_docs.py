"""What the documents promise is what the code has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from kdbench import hookspecs

ROOT = Path(__file__).parent.parent
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
    source = (ROOT / "examples/kdbench-label-smoothing/kdbench_label_smoothing.py").read_text()
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
