from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdbench.data import DataPlace
from kdbench.errors import KdbenchError
from kdbench.metrics import wilson_interval
from kdbench.report import memorisation
from kdbench.report.bench import Bench
from kdbench.report.runs import Run, open_runs
from kdbench.results.record import Record
from kdbench.tasks.context import TrainingLabels
from tests.leaderboard.evidence import make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows

CPU = torch.device("cpu")


class ByBrightness(nn.Module):
    """Answers with the class whose number the first pixel of an image has."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot((255 * images[:, 0, 0, 0]).round().long().clamp(0, 9), 10).float()


class Known:
    """A bench with ten images in each of four classes, a quarter of which have the next class for a label.

    A student that "corrects" answers with the true class, one that "remembers" with the label.
    """

    device = CPU

    def __init__(self, students: Mapping[str, str]) -> None:
        self.students = students
        self.true = torch.arange(40) % 4
        self.observed = torch.where(torch.arange(40) < 10, (self.true + 1) % 4, self.true)

    def training_labels(self, run: Run, condition: str) -> TrainingLabels:
        if run.label not in self.students:
            raise KdbenchError(f"no checkpoint of {run.label}")
        answer = self.true if self.students[run.label] == "corrects" else self.observed
        images = answer.to(torch.uint8)[:, None, None, None].expand(40, 3, 8, 8).contiguous()
        return TrainingLabels(images, self.observed, self.true)

    def predictor(self, run: Run, condition: str) -> nn.Module:
        return ByBrightness()


def test_what_a_student_corrects_and_what_it_remembers(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("a", conditions=["sym-40"]), make("b", conditions=["sym-40"]))
    bench = Known({"a": "corrects", "b": "remembers"})
    plot = only_plot(lambda: memorisation.memorisation(runs, bench, 1, None))  # type: ignore[arg-type]  # as it asks
    assert plot.key == "memorisation-sym-40"
    plain = [(row["images"], row["accuracy"], row["n"]) for row in rows(plot, run="a", views=0)]
    assert plain == [("clean-labelled", 1, 30), ("mislabelled", 1, 10), ("all", 1, 40)]
    remembered = rows(plot, run="b", views=0)
    assert [row["accuracy"] for row in remembered] == [1, 0, 0.75]
    assert (remembered[1]["ci_low"], remembered[1]["ci_high"]) == wilson_interval(0, 10)
    assert "of which 25.0 % are mislabelled" in plot.caption
    assert [axes.get_title("left") for axes in plot.figure.axes] == [
        "clean-labelled, n = 30", "mislabelled, n = 10", "all, n = 40",
    ]  # fmt: skip
    assert [label.get_text() for label in plot.figure.axes[0].get_xticklabels()] == ["image", "1"]
    lines = {line.get_label(): line for line in plot.figure.axes[1].lines}
    assert [lines[run.label].get_ydata()[0] for run in runs] == [1, 0]


@pytest.mark.parametrize(("most", "views"), [(1, [0, 1]), (2, [0, 1, 2]), (8, [0, 1, 8]), (9, [0, 1, 8, 9])])
def test_views_are_the_usual_ones_and_the_most_that_are_asked_for(most: int, views: list[int], tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce", conditions=["sym-40"]))
    bench = Known({"ce": "corrects"})
    plot = only_plot(lambda: memorisation.memorisation(runs, bench, most, None))  # type: ignore[arg-type]  # as above
    assert list(dict.fromkeys(column(plot, "views"))) == views


def test_only_the_first_images_are_used_when_fewer_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = opened(tmp_path, make("ce", conditions=["sym-40"]))
    bench = Known({"ce": "remembers"})
    plot = only_plot(lambda: memorisation.memorisation(runs, bench, 1, 20))  # type: ignore[arg-type]  # as above
    assert column(plot, "n", views=0) == [10, 10, 20]
    assert "on the first 20 of the shuffled training images, of which 50.0 %" in plot.caption
    monkeypatch.setattr(memorisation, "ON_A_CPU", 5)
    plot = only_plot(lambda: memorisation.memorisation(runs, bench, 1, None))  # type: ignore[arg-type]  # as above
    assert column(plot, "n", views=0) == [0, 5, 5]
    assert column(plot, "accuracy", views=0)[1:] == [0, 0]


def test_conditions_and_students_that_have_nothing_to_show(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("a"), make("b"))
    bench = Known({"b": "corrects"})
    [plot], [gap] = plots_and_gaps(lambda: memorisation.memorisation(runs, bench, 1, None))  # type: ignore[arg-type]
    assert set(column(plot, "run")) == {"b"}
    assert gap.title == "Memorisation and label correction of other students"
    assert gap.reasons == ("condition clean has no label noise", "no checkpoint of a")
    plots, [gap] = plots_and_gaps(lambda: memorisation.memorisation(runs[:1], bench, 1, None))  # type: ignore[arg-type]
    assert (plots, gap.title) == ([], "Memorisation and label correction")


def test_a_real_student_is_measured_against_labels_that_training_never_saw(trained: tuple[Record, Path]) -> None:
    [run] = open_runs([trained[1]])
    bench = Bench([run], DataPlace.default(), CPU)
    [plot], _ = plots_and_gaps(lambda: memorisation.memorisation([run], bench, 1, None))
    labels, model = bench.training_labels(run, "sym-40"), bench.predictor(run, "sym-40")
    with torch.no_grad():
        right = model(labels.images.float() / 255).argmax(1) == labels.true
    clean, mislabelled, everything = column(plot, "accuracy", views=0)
    assert everything == right.double().mean().item()
    assert everything == pytest.approx(0.4 * mislabelled + 0.6 * clean)  # 40 % of 200 labels are wrong
    assert column(plot, "n", views=0) == [120, 80, 200]
