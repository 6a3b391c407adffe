from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from kdbench.comparing.contestants import find
from kdbench.comparing.drawing import WRITERS, draw
from kdbench.comparing.names import choose
from kdbench.comparing.series import Series, make_series
from kdbench.errors import KdbenchError
from kdbench.report.style import COLOURS, styled
from tests.leaderboard.evidence import make


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """Two methods and a level one, on two scores; one point has one seed."""
    runs = tmp_path_factory.mktemp("drawn")
    for seed in (0, 1):
        for sigma in (0.1, 0.2, 0.4):
            for name in ("one", "other"):
                if (seed, name, sigma) != (1, "one", 0.4):
                    made = make(name, seed=seed, params={"sigma": sigma}, tasks=["clean", "calibration"],
                                conditions=["clean"], skill=1 + sigma * (name == "one"))  # fmt: skip
                    made.keep(runs)
        make("ce", seed=seed, tasks=["clean", "calibration"], conditions=["clean"]).keep(runs)
    field = find([str(runs)], runs)
    return make_series(field.contestants, choose(field.suite, field.runs, ["clean", "ece"]), "sigma")


def test_the_figure_shows_points_intervals_and_units(series: Series) -> None:
    with styled():
        plot = draw(series, "digits")
    left, right = plot.figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("accuracy (%)", "ECE (%) ↓")
    assert left.get_xlabel() == "sigma"
    lines = {line.get_label(): line for line in left.lines if not str(line.get_label()).startswith("_")}
    assert list(lines) == ["one", "other", "ce (no sigma)"]
    assert [to_hex(line.get_color()).upper() for line in lines.values()] == list(COLOURS[:3])
    points = series.panels[0].lines
    drawn = np.array(lines["one"].get_ydata())
    assert drawn == pytest.approx([one.value for _, one in next(p for p in points if p.title == "one").points])
    low, high = left.get_ylim()
    ends = [end for p in points for _, one in p.points for end in (one.ci_low, one.ci_high)]
    assert low <= min(ends)
    assert high >= max(ends)
    hollow = [line for line in left.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in hollow] == [[0.4]]
    assert "n = 500 test images, 1 to 2 seeds" in plot.caption
    assert "Hollow: one seed" in plot.caption


def test_an_interval_that_leaves_its_value_out_is_drawn_as_it_is(series: Series) -> None:
    """In a record that nobody has validated."""
    panel = next(panel for panel in series.panels if panel.axis.title == "ECE")
    line = next(line for line in panel.lines if not line.flat)
    value, point = line.points[0]
    out = dataclasses.replace(point, ci_low=point.value + 0.1, ci_high=point.value + 0.2)
    alone = dataclasses.replace(line, points=[(value, out), *line.points[1:]])
    with styled():
        plot = draw(dataclasses.replace(series, panels=[dataclasses.replace(panel, lines=[alone])]), "digits")
    bars = [bar for lines in plot.figure.axes[0].collections for bar in lines.get_segments()]
    assert [out.ci_low, out.ci_high] in [pytest.approx(bar[:, 1].tolist()) for bar in bars]


def test_the_files_are_the_same_bytes_again_and_the_table_has_every_point(series: Series) -> None:
    with styled():
        plot = draw(series, "digits")
        first = {kind: write(plot) for kind, write in WRITERS.items()}
        again = draw(series, "digits")
        assert all(WRITERS[kind](again) == first[kind] for kind in (".svg", ".pdf", ".csv"))
    assert first[".png"].startswith(b"\x89PNG")
    assert first[".pdf"].startswith(b"%PDF")
    assert b"<svg" in first[".svg"]
    rows = list(csv.DictReader(io.StringIO(first[".csv"].decode())))
    assert len(rows) == 2 * (3 + 3 + 1)
    assert {row["sigma"] for row in rows if row["line"] == "ce (no sigma)"} == {""}
    assert {row["interval_over"] for row in rows} == {"seeds and examples", "examples"}


def test_a_logarithmic_scale_has_a_tick_for_each_value(series: Series) -> None:
    with styled():
        axes = draw(series, "digits", log_x=True, log_y=True, caption=False).figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "0.2", "0.4"]
    assert axes.figure.get_supxlabel() == ""  # type: ignore[union-attr]  # a figure


def test_a_logarithm_of_nothing_and_too_many_lines_are_refused(tmp_path: Path) -> None:
    for number in range(8):
        for sigma in (0, 1):
            make(f"m{number}", params={"sigma": sigma}, tasks=["clean"], conditions=["clean"]).keep(tmp_path)
    field = find([str(tmp_path)], tmp_path)
    columns = choose(field.suite, field.runs, ["clean"])
    with pytest.raises(KdbenchError, match="8 lines, at most 7 can be distinguished .choose methods with --method"):
        draw(make_series(field.contestants, columns, "sigma"), "digits")
    with pytest.raises(KdbenchError, match="a logarithmic scale has no place for sigma = 0"):
        draw(make_series(field.contestants[:4], columns, "sigma"), "digits", log_x=True)
