from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdbench.report.compare import differences
from kdbench.report.parts import Plot
from kdbench.results import comparison
from tests.leaderboard.evidence import Made, make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows, score, with_files

N = 400


def measured(name: str, right: int, more: int = 0, seed: int = 0) -> Made:
    """A method that answers the first ``right`` of 400 images rightly, and ``more`` of the last."""
    correct = np.arange(N) < right
    correct[N - more :] = True
    own = np.arange(N) % 7 == seed  # trained twice, no two answer alike: another task's answers tell seeds apart
    answers = {"clean/clean/correct": correct, "clean/other/correct": own}
    made = with_files(make(name, seed=seed, tasks=["clean"]), predictions=answers)
    return made.changed(scores=[score(float(correct.mean()), n=N)], checks=[])


def hollow(plot: Plot) -> list[bool]:
    return [bars[0].get_markerfacecolor() == "white" for bars in plot.figure.axes[0].containers]


def test_one_run_has_no_differences(tmp_path: Path) -> None:
    assert plots_and_gaps(lambda: differences(opened(tmp_path, make("ce")))) == ([], [])


def test_a_difference_is_paired_image_by_image(tmp_path: Path) -> None:
    """By hand: b loses 60 images that a has and wins 20 that a has not; half an image in each direction is added.

    Two seeds that answer alike: their spread is 0.
    """
    made = [one for seed in range(2) for one in (measured("a", 300, seed=seed), measured("b", 240, 20, seed))]
    plot = only_plot(lambda: differences(opened(tmp_path, *made)))
    examples = (60 + 20 - N * 0.1**2) / (N * (N - 1))
    variance = examples + 1 / N**2
    freedom = variance**2 / (examples**2 / (N - 1))
    half = stats.t.ppf(0.975, freedom) * variance**0.5
    [row] = rows(plot)
    assert (row["axis"], row["method"], row["than"]) == ("clean", "b", "a")
    assert row["better_by"] == pytest.approx(-0.1)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.1 - half, -0.1 + half))
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(0.1 / variance**0.5, freedom))
    assert (row["significant"], row["paired"], row["n"], row["seeds"]) == (True, True, N, "2 and 2")
    [axes] = plot.figure.axes
    [bars] = axes.containers
    assert float(bars[0].get_xdata()[0]) == row["better_by"]
    assert bars[2][0].get_segments()[0][:, 0] == pytest.approx([row["ci_low"], row["ci_high"]])
    assert axes.xaxis.get_major_formatter()(row["better_by"], 0) == "-10"
    assert f"at most \N{PLUS-MINUS SIGN}{100 * half:.1f} points" in plot.caption
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"clean, n = {N}"], (
        "what nobody measured has no row"
    )


def test_the_first_run_is_what_the_others_are_compared_with(tmp_path: Path) -> None:
    a, b = measured("a", 300), measured("b", 240, more=20)
    forward = only_plot(lambda: differences(opened(tmp_path, a, b)))
    backward = only_plot(lambda: differences(opened(tmp_path, b, a)))
    assert column(forward, "better_by") == [-column(backward, "better_by")[0]]
    assert column(backward, "than") == ["b"]
    assert backward.figure.axes[0].get_xlabel() == "better than b by points, with 95 % intervals"


def test_what_is_not_significant_is_hollow(tmp_path: Path) -> None:
    right = {"a": 300, "b": 302, "c": 200}
    made = [measured(name, right[name], seed=seed) for name in right for seed in range(2)]
    plot = only_plot(lambda: differences(opened(tmp_path, *made)))
    by_method = {row["method"]: row for row in rows(plot)}
    assert [by_method[name]["significant"] for name in "bc"] == [False, True]
    assert hollow(plot) == [not row["significant"] for row in rows(plot)]


def test_with_one_seed_nothing_is_tested_and_the_interval_is_dashed(tmp_path: Path) -> None:
    made = [measured("a", 300), *(measured("b", 200, seed=seed) for seed in range(2))]
    plot = only_plot(lambda: differences(opened(tmp_path, *made)))
    [row] = rows(plot)
    assert (row["better_by"], row["significant"], np.isnan(row["p_value"])) == (pytest.approx(-0.25), False, True)
    assert row["ci_low"] < row["better_by"] < row["ci_high"]
    [bars] = plot.figure.axes[0].containers
    assert hollow(plot) == [True]
    assert bars[2][0].get_linestyle()[0][1] is not None, "dashed"


def test_seeds_of_a_method_are_one_row(tmp_path: Path) -> None:
    made = [make(name, seed=seed, skill=skill) for name, skill in (("ce", 1.0), ("gce", 0.8)) for seed in range(2)]
    plot = only_plot(lambda: differences(opened(tmp_path, *made)))
    samples = {
        name: comparison.shares(
            np.stack([one.predictions["clean/clean/correct"] for one in made if one.record.spec.method == name])
        )
        for name in ("ce", "gce")
    }
    expected = comparison.difference(samples["gce"], samples["ce"])
    [row] = rows(plot, axis="clean")
    assert (row["method"], row["than"], row["seeds"]) == ("gce", "ce", "2 and 2")
    assert row["better_by"] == pytest.approx(expected.value)
    assert row["ci_low"] == pytest.approx(expected.ci_low)
    assert row["p_value"] == pytest.approx(expected.p_value)


def test_what_is_better_lower_has_an_arrow_and_counts_as_better(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"), make("kd", skill=0.8))
    plot = only_plot(lambda: differences(runs))
    titles = [label.get_text() for label in plot.figure.axes[0].get_yticklabels()]
    assert [title.partition(",")[0] for title in titles if "\N{DOWNWARDS ARROW}" in title] == [
        "ECE \N{DOWNWARDS ARROW}", "ECE sym-40 \N{DOWNWARDS ARROW}",
    ]  # fmt: skip
    first, second = (run.record.select("calibration", "ece")[0].value for run in runs)
    assert column(plot, "better_by", axis="ECE")[0] == pytest.approx(first - second, abs=1e-6)


def test_without_per_example_results_a_difference_is_not_paired(tmp_path: Path) -> None:
    made = [dataclasses.replace(one, predictions={}) for one in (make("a"), make("b", skill=0.5))]
    plot = only_plot(lambda: differences(opened(tmp_path, *[with_files(one) for one in made])))
    assert set(column(plot, "paired")) == {False}


def test_runs_of_one_method_cannot_be_compared(tmp_path: Path) -> None:
    plots, [gap] = plots_and_gaps(lambda: differences(opened(tmp_path, make("ce"), make("ce", seed=1))))
    assert (plots, gap.title) == ([], "Differences")
    assert gap.reasons == ("the runs are of one method: with several seeds they are one row",)


def test_what_is_not_compared_of_a_run_is_named_with_the_reason(tmp_path: Path) -> None:
    made = [make("a"), make("b"), make("c", versions={"clean": 99}), make("d", tasks=["ood"], versions={"ood": 99})]
    [plot], [gap] = plots_and_gaps(lambda: differences(opened(tmp_path, *made)))
    assert set(column(plot, "method")) == {"b", "c"}
    assert gap.title == "What is not compared"
    last, one = gap.reasons
    assert last.startswith(f"d {made[3].record.run_id}: version 99 of task ood")
    assert one.startswith(f"c {made[2].record.run_id}: clean: version 99 of task clean")
