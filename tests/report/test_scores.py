from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from kdbench.metrics import wilson_interval
from kdbench.report import scores
from kdbench.report.style import MARKERS, MOST_RUNS, percent
from tests.leaderboard.evidence import make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows, score


def image(axes: Axes) -> np.ma.MaskedArray:
    """What a panel's only image shows, masked where it has no value."""
    [found] = axes.findobj(AxesImage)
    return found.get_array()


def texts(axes: Axes) -> list[str]:
    return [one.get_text() for one in axes.texts]


def markers(axes: Axes) -> list[tuple[float, bool]]:
    """Where the markers with intervals are along x, and whether they are hollow."""
    return [(float(one.get_xdata()[0]), one.get_markerfacecolor() == "white") for one in drawn(axes)]


def drawn(axes: Axes) -> list[Line2D]:
    """The markers, without those of the legend and the ends of the intervals."""
    return [one for one in axes.lines if one.get_marker() in MARKERS and len(one.get_xdata())]


def test_the_scores_are_those_that_a_leaderboard_ranks(tmp_path: Path) -> None:
    """One per task and condition; other scores of the record and those that are no fraction are left out."""
    given = [
        score(0.75, n=200),
        score(0.5, n=200, condition="sym-40", task="noisy_label"),
        score(0.3, n=100, task="calibration", metric="ece", setting={"bins": 15}, higher_is_better=False),
        score(0.25, task="pgd", metric="robust_accuracy", setting={"variant": "pgd-std", "steps": 20, "rule": "any"}),
    ]
    plot = only_plot(lambda: scores.scores(opened(tmp_path, make("ce").changed(scores=given, checks=[]))))
    low, high = wilson_interval(150, 200)
    assert rows(plot)[0] == {
        "axis": "clean", "condition": "clean", "score": "clean/accuracy", "run": "ce",
        "value": 0.75, "ci_low": low, "ci_high": high, "n": 200, "flagged": False,
    }  # fmt: skip
    assert column(plot, "axis") == ["clean", "noisy sym-40", "ECE"], "by families, as on the board"
    [axes] = plot.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "clean, n = 200", "noisy sym-40, n = 200", "ECE \N{DOWNWARDS ARROW}, n = 100",
    ]  # fmt: skip
    assert [x for x, _ in markers(axes)] == [0.75, 0.5, 0.3]
    assert texts(axes)[0] == f"75.0 ({100 * low:.1f}\N{EN DASH}{100 * high:.1f})"
    assert axes.get_xlim() == (0, 1)  # shown as 0 to 100 %
    assert "percent" in axes.get_xlabel()


def test_a_doubtful_score_is_hollow_and_flagged(tmp_path: Path) -> None:
    plot = only_plot(lambda: scores.scores(opened(tmp_path, make("ce", flagged=True))))
    flagged = column(plot, "axis", flagged=True)
    assert flagged == ["PGD-20 ε .031"]
    [axes] = plot.figure.axes
    assert [hollow for _, hollow in markers(axes)] == [row["flagged"] for row in rows(plot)]
    assert [text.endswith("[!]") for text in texts(axes)] == [row["flagged"] for row in rows(plot)]


def test_every_drawn_score_is_a_row_of_its_run(tmp_path: Path) -> None:
    runs = opened(tmp_path, *[make(f"m{i}", skill=0.5 + 0.1 * i, tasks=["clean", "ood"]) for i in range(MOST_RUNS)])
    plot = only_plot(lambda: scores.scores(runs))
    [axes] = plot.figure.axes
    assert [x for x, _ in markers(axes)] == column(plot, "value")
    for run in runs:
        [row] = rows(plot, run=run.label, axis="clean")
        [clean] = run.record.select("clean", "accuracy")
        assert (row["value"], row["ci_low"], row["ci_high"]) == (clean.value, clean.ci_low, clean.ci_high)
    assert len({float(one.get_ydata()[0]) for one in drawn(axes)}) == len(drawn(axes))  # none on another


def test_an_interval_that_leaves_its_value_out_is_drawn_as_it_is(tmp_path: Path) -> None:
    """In a record that nobody has validated."""
    ece = score(0.01, task="calibration", metric="ece", setting={"bins": 15}, higher_is_better=False)
    out = ece.model_copy(update={"ci_low": 0.02, "ci_high": 0.05})
    plot = only_plot(lambda: scores.scores(opened(tmp_path, make("ce").changed(scores=[out], checks=[]))))
    [axes] = plot.figure.axes
    assert [x for x, _ in markers(axes)] == [0.01]
    [[bar]] = [lines.get_segments() for lines in axes.collections]
    assert bar[:, 0].tolist() == pytest.approx([0.02, 0.05])


def test_different_numbers_of_images_are_a_range(tmp_path: Path) -> None:
    runs = opened(tmp_path, *[make(f"m{n}").changed(scores=[score(0.5, n=n)], checks=[]) for n in (1000, 300, 500)])
    [axes] = only_plot(lambda: scores.scores(runs)).figure.axes
    assert axes.get_yticklabels()[0].get_text() == "clean, n = 300\N{EN DASH}1,000"


def test_a_run_that_measured_nothing_says_why(tmp_path: Path) -> None:
    made = make("ce").changed(scores=[], error="condition clean: the training loss became nan", status="failed")
    plots, [gap] = plots_and_gaps(lambda: scores.scores(opened(tmp_path, made)))
    assert plots == []
    assert gap.reasons == ("ce measured nothing: condition clean: the training loss became nan",)


def cells(value: dict[tuple[str, int], float]) -> list[object]:
    return [
        score(
            share, n=100, task="corruption", setting={"corruption": name, "severity": severity, "images": "generated"}
        )
        for (name, severity), share in value.items()
    ]


def test_corruptions_are_a_map_and_its_difference(tmp_path: Path) -> None:
    one = {("fog", 1): 0.75, ("fog", 5): 0.25, ("frost", 1): 0.5, ("frost", 5): 0.5}
    other = {key: value - 0.25 for key, value in one.items()}
    runs = opened(tmp_path, *[make(n).changed(scores=cells(v), checks=[]) for n, v in (("a", one), ("b", other))])
    plot = only_plot(lambda: scores.corruptions(runs))
    first, second, difference = plot.figure.axes
    assert first.get_title("left") == "a: mean 50.0 %"
    assert second.get_title("left") == "b: mean 25.0 %"
    assert difference.get_title("left") == "a \N{MINUS SIGN} b"
    assert image(first).tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert image(difference).tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert texts(first) == ["75", "25", "50", "50"]
    assert texts(difference) == ["+25"] * 4
    assert column(plot, "accuracy", run="b", corruption="fog") == [0.5, 0.0]
    low, high = wilson_interval(50, 100)
    assert f"at most {percent((high - low) / 2)} points to either side" in plot.caption
    assert "n = 100 test images per cell" in plot.caption


def test_other_corruptions_have_no_difference_and_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    one, other = {("fog", 1): 0.75, ("frost", 5): 0.25}, {("snow", 1): 0.5}
    runs = opened(tmp_path, *[make(n).changed(scores=cells(v), checks=[]) for n, v in (("a", one), ("b", other))])
    plot = only_plot(lambda: scores.corruptions(runs))
    first, second = plot.figure.axes
    assert image(first).mask.tolist() == [[False, True], [True, False]]
    assert [label.get_text() for label in second.get_yticklabels()] == ["snow"]
    assert "difference" not in plot.caption
    assert first.get_title("left") == "a: mean 50.0 %"


def test_four_runs_leave_no_empty_panel(tmp_path: Path) -> None:
    runs = opened(tmp_path, *[make("ce", seed=seed) for seed in range(4)])
    plot = only_plot(lambda: scores.corruptions(runs))
    assert [axes.get_title("left") for axes in plot.figure.axes] == [
        f"{run.label}: mean {percent(run.record.select('corruption', 'mca')[0].value)} %" for run in runs
    ]


def test_accuracy_falls_along_the_steps_of_an_attack(tmp_path: Path) -> None:
    given = [
        score(0.75 - 0.25 * k - (0.125 if rule == "any" else 0), n=80, task="pgd", metric="accuracy_at_step",
              setting={"variant": variant, "steps": k, "rule": rule})
        for variant in ("pgd-std", "pgd-arani") for rule in ("last", "any") for k in (2, 0, 1)
    ]  # fmt: skip
    plot = only_plot(lambda: scores.steps(opened(tmp_path, make("ce").changed(scores=given, checks=[]))))
    assert [axes.get_title("left") for axes in plot.figure.axes] == ["pgd-std", "pgd-arani"]
    last, lasting = plot.figure.axes[0].lines
    assert list(last.get_xdata()) == [0, 1, 2]
    assert list(last.get_ydata()) == [0.75, 0.5, 0.25]
    assert list(lasting.get_ydata()) == [0.625, 0.375, 0.125]
    assert (last.get_label(), lasting.get_label()) == ("ce, iterate k", "ce, all up to k")
    assert lasting.get_markerfacecolor() == "white"
    [row] = rows(plot, attack="pgd-std", rule="any", k=1.0)
    assert (row["accuracy"], row["n"]) == (0.375, 80)
    assert (row["ci_low"], row["ci_high"]) == wilson_interval(30, 80)
    assert plot.figure.axes[0].get_ylabel() == "accuracy (%), n = 80"


def test_transfer_is_a_table_of_sources_by_runs(tmp_path: Path) -> None:
    def record(name: str, sources: dict[str, float], conditional: dict[str, float]) -> object:
        given = [score(value, task="transfer", setting={"source": source}) for source, value in sources.items()]
        given += [
            score(value, n=100, task="transfer", metric="conditional_accuracy", setting={"source": source})
            for source, value in conditional.items()
        ]
        return make(name).changed(scores=given, checks=[])

    made = [record("a", {"teacher": 0.5, "self": 0.25}, {"teacher": 0.75}), record("b", {"self": 0.125}, {})]
    plot = only_plot(lambda: scores.transfer(opened(tmp_path, *made)))
    assert plot.title == "Transfer of adversarial examples"
    everything, right = plot.figure.axes
    assert [label.get_text() for label in everything.get_yticklabels()] == ["teacher", "self"]
    assert [label.get_text() for label in everything.get_xticklabels()] == ["a", "b"]
    assert image(everything).filled(-1).tolist() == [[0.5, -1], [0.25, 0.125]]
    assert image(right).filled(-1).tolist() == [[0.75, -1], [-1, -1]]
    assert everything.get_title("left") == "all images, n = 200"
    assert right.get_title("left") == "images right unattacked, n = 100"
    low, high = wilson_interval(100, 200)
    assert texts(everything)[0] == f"50.0\n{100 * low:.1f}\N{EN DASH}{100 * high:.1f}"
    [row] = rows(plot, images="images right unattacked")
    assert (row["run"], row["source"], row["accuracy"], row["n"]) == ("a", "teacher", 0.75, 100)


@pytest.mark.parametrize(
    ("part", "title", "reason"),
    [
        (scores.corruptions, "Accuracy under corruptions", "no run measured corruptions"),
        (scores.steps, "Accuracy against the number of attack steps", "no run has accuracies step by step"),
        (scores.transfer, "Transfer of adversarial examples", "no run measured transfer"),
    ],
)
def test_what_no_run_measured_is_said(part: object, title: str, reason: str, tmp_path: Path) -> None:
    assert callable(part)
    plots, [gap] = plots_and_gaps(lambda: part(opened(tmp_path, make("ce", tasks=["clean"]))))
    assert (plots, gap.title, gap.reasons) == ([], title, (reason,))


def test_a_condition_that_only_the_second_run_measured_is_shown(tmp_path: Path) -> None:
    made = [
        make("a", tasks=["clean"]),
        make("b").changed(scores=[score(0.5, task="transfer", condition="sym-40", setting={"source": "self"})]),
    ]
    plot = only_plot(lambda: scores.transfer(opened(tmp_path, *made)))
    assert "trained under sym-40" in plot.caption
    assert column(plot, "run") == ["b"]


def test_transfer_of_two_tasks_is_two_plots(tmp_path: Path) -> None:
    given = [
        score(value, task=task, setting={"source": "self"})
        for task, value in (("teacher_transfer", 0.75), ("transfer", 0.125))
    ]
    plots, gaps = plots_and_gaps(lambda: scores.transfer(opened(tmp_path, make("ce").changed(scores=given, checks=[]))))
    assert [(plot.key, column(plot, "accuracy")) for plot in plots] == [("transfer", [0.75]), ("transfer-2", [0.125])]
    assert ["Task teacher_transfer:" in plots[0].caption, "Task transfer:" in plots[1].caption] == [True, True]
    assert gaps == []
