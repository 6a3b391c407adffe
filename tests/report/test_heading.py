from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from kdbench.report.heading import Heading
from kdbench.report.style import make_figure, png_of, styled, svg_of

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("cifar10-lite, suite version 4, measured 2026-01-01", "Source: <script>alert(1)</script> & co")
TITLE = "Accuracy & <b>more</b>, " + "of a name that goes on " * 6


@pytest.fixture(scope="module")
def plain() -> tuple[bytes, bytes]:
    """A figure as matplotlib writes it: SVG and PNG."""
    with styled():
        figure = make_figure(2.0)
        figure.subplots().plot([0, 1], [1, 0])
        return svg_of(figure), png_of(figure)


def test_an_svg_has_its_texts_as_texts_around_the_figure_at_its_size(plain: tuple[bytes, bytes]) -> None:
    root = ET.fromstring(HEADING.around_svg(plain[0], TITLE))
    own = root.findall(f"{SVG}text")
    assert "".join(text.text or "" for text in own).replace(" ", "") == (
        TITLE + HEADING.subtitle + HEADING.source
    ).replace(" ", "")
    assert own[0].get("font-weight") == "bold" and len([t for t in own if t.get("font-weight") == "bold"]) > 1
    [group] = root.findall(f"{SVG}g")
    [inner] = group.findall(f"{SVG}svg")
    above = float(str(group.get("transform")).removeprefix("translate(0 ").removesuffix(")"))
    width, height = (float(inner.get(side, "")) for side in ("width", "height"))
    assert (width, height) == (504.0, 144.0) and inner.get("viewBox") == f"0 0 {width:g} {height:g}"
    baselines = [float(text.get("y", "")) for text in own]
    assert baselines == sorted(baselines)
    assert baselines[-2] < above and above + height < baselines[-1] < float(str(root.get("height"))[:-2])


def test_a_png_keeps_the_figures_pixels_between_its_texts(plain: tuple[bytes, bytes]) -> None:
    before = Image.open(io.BytesIO(plain[1]))
    after = Image.open(io.BytesIO(HEADING.around_png(plain[1], TITLE)))
    assert after.info["dpi"] == pytest.approx(before.info["dpi"]) and after.width == before.width
    old, new = (np.asarray(image.convert("RGB")) for image in (before, after))
    places = [top for top in range(len(new) - len(old)) if np.array_equal(new[top : top + len(old)], old)]
    assert len(places) == 1
    [top] = places
    assert (new[:top] < 128).any() and (new[top + len(old) :] < 200).any(), "words above and below"
    assert HEADING.around_png(plain[1], TITLE) == HEADING.around_png(plain[1], TITLE)
