from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kdbench.errors import KdbenchError
from kdbench.metrics import wilson_interval
from kdbench.report.confidence import BINS, reliability, softmax_histogram
from kdbench.report.runs import Run
from kdbench.results.figures import MAGNITUDES
from kdbench.results.record import Score
from tests.leaderboard.evidence import make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows, with_files

# Bins are (0, 1/15], (1/15, 2/15], ...: .31, .32 and 1/3 lie in the fifth, 1 in the last.
CONFIDENCE = np.array([0.31, 0.32, 1 / 3, 1.0], dtype=np.float64)
CORRECT = np.array([True, False, False, True])


def predictions(condition: str = "clean", correct: Any = CORRECT) -> dict[str, Any]:
    return {f"{condition}/calibration/confidence": CONFIDENCE, f"{condition}/clean/correct": correct}


def test_reliability_shows_accuracy_against_confidence_in_each_bin(tmp_path: Path) -> None:
    made = with_files(make("ce", conditions=["clean"]), predictions=predictions())
    plot = only_plot(lambda: reliability(opened(tmp_path, made)))
    assert [row["n"] for row in rows(plot)] == [0, 0, 0, 0, 3, *[0] * 9, 1]
    fifth, last = rows(plot)[4], rows(plot)[14]
    assert (fifth["from"], fifth["to"]) == pytest.approx((4 / 15, 5 / 15))
    assert (fifth["confidence"], fifth["accuracy"]) == pytest.approx(((0.31 + 0.32 + 1 / 3) / 3, 1 / 3))
    assert (fifth["ci_low"], fifth["ci_high"]) == wilson_interval(1, 3)
    assert (last["confidence"], last["accuracy"], last["to"]) == (1, 1, 1)
    upper, lower = plot.figure.axes
    line = upper.lines[1]  # after that of a perfect student
    assert line.get_xydata()[4].tolist() == [fifth["confidence"], fifth["accuracy"]]
    [(_, _, [bars])] = upper.containers
    assert bars.get_segments()[4].ravel() == pytest.approx(
        [fifth["confidence"], fifth["ci_low"], fifth["confidence"], fifth["ci_high"]]
    )
    shares, edges, _ = lower.patches[0].get_data()
    assert shares.tolist() == pytest.approx([0, 0, 0, 0, 0.75, *[0] * 9, 0.25])
    assert edges.tolist() == pytest.approx(np.linspace(0, 1, BINS + 1).tolist())
    gap = abs(1 - (0.31 + 0.32 + 1 / 3)) / 4  # of the fifth bin: 1 right, where its confidences say .96
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert f"ce: ECE {100 * gap:.1f} %" in labels
    assert "n = 4 test images" in plot.caption


def test_the_calibration_error_shown_is_the_score_of_the_record(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"))
    plot = only_plot(lambda: reliability(runs))
    for axes, condition in zip(plot.figure.axes[:2], runs[0].conditions, strict=True):
        [ece] = [one.value for one in runs[0].record.select("calibration", "ece") if one.condition == condition]
        assert axes.get_title("left") == f"trained under {condition}"
        assert f"ce: ECE {100 * ece:.1f} %" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_student_without_confidences_is_named(tmp_path: Path) -> None:
    made = with_files(make("ce"), predictions=predictions())
    [plot], [gap] = plots_and_gaps(lambda: reliability(opened(tmp_path, made)))
    assert set(column(plot, "condition")) == {"clean"}
    assert gap.title == "Reliability of some students"
    assert gap.reasons == ("ce has no confidences under sym-40",)


def test_without_predictions_there_is_no_diagram(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"))
    runs[0].path.with_name("predictions.npz").unlink()
    plots, [gap] = plots_and_gaps(lambda: reliability(runs))
    assert (plots, gap.title) == ([], "Reliability")
    assert gap.reasons == ("predictions.npz of ce is not beside the record",)


class Outputs:
    """A bench that knows softmax outputs, by run and condition."""

    def __init__(self, known: Mapping[tuple[str, str], NDArray[np.float64]]) -> None:
        self.known = known

    def probabilities(self, run: Run, condition: str) -> NDArray[np.float64]:
        if (run.label, condition) not in self.known:
            raise KdbenchError(f"no checkpoint of {run.label} under {condition}")
        return self.known[run.label, condition]


def test_a_histogram_of_softmax_outputs(tmp_path: Path) -> None:
    """Two images, two classes: .9 .1 and .6 .4, in bins .02 wide."""
    runs = opened(tmp_path, make("ce"))
    bench = Outputs({("ce", "clean"): np.array([[0.91, 0.09], [0.61, 0.39]])})
    [plot], [gap] = plots_and_gaps(lambda: softmax_histogram(runs, bench))  # type: ignore[arg-type]  # as much as it asks
    filled = {round(row["from"], 2): row["share"] for row in rows(plot, outputs="all") if row["share"]}
    assert filled == {0.08: 0.25, 0.38: 0.25, 0.6: 0.25, 0.9: 0.25}
    filled = {round(row["from"], 2): row["share"] for row in rows(plot, outputs="largest") if row["share"]}
    assert filled == {0.6: 0.5, 0.9: 0.5}
    assert len(rows(plot)) == 2 * MAGNITUDES
    everything, largest = plot.figure.axes
    assert everything.get_ylabel() == "all C\N{MULTIPLICATION SIGN}N = 4 (%)"
    assert largest.get_ylabel() == "largest, N = 2 (%)"
    assert everything.get_yscale() == "log"
    assert (gap.title, gap.reasons) == (
        "Magnitude of softmax outputs of some students", ("no checkpoint of ce under sym-40",),
    )  # fmt: skip


def test_without_checkpoints_there_is_no_histogram(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"))
    plots, [gap] = plots_and_gaps(lambda: softmax_histogram(runs, Outputs({})))  # type: ignore[arg-type]  # as above
    assert plots == []
    assert gap.reasons == ("no checkpoint of ce under clean", "no checkpoint of ce under sym-40")


def test_the_teacher_is_drawn_where_records_have_its_outputs(tmp_path: Path) -> None:
    """Once, though two students share it."""
    shares = [
        Score(task="softmax_magnitude", metric="output_share", condition="clean", value=share, n=2, ci_low=0, ci_high=1,
              setting={"network": network, "outputs": outputs, "low": low, "high": low + 0.5})
        for network in ("student", "teacher") for outputs in ("all", "largest")
        for low, share in ((0, 0.25), (0.5, 0.75))
    ]  # fmt: skip
    made = [make(name, conditions=["clean"]) for name in ("ce", "kd")]
    for one in made:
        one.record.scores.extend(shares)
    runs = opened(tmp_path, *made)
    bench = Outputs({(name, "clean"): np.array([[0.91, 0.09], [0.61, 0.39]]) for name in ("ce", "kd")})
    plot = only_plot(lambda: softmax_histogram(runs, bench))  # type: ignore[arg-type]  # as above
    found = [(row["outputs"], row["from"], row["to"], row["share"]) for row in rows(plot, run="teacher")]
    assert found == [("all", 0, 0.5, 0.25), ("all", 0.5, 1, 0.75), ("largest", 0, 0.5, 0.25), ("largest", 0.5, 1, 0.75)]
    labels = [text.get_text() for text in plot.figure.axes[0].get_legend().get_texts()]
    assert labels == ["ce", "kd", "teacher"]
