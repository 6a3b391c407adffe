from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.results.comparison import Difference
from tools import methods_page

ROOT = Path(__file__).parents[2]
METHODS = (ROOT / "docs/methods.md").read_text()
MEASURED = json.loads((ROOT / "tools/data/methods.json").read_text())
LEARNING = MEASURED["learning"]


@pytest.mark.parametrize("section", ["learning", "cost"])
def test_every_method_is_measured(section: str) -> None:
    missing = [name for name in methods_page.first_party() if name not in MEASURED[section]]
    assert not missing, (
        f"tools/data/methods.json has no {section} of {missing}: "
        f"python -m tools.measure_methods --only {section} --methods {' '.join(missing)}, then python -m tools.update"
    )
    assert not MEASURED[section].keys() - methods_page.first_party().keys(), "a method that is no longer there"


def test_the_table_of_accuracies_agrees_with_the_runs() -> None:
    """Computed again from each run's accuracy; its per-example results must say the same."""
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


def run(correct: list[int], peak: float = 0.9) -> dict[str, Any]:
    """What is kept of a finished run with these per-example results."""
    bits = np.array(correct, dtype=bool)
    return {
        "status": "finished", "accuracy": float(bits.mean()), "correct": np.packbits(bits).tobytes().hex(),
        "n": len(bits), "peak": peak, "epochs": 30, "commit": "abcdef0123", "dirty": False,
        "device_name": "a processor", "threads": 1, "torch": "2.11",
    }  # fmt: skip


def test_a_row_has_means_over_seeds_and_the_paired_difference() -> None:
    """Accuracies .5 and .75: mean 62.5, standard deviation 17.7; one of two tried again failed."""
    ours, reference = [run([1, 1, 0, 0]), run([1, 1, 1, 0], peak=1.0)], [run([1, 0, 0, 0])]
    differs = methods_page.difference(methods_page.sample(ours), methods_page.sample(reference))
    line = methods_page.learning_line("gce", ours, 3, differs)
    assert line[:5] == ["`gce`", "yes", "2, 1 failed", "62.5 (17.7)", "95.0"]
    assert line[5].startswith("+37.5 (")
    assert methods_page.learning_line("ce", reference, 1, None)[5:] == ["-", "-"]
    assert methods_page.learning_line("gce", [], 2, None) == ["`gce`", "yes", "0, 2 failed", "-", "-", "-", "**no**"]


def test_methods_are_ordered_by_accuracy_and_odd_ones_explained() -> None:
    rows = {"ce": {"0": run([1, 1, 0, 0])}, "mae": {"0": run([0, 0, 0, 0])}, "kd": {"0": run([1, 1, 1, 0])},
            "swap-top2": {"0": run([1, 1, 1, 0])}, "nrd": {"0": {"status": "failed"}}}  # fmt: skip
    text = methods_page.learning(rows)
    assert re.findall(r"^\| `(.+?)` \| (?:yes|no) ", text, re.M) == ["kd", "swap-top2", "ce", "mae", "nrd"]
    assert f"- `mae` {methods_page.WHY_NOT['mae']}." in text
    assert "`swap-top2` is `kd` here, image by image" in text
    assert "at commit abcdef0." in text


def test_runs_that_diverged_are_not_averaged() -> None:
    seeds = {"10": run([1]), "9": run([0]), "2": {"status": "failed"}}
    assert [one["accuracy"] for one in methods_page.finished_runs(seeds)] == [0, 1]


def test_a_section_says_what_a_method_is_needs_and_costs() -> None:
    described = {
        "name": "mine", "what": "The idea.", "paper": "https://arxiv.org/abs/1", "needs": {"teacher": "the suite's"},
        "parameters": [{"name": "a", "default": 1, "range": "x | y", "meaning": "what"}],
    }  # fmt: skip
    text = methods_page.method_section(described, {"ratio": 1.254, "lowest": 1.2, "highest": 1.3})
    assert text.split("\n\n") == [
        "### mine", "The idea.", "Paper: <https://arxiv.org/abs/1>", "Needs: `teacher`: the suite's",
        "Cost per step: 1.25 times that of `ce` (1.20-1.30), after the training of what it needs.",
        "| parameter | default | range | meaning |\n| --- | --- | --- | --- |\n| `a` | `1` | x \\| y | what |",
    ]  # fmt: skip
    assert "Cost" not in methods_page.method_section(described, None)


def test_machines_are_named_once() -> None:
    one = {"device_name": "a", "threads": 1, "torch": "2"}
    assert methods_page.machines([one, one, {**one, "threads": 2}]) == "a, 1 thread, torch 2; a, 2 threads, torch 2"


def test_nothing_measured_is_said() -> None:
    assert methods_page.costs({}).endswith("Not measured yet.")
