"""What the documents promise is what the code has."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

from kdbench.claims.findings import read_report
from kdbench.plugin import hookspecs
from kdbench.plugin.loader import load_plugins
from kdbench.results.comparison import Difference
from kdbench.results.record import read_record
from tools import claims_page, methods_page, update

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
METHODS = (ROOT / "docs/methods.md").read_text()
MEASURED = json.loads((ROOT / "tools/data/methods.json").read_text())
LEARNING = MEASURED["learning"]


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


def test_tables_are_what_the_records_say() -> None:
    assert update.readme() == README
    assert update.benchmarks() == (ROOT / "docs/benchmarks.md").read_text()


def test_the_methods_page_is_what_methods_and_measurements_say() -> None:
    assert methods_page.methods_page() == METHODS


def test_the_claims_page_is_what_the_claims_and_their_evidence_say() -> None:
    page = claims_page.claims_page()
    assert page == (ROOT / "docs/claims.md").read_text()
    report = read_report(ROOT / "tools/data/claims.json")
    claims = load_plugins().claims
    for finding in report.findings:
        assert finding.provenance.kdbench_dirty is False
        claim = claims.get(finding.claim)
        assert (finding.sentence, finding.paper, finding.suite) == (claim.sentence, claim.paper, claim.suite)
        verdicts = [one.judge(found.ci_low, found.ci_high)
                    for one, found in zip(claim.comparisons, finding.outcomes, strict=True)]  # fmt: skip
        assert [found.verdict for found in finding.outcomes] == verdicts
        assert all(
            len(side.runs) == len(found.seeds) for found in finding.outcomes for side in (found.first, found.second)
        )


@pytest.mark.parametrize("section", ["learning", "cost"])
def test_every_method_is_measured(section: str) -> None:
    missing = [name for name in methods_page.first_party() if name not in MEASURED[section]]
    assert not missing, (
        f"tools/data/methods.json has no {section} of {missing}: "
        f"python -m tools.measure_methods --only {section} --methods {' '.join(missing)}, then python -m tools.update"
    )
    assert not MEASURED[section].keys() - methods_page.first_party().keys(), "a method that is no longer there"


def test_the_table_of_accuracies_agrees_with_the_runs() -> None:
    """Computed anew from each run's accuracy; its per-example results must say the same."""
    lines = [line for line in METHODS.splitlines() if re.match(r"\| `.+` \| (yes|no) \|", line)]
    rows = {line.split("`")[1]: line.split(" | ") for line in lines}
    assert rows.keys() == methods_page.first_party().keys()
    runs = {name: [run for run in seeds.values() if run["status"] == "finished"] for name, seeds in LEARNING.items()}
    reference = np.mean([run["accuracy"] for run in runs["ce"]])
    for name, (_, against, n, accuracy, best, gap, wanted) in rows.items():
        assert n.partition(",")[0] == str(len(runs[name]))
        if not runs[name]:
            assert (accuracy, best, gap) == ("-", "-", "-")
            assert "yes" not in wanted
            continue
        values = [run["accuracy"] for run in runs[name]]
        for run in runs[name]:
            assert sum(bin(int(digit, 16)).count("1") for digit in run["correct"]) == round(run["accuracy"] * run["n"])
        spread = f" ({100 * np.std(values, ddof=1):.1f})" if len(values) > 1 else ""
        assert accuracy == f"{100 * np.mean(values):.1f}{spread}"
        assert best == f"{100 * np.mean([run['peak'] for run in runs[name]]):.1f}"
        if name != "ce":
            difference = np.mean(values) - reference
            low, high = (float(end) for end in re.findall(r"[+-][\d.]+", gap)[1:])
            assert gap.startswith(f"{100 * difference:+.1f} (")
            assert low < 100 * difference < high
            limit = 0 if against == "yes" else -2
            assert ("yes" in wanted) == (100 * difference > limit)
            assert ("surely" in wanted) == (len(values) > 1 and not low <= limit <= high)


@pytest.mark.parametrize(
    ("differs", "tried", "finished", "said"),
    [
        (Difference(0.05, 0.01, 0.09, 0.0, True), 3, 3, "surely yes"),
        (Difference(0.05, 0.01, 0.09, 0.0, True), 3, 1, "yes"),
        (Difference(0.05, -0.01, 0.11, 0.1, True), 3, 3, "yes"),
        (Difference(-0.01, -0.05, 0.03, 0.6, True), 3, 3, "**no**"),
        (Difference(-0.05, -0.09, -0.01, 0.0, True), 3, 3, "**surely no**"),
        (None, 3, 0, "**no**"),
        (None, 0, 0, "not run yet"),
    ],
)
def test_verdicts(differs: Difference | None, tried: int, finished: int, said: str) -> None:
    assert methods_page.verdict(differs, 0.0, tried, finished) == said


def test_committed_records_are_valid_and_in_their_place() -> None:
    paths = list((ROOT / "leaderboards/records").rglob("*.json"))
    assert {path.parent.name for path in paths} >= {"ce", "kd", "nrd"}
    for path in paths:
        record = read_record(path)
        assert record.status == "finished"
        place = Path(record.spec.suite.name) / record.spec.method / f"{record.run_id}.json"
        assert path.relative_to(ROOT / "leaderboards/records") == place
        assert record.provenance.kdbench_dirty is False
