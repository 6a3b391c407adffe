"""Plots as SVG: coordinates worked out by hand for a frame of 100 x 100 units of data."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from kdbench.leaderboard.site import svg
from kdbench.leaderboard.site.svg import Frame

NAN = math.nan


def frame() -> Frame:
    """Its plot area is 100 x 100 pixels, so that a value from 0 to 1 is a hundredth of a pixel."""
    return Frame(
        (0, 1), (0, 1), "across", "up", width=Frame.left + 100 + Frame.right, height=Frame.top + 100 + Frame.bottom
    )


def parsed(markup: str) -> ET.Element:
    return ET.fromstring(markup)


def test_ticks_are_round_and_inside() -> None:
    assert svg.ticks(0.13, 0.87) == [0.2, 0.4, 0.6, 0.8]
    assert svg.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert svg.ticks(-3, 7) == [-2, 0, 2, 4, 6]
    assert svg.ticks(0, 15, about=3) == [0, 5, 10, 15]


@pytest.mark.parametrize(("low", "high"), [(3, 3), (5, 2), (0, math.inf)])
def test_no_range_has_one_tick(low: float, high: float) -> None:
    assert svg.ticks(low, high) == [low]


def test_values_are_placed_on_linear_axes_with_up_at_the_top() -> None:
    one = frame()
    assert [one.at_x(value) for value in (0, 0.5, 1)] == [48, 98, 148]
    assert [one.at_y(value) for value in (0, 0.5, 1)] == [110, 60, 10]
    assert Frame((2, 2), (2, 2), "x", "y").at_x(2) == Frame.left, "no range is no division by zero"


def test_a_line_is_interrupted_where_a_value_is_missing() -> None:
    one = frame()
    one.line([0, 0.1, 0.2, 0.3], [0, 0.5, NAN, 1], "s0")
    assert one.parts == ['<path class="line s0" d="M48 110L58 60M78 10"/>']
    one.line([0, 1], [NAN, NAN], "s1")
    assert len(one.parts) == 1


def test_a_band_goes_along_its_top_and_back_along_its_bottom() -> None:
    one = frame()
    one.band([0, 0.5, 1], [0, NAN, 0.2], [0.5, 0.5, 0.6], "s0")
    assert one.parts == ['<path class="band s0" d="M48 60L148 50L148 90L48 110Z"/>']


def test_a_bar_may_go_down() -> None:
    one = frame()
    one.bar(0.1, 0.3, 0.2, 0.7, "bar")
    one.bar(0.1, 0.3, 0.7, 0.2, "gap")
    rect = 'x="58" y="40" width="20" height="50"/>'
    assert one.parts == [f'<rect class="bar" {rect}', f'<rect class="gap" {rect}']


def test_text_is_escaped_plain_and_short_wherever_it_comes_in() -> None:
    hostile = '</text><script>\u202e"' + "x" * 500
    one = Frame((0, 1), (0, 1), hostile, hostile)
    one.point(0.5, 0.5, "dot", hostile)
    one.label(0.5, 0.5, hostile)
    picture = parsed(one.svg(hostile))
    texts = [picture.get("aria-label"), *(part.text for part in picture.iter() if part.text)]
    assert sum("<script>⟨U+202E⟩" in (found or "") for found in texts) == 5
    assert max(len(found or "") for found in texts) <= svg.SHORT + len("⟨U+202E⟩")
    assert {part.tag for part in picture.iter()} <= {"svg", "path", "text", "circle", "title"}


def test_a_plot_has_its_description_titles_and_ticks_in_percent() -> None:
    picture = parsed(frame().svg("What it shows."))
    assert (picture.get("role"), picture.get("aria-label")) == ("img", "What it shows.")
    assert [text.text for text in picture.iter("text") if text.get("class") == "name"] == ["across", "up"]
    ticks = [text.text for text in picture.iter("text") if text.get("class") == "tick"]
    assert ticks == ["0", "20", "40", "60", "80", "100", "0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_a_legend_names_the_lines_in_their_colours_and_begins_again_after_the_last() -> None:
    found = parsed(svg.legend([f"<{number}>" for number in range(svg.SERIES + 1)]))
    assert [name.text for name in found.iter("bdi")] == [f"<{number}>" for number in range(svg.SERIES + 1)]
    kinds = [path.get("class") for path in found.iter("path")]
    assert kinds == [f"line s{number % svg.SERIES}" for number in range(svg.SERIES + 1)]
