from __future__ import annotations

import matplotlib
import pytest

from kdbench.errors import KdbenchError
from kdbench.report.style import (
    COLOURS,
    LINES,
    MARKERS,
    MOST_RUNS,
    TALLEST,
    grid_of,
    in_percent,
    legend_outside,
    make_figure,
    percent,
    plain,
    png_of,
    styled,
    svg_of,
)


def luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2.1), in [0, 1]."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_run_has_a_colour_a_marker_and_a_line_of_its_own() -> None:
    for marks in (COLOURS, MARKERS, LINES):
        assert len(set(marks)) == len(marks) == MOST_RUNS


def test_two_runs_differ_without_colour() -> None:
    first, second = (luminance(colour) for colour in COLOURS[:2])
    assert (max(first, second) + 0.05) / (min(first, second) + 0.05) > 1.3


def drawn(title: str) -> tuple[bytes, bytes]:
    """SVG and PNG of a figure with a title."""
    with styled():
        figure = make_figure(2)
        figure.subplots().set_title(title)
        return svg_of(figure), png_of(figure)


def test_the_same_numbers_are_the_same_bytes_whatever_the_users_settings() -> None:
    first = drawn("a")
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None}):
        before = dict(matplotlib.rcParams)
        assert drawn("a") == first
        assert dict(matplotlib.rcParams) == before
    assert first[1].startswith(b"\x89PNG")
    assert b"<dc:date>" not in first[0]


def test_untrusted_text_is_drawn_as_text() -> None:
    hostile = "$\\frac{1}{$ \u202eevil\ud800 <script>\x00\n\U0010fffd \U0001f4a9" + "x" * 10_000
    drawing, _ = drawn(plain(hostile))
    assert b"<script" not in drawing
    assert len(plain(hostile)) == 48
    assert "\u202e" not in plain(hostile)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("  a \t b\n", 6, "a b"),
        ("\U0001f4a9", 6, "\N{REPLACEMENT CHARACTER}"),
        (0.5, 6, "0.5"),
    ],
)
def test_text_is_one_short_line(text: object, limit: int, expected: str) -> None:
    assert plain(text, limit) == expected


def test_axes_in_percent_show_fractions_times_100() -> None:
    figure = make_figure(2)
    axes = figure.subplots()
    in_percent(axes, "accuracy (%)")
    assert axes.get_ylim() == (0, 1)
    assert axes.get_ylabel() == "accuracy (%)"
    assert [axes.yaxis.get_major_formatter()(value, 0) for value in (0, 0.25, 0.123456, 1)] == [
        "0",
        "25",
        "12.35",
        "100",
    ]
    in_percent(axes, "points", along="x", full=False)
    assert axes.get_xlabel() == "points"
    assert axes.xaxis.get_major_formatter()(-0.05, 0) == "-5"
    assert percent(0.98765) == "98.8"
    assert percent(0.98765, 0) == "99"


@pytest.mark.parametrize(
    ("labels", "most", "rows"), [([], 4, 0), (["a"] * 4, 4, 1), (["a"] * 5, 4, 2), (["a" * 40] * 3, 4, 3)]
)
def test_a_legend_outside_gets_room(labels: list[str], most: int, rows: int) -> None:
    figure = make_figure(2)
    axes = figure.subplots()
    for label in labels:
        axes.plot([0], [0], label=label)
    legend_outside(figure, axes, "lower", most)
    assert figure.get_figheight() == pytest.approx(2 + 0.19 * rows)
    assert len(figure.legends) == (rows > 0)


def test_a_figure_that_no_page_could_hold_is_refused() -> None:
    assert make_figure(TALLEST).get_figheight() == TALLEST
    with pytest.raises(KdbenchError, match="1,234 inches of figure would be needed, at most 100 are drawn"):
        make_figure(1234)


@pytest.mark.parametrize(("panels", "most", "grid"), [(1, 3, (1, 1)), (3, 3, (1, 3)), (4, 3, (2, 3)), (4, 2, (2, 2))])
def test_panels_fill_rows(panels: int, most: int, grid: tuple[int, int]) -> None:
    assert grid_of(panels, most) == grid
