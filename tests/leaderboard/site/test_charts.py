"""The plots of a method's page, read back from their SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from kdbench.leaderboard.site import charts
from kdbench.results.figures import Reliability, StepCurve, TrainingCurves

STEPS = np.arange(5.0)


def line(label: str, level: float, x: np.ndarray = STEPS) -> StepCurve:
    value = level - 0.1 * np.arange(len(x))
    return StepCurve("any", label, {}, x, value, value - 0.05, value + 0.05, 100)


def drawn(markup: str, tag: str, kind: str) -> list[ET.Element]:
    """Elements of one class of a plot with its legend."""
    root = ET.fromstring(f"<div>{markup}</div>")
    plot = root.find("svg")
    assert plot is not None
    return [part for part in plot.iter(tag) if part.get("class") == kind]


def heights(part: ET.Element) -> list[float]:
    return [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", part.get("d") or "")]


def labels(markup: str) -> list[str]:
    return re.findall(r"<bdi>(.*?)</bdi>", markup)


def test_one_seed_has_bands_and_thick_lines() -> None:
    chart = charts.step_chart({0: [line("last", 0.8), line("any", 0.6)]})
    assert labels(chart) == ["last", "any"]
    assert [len(drawn(chart, "path", kind)) for kind in ("band s0", "band s1", "line s0", "line s1")] == [1, 1, 1, 1]
    assert not drawn(chart, "path", "line s0 thin")


def test_several_seeds_have_thin_lines_and_their_mean() -> None:
    chart = charts.step_chart({0: [line("last", 0.8)], 1: [line("last", 0.6)]})
    thin, [mean] = drawn(chart, "path", "line s0 thin"), drawn(chart, "path", "line s0")
    assert len(thin) == 2
    assert not drawn(chart, "path", "band s0")
    np.testing.assert_allclose(heights(mean), np.mean([heights(part) for part in thin], axis=0), atol=0.11)


def test_seeds_at_other_steps_are_not_averaged() -> None:
    chart = charts.step_chart({0: [line("last", 0.8)], 1: [line("last", 0.6, STEPS[:3])]})
    assert len(drawn(chart, "path", "line s0 thin")) == 2
    assert not drawn(chart, "path", "line s0")


def diagram(count: list[int], accuracy: list[float]) -> Reliability:
    """Two bins, whose mean confidence is their middle."""
    return Reliability(
        lower=np.array([0, 0.5]), upper=np.array([0.5, 1]), count=np.array(count), accuracy=np.array(accuracy),
        confidence=np.array([0.25, 0.75]), ci_low=np.array(accuracy) - 0.1, ci_high=np.array(accuracy) + 0.1,
        n=sum(count), ece=0.0,
    )  # fmt: skip


def test_reliability_is_pooled_over_seeds_by_their_counts() -> None:
    """Bin 2: 10 of accuracy .9 and 30 of .5 are 40 of .6, against a confidence of .75. Bin 1 is empty."""
    chart = charts.reliability_chart({0: diagram([0, 10], [np.nan, 0.9]), 1: diagram([0, 30], [np.nan, 0.5])})
    [bar], [gap] = drawn(chart, "rect", "bar"), drawn(chart, "rect", "gap")
    tall = 300 - 10 - 40  # of the plot area
    assert float(bar.get("height") or 0) == round(0.6 * tall, 1)
    assert float(gap.get("height") or 0) == round(0.15 * tall, 1)
    assert len(drawn(chart, "circle", "dot")) == 2
    assert not drawn(chart, "path", "line whisker"), "intervals are of a single seed"


def test_one_seeds_bins_have_intervals() -> None:
    chart = charts.reliability_chart({0: diagram([5, 10], [0.2, 0.9])})
    assert len(drawn(chart, "path", "line whisker")) == len(drawn(chart, "circle", "dot")) == 2


def log(accuracy: list[float], **series: list[float]) -> TrainingCurves:
    numbers = {name: np.array(values) for name, values in {"test_accuracy": accuracy, **series}.items()}
    return TrainingCurves("clean", np.arange(1, len(accuracy) + 1), numbers, 500)


def test_a_test_accuracy_has_its_peak_and_its_end() -> None:
    chart = charts.curve_chart({7: log([0.5, 0.9, 0.7])}, "test_accuracy", "accuracy (%)", percent=True)
    [peak], [end] = drawn(chart, "circle", "peak p0"), drawn(chart, "circle", "end p0")
    assert peak[0].text == end[0].text == "seed 7: 90.0 % at epoch 2, 70.0 % at the end"
    assert float(peak.get("cx") or 0) < float(end.get("cx") or 0)
    assert float(peak.get("cy") or 0) < float(end.get("cy") or 0), "up is less"
    assert labels(chart) == ["seed 7"]


def test_other_curves_have_neither_and_missing_seeds_are_left_out() -> None:
    curves = {0: log([0.5, 0.6], loss=[2.0, 1.0]), 1: log([0.5, 0.6])}
    chart = charts.curve_chart(curves, "loss", "loss")
    assert labels(chart) == ["seed 0"]
    assert "1 seed(s), from 1 to 2" in chart
    assert "circle" not in chart
    assert charts.curve_chart({0: log([0.5], loss=[np.nan])}, "loss", "loss") == ""


def test_a_long_log_is_thinned() -> None:
    many = 5 * charts.MOST_POINTS
    chart = charts.curve_chart({0: log([0.5] * many)}, "test_accuracy", "accuracy (%)")
    [path] = drawn(chart, "path", "line s0")
    assert 0.5 * charts.MOST_POINTS < len(heights(path)) <= charts.MOST_POINTS


def test_a_strip_has_every_seed_on_the_scale_of_its_axis() -> None:
    """From .2 to .7: 6 + 108 * share of that; what is beyond stands at the end."""
    strip = ET.fromstring(charts.seed_strip([0.2, 0.7], 0.3, 0.6, 0.45, (0.2, 0.7)))
    assert [dot.get("cx") for dot in strip.iter("circle")] == ["6.0", "114.0"]
    assert [path.get("d") for path in strip.iter("path")] == ["M27.6 8H92.4", "M60.0 2v12"]
    assert [path.get("class") for path in strip.iter("path")] == ["whisker", "mean"]
    same = ET.fromstring(charts.seed_strip([0.5], 0.5, 0.5, 0.5, (0.5, 0.5)))
    assert [path.get("class") for path in same.iter("path")] == ["whisker dashed", "mean"], "one seed"
    assert [dot.get("cx") for dot in same.iter("circle")] == ["6.0"]
    far = ET.fromstring(charts.seed_strip([0.9], 0.9, 0.9, 0.9, (0.2, 0.7), others=[0.1, 0.45]))
    assert [(dot.get("class"), dot.get("cx")) for dot in far.iter("circle")] == [
        ("othersone", "6.0"), ("othersone", "60.0"), ("seed", "114.0"),
    ]  # fmt: skip


def test_a_scale_is_that_of_the_bulk() -> None:
    """Quartiles .42 and .48 of ten values; the one at 0 is more than 1.5 * .06 below."""
    values = [0.0, 0.41, 0.42, 0.43, 0.44, 0.45, 0.46, 0.48, 0.49, 0.5]
    assert charts.bulk(values) == (0.41, 0.5)
    assert charts.bulk([]) == (0.0, 1.0) and charts.bulk([0.3]) == (0.3, 0.3)


def test_a_reliability_diagram_says_how_many_images_a_bin_has() -> None:
    chart = charts.reliability_chart({0: diagram([5, 10], [0.2, 0.9])})
    low, high = (float(bar.get("height") or 0) for bar in drawn(chart[chart.index("</svg>") + 6 :], "rect", "count"))
    assert high == 2 * low == 110 - 10 - 40, "on the scale of the fullest bin"
    assert "15 in all, at most 10" in chart
