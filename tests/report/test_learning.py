from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.metrics import wilson_interval
from kdbench.report.learning import method_numbers, polygon_projection, polygons, training_curves
from kdbench.report.runs import Run
from tests.leaderboard.evidence import make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows, with_files


def log(accuracies: Sequence[float], condition: str = "clean", **more: Sequence[Any]) -> list[dict[str, Any]]:
    """A training log with these test accuracies on 40 images, a loss of 1 / epoch, and more numbers of each epoch."""
    return [
        {"condition": condition, "epoch": epoch, "loss": 1 / epoch, "lr": 0.1, "seconds": 2.0}
        | {"test_accuracy": accuracy, "test_n": 40}
        | {name: values[epoch - 1] for name, values in more.items()}
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]


def trained(folder: Path, entries: Sequence[Mapping[str, Any]], name: str = "ce") -> list[Run]:
    conditions = list(dict.fromkeys(str(entry["condition"]) for entry in entries))
    return opened(folder, with_files(make(name, conditions=conditions), log=entries))


def test_peak_and_last_epoch_are_marked_and_their_drop_is_told(tmp_path: Path) -> None:
    plot = only_plot(lambda: training_curves(trained(tmp_path, log([0.25, 0.75, 0.5]))))
    assert column(plot, "epoch") == [1, 2, 3]
    assert column(plot, "test_accuracy") == [0.25, 0.75, 0.5]
    assert column(plot, "loss") == [1, 0.5, 1 / 3]
    assert set(column(plot, "test_n")) == {40}
    assert "ce under clean: peak 75.0 % in epoch 2, last 50.0 % in epoch 3, drop 25.0 points." in plot.caption
    upper, lower = plot.figure.axes
    line, peak, last, _ = upper.lines
    assert list(line.get_ydata()) == [0.25, 0.75, 0.5]
    assert (peak.get_xdata()[0], peak.get_ydata()[0], peak.get_markerfacecolor()) == (2, 0.75, "white")
    assert (last.get_xdata()[0], last.get_ydata()[0]) == (3, 0.5)
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["ce: drop 25.0 points"]
    assert upper.get_ylabel() == "test accuracy (%), n = 40"
    assert list(lower.lines[0].get_ydata()) == [1, 0.5, 1 / 3]
    assert lower.get_ylabel() == "training loss (nats)"
    [band] = upper.collections
    low, high = wilson_interval(30, 40)
    vertices = band.get_paths()[0].vertices
    assert sorted({y for x, y in vertices if x == 2}) == pytest.approx([low, high])


def test_a_student_that_ends_at_its_best_dropped_by_nothing(tmp_path: Path) -> None:
    plot = only_plot(lambda: training_curves(trained(tmp_path, log([0.25, 0.5, 0.5]))))
    assert "peak 50.0 % in epoch 2, last 50.0 % in epoch 3, drop 0.0 points" in plot.caption


def test_a_log_without_accuracies_still_shows_the_loss(tmp_path: Path) -> None:
    entries = [{"condition": "clean", "epoch": epoch, "loss": 2.0} for epoch in (1, 2)]
    plot = only_plot(lambda: training_curves(trained(tmp_path, entries)))
    upper, lower = plot.figure.axes
    assert not upper.lines
    assert list(lower.lines[0].get_ydata()) == [2, 2]
    assert column(plot, "test_accuracy") == [None, None]


def test_accuracies_outside_0_to_1_have_no_band(tmp_path: Path) -> None:
    plot = only_plot(lambda: training_curves(trained(tmp_path, log([0.5, 1.5]))))
    assert not plot.figure.axes[0].collections


def test_a_log_that_is_not_there_or_says_nothing(tmp_path: Path) -> None:
    half = opened(tmp_path, with_files(make("ce"), log=log([0.5])))
    [plot], [gap] = plots_and_gaps(lambda: training_curves(half))
    assert set(column(plot, "condition")) == {"clean"}
    assert (gap.title, gap.reasons) == (
        "Training and over-fitting of some students", ("the log of ce has no epoch under sym-40",),
    )  # fmt: skip
    half[0].path.with_name("log.jsonl").unlink()
    for part in (training_curves, lambda runs: method_numbers(runs, {})):
        plots, [gap] = plots_and_gaps(lambda part=part: part(half))  # type: ignore[misc]  # bound now
        assert (plots, gap.reasons) == ([], ("log.jsonl of ce is not beside the record",))


def test_a_methods_own_numbers_are_lines_beside_the_number_of_images(tmp_path: Path) -> None:
    runs = trained(tmp_path, log([0.5, 0.5], swaps=[600, 1500], weight=[0.5, 0.25]))
    plot = only_plot(lambda: method_numbers(runs, {"clean": 1000}))
    assert [(row["number"], row["epoch"], row["value"]) for row in rows(plot)] == [
        ("swaps", 1, 600), ("swaps", 2, 1500), ("weight", 1, 0.5), ("weight", 2, 0.25),
    ]  # fmt: skip
    swaps, weight = plot.figure.axes
    assert [text.get_text() for text in swaps.texts] == ["N = 1,000", "2 N = 2,000"]
    assert not weight.texts  # .5 counts no images
    assert list(swaps.lines[0].get_ydata()) == [600, 1500]
    assert swaps.get_ylabel() == "swaps"


@pytest.mark.parametrize(
    ("most", "lines"), [(99, []), (101, ["N"]), (1000, ["N"]), (1001, ["N", "2 N"]), (2000, ["N", "2 N"]), (2001, [])]
)
def test_the_number_of_images_is_drawn_where_a_count_comes_near_it(most: int, lines: list[str], tmp_path: Path) -> None:
    runs = trained(tmp_path, log([0.5], count=[most]))
    [axes] = only_plot(lambda: method_numbers(runs, {"clean": 1000})).figure.axes
    assert [text.get_text().partition(" =")[0] for text in axes.texts] == lines
    [axes] = only_plot(lambda: method_numbers(runs, {})).figure.axes
    assert not axes.texts


def test_a_number_that_only_one_condition_has(tmp_path: Path) -> None:
    """Without a word of matplotlib's about a panel that has nothing to explain."""
    runs = trained(tmp_path, [*log([0.5], first=[1.5]), *log([0.5], "sym-40", second=[2.5])])
    plot = only_plot(lambda: method_numbers(runs, {}))
    assert [(row["condition"], row["number"], row["value"]) for row in rows(plot)] == [
        ("clean", "first", 1.5), ("sym-40", "second", 2.5),
    ]  # fmt: skip
    assert [axes.get_legend() is not None for axes in plot.figure.axes] == [True, False, False, True]


def test_methods_without_numbers_of_their_own_are_said_to_have_none(tmp_path: Path) -> None:
    plots, [gap] = plots_and_gaps(lambda: method_numbers(trained(tmp_path, log([0.5])), {}))
    assert (plots, gap.reasons) == ([], ("the methods log no numbers of their own",))


def test_softmax_vectors_on_a_decagon_are_sums_of_its_corners() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), size=(3, 7))
    expected = np.zeros((3, 7, 2))
    for c in range(10):
        corner = (math.cos(2 * math.pi * c / 10), math.sin(2 * math.pi * c / 10))
        expected += probabilities[..., c, None] * np.array(corner)
    assert polygon_projection(probabilities) == pytest.approx(expected)
    assert np.linalg.norm(polygon_projection(np.eye(10)), axis=1) == pytest.approx(np.ones(10))


def watched(softmax: Any, labels: Sequence[int]) -> dict[str, Any]:
    return {"softmax": np.array(softmax, dtype=np.float32), "labels": np.array(labels)}


def test_softmax_vectors_over_epochs(tmp_path: Path) -> None:
    """Four classes are the corners of a square: east, north, west, south. Two images, of class 0 and of class 1."""
    sure, unsure = [[1, 0, 0, 0], [0, 0, 0, 1]], [[0.25] * 4, [0, 0.5, 0.5, 0]]
    made = with_files(make("ce", conditions=["clean"]), softmax={"clean": watched([unsure, sure], [0, 1])})
    plot = only_plot(lambda: polygons(opened(tmp_path, made), ["a", "b", "c", "d"]))
    assert [(row["epoch"], row["image"], row["true_class"]) for row in rows(plot)] == [
        (1, 0, 0), (1, 1, 1), (2, 0, 0), (2, 1, 1),
    ]  # fmt: skip
    assert column(plot, "x") == pytest.approx([0, -0.5, 1, 0])
    assert column(plot, "y") == pytest.approx([0, 0.5, 0, -1])
    first, second, *others = plot.figure.axes
    # The largest of four quarters, and of two halves, is the first: class 0 and class 1.
    assert first.get_title("left") == "epoch 1: 100 % right"
    assert second.get_title("left") == "epoch 2: 50 % right"
    assert not any(axes.get_title("left") for axes in others)
    assert (plot.key, plot.title) == ("polygon-clean", "Softmax vectors over epochs, trained under clean")
    legend = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert legend == ["0 a", "1 b", "2 c", "3 d"]


def test_of_many_epochs_the_first_the_last_and_two_between_are_drawn(tmp_path: Path) -> None:
    softmax = np.full((10, 1, 3), 1 / 3)
    made = with_files(make("ce", conditions=["clean"]), softmax={"clean": watched(softmax, [0])})
    plot = only_plot(lambda: polygons(opened(tmp_path, made), []))
    assert [axes.get_title("left").partition(":")[0] for axes in plot.figure.axes] == [
        "epoch 1", "epoch 4", "epoch 7", "epoch 10",
    ]  # fmt: skip
    assert len(rows(plot)) == 10  # the file has all of them


def test_many_classes_are_hues_without_a_legend(tmp_path: Path) -> None:
    softmax = np.full((1, 2, 100), 0.01)
    made = with_files(make("ce", conditions=["clean"]), softmax={"clean": watched(softmax, [0, 99])})
    plot = only_plot(lambda: polygons(opened(tmp_path, made), ["name"] * 100))
    assert not plot.figure.legends
    assert column(plot, "true_class") == [0, 99]


def test_softmax_vectors_that_are_not_there(tmp_path: Path) -> None:
    made = make("ce")
    runs = opened(tmp_path, made)
    runs[0].path.with_name("softmax-clean.npz").unlink()
    [plot], [gap] = plots_and_gaps(lambda: polygons(runs, []))
    assert plot.key == "polygon-sym-40"
    assert gap.title == "Softmax vectors over epochs of some students"
    assert gap.reasons == ("softmax-clean.npz of ce is not beside the record",)
    runs[0].path.with_name("softmax-sym-40.npz").unlink()
    plots, [gap] = plots_and_gaps(lambda: polygons(runs, []))
    assert (plots, gap.title) == ([], "Softmax vectors over epochs")
