"""Charts as images of their own, and one chart alone for other pages: what they say, and what they do not need."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.boards import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Opener

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = ("plot of two scores", "sorted plot of one score", "plot of all axes")


def saved(page: Page, button: Locator) -> tuple[str, bytes]:
    """Name and content of what the keyboard's press of a button downloads."""
    button.focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def drawing(content: bytes) -> tuple[ET.Element, list[str]]:
    """A parsed SVG, which refers to nothing outside and needs no style sheet, and its texts."""
    root = ET.fromstring(content)
    allowed = {f"{SVG}{name}" for name in ("svg", "path", "circle", "rect", "text", "title")}
    for element in root.iter():
        assert element.tag in allowed
        for name, value in element.attrib.items():
            assert name not in ("class", "style") and not name.endswith("href") and not name.startswith("on")
            assert "url(" not in value and "var(" not in value
    assert content.count(b"http") == content.count(b'xmlns="http://www.w3.org/2000/svg"')
    return root, [text.text or "" for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_of_the_start_page_says_what_it_is_and_from_where(
    open_page: Opener, small_site: str, chart: str
) -> None:
    page = open_page(f"{small_site}/index.html#m=kd,nrd&x=clean/ood")
    name, content = saved(page, page.get_by_role("button", name=f"Download {chart} as SVG"))
    root, texts = drawing(content)
    titles = {CHARTS[0]: "mCA against OOD", CHARTS[1]: "noisy sym-40, the best first",
              CHARTS[2]: "Scores of 2 methods on 8 axes"}  # fmt: skip
    assert texts[0] == titles[chart]
    assert name == f"{titles[chart].lower().replace(',', '').replace(' ', '-')}.svg"
    assert texts[1] == "cifar10-lite, suite version 2, last measured 2026-01-01"
    assert texts[-1] == "Source: kdbench leaderboard", "a file's place is nobody's business"
    assert "95\N{NO-BREAK SPACE}% intervals" in " ".join(texts)
    assert {"kd", "nrd"} <= set(texts)
    lines = [one for one in root.iter(f"{SVG}path") if one.get("stroke") == "rgb(0, 114, 178)"]
    assert lines, "the first one is blue without the page's style sheet"


def test_a_png_is_the_svg_in_twice_the_pixels(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    _, drawn = saved(page, page.get_by_role("button", name=f"Download {CHARTS[0]} as SVG"))
    root, _ = drawing(drawn)
    name, content = saved(page, page.get_by_role("button", name=f"Download {CHARTS[0]} as PNG"))
    assert name.endswith(".png") and content.startswith(b"\x89PNG")
    size = tuple(2 * int(root.get(side, "0")) for side in ("width", "height"))
    assert struct.unpack(">II", content[16:24]) == size
    assert len(content) > 20_000, "it is not blank"


def test_a_chart_of_a_method_has_its_name_condition_and_legend(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/method/kd.html")
    buttons = page.locator(".save button")
    labels = buttons.evaluate_all("all => all.map((one) => one.getAttribute('aria-label'))")
    assert len(set(labels)) == len(labels) > 8
    chart = "kd, condition clean: Test accuracy while training"
    name, content = saved(page, page.get_by_role("button", name=f"Download {chart} as SVG"))
    _, texts = drawing(content)
    assert name == "kd-condition-clean-test-accuracy-while-training.svg"
    assert " ".join(texts).startswith(chart)
    assert {"seed 0", "seed 1", "seed 2", "epoch"} <= set(texts)


@pytest.mark.parametrize("chart", CHARTS)
def test_untrusted_names_in_a_download_are_text(open_page: Opener, hostile_site: str, chart: str) -> None:
    page = open_page(f"{hostile_site}/index.html#m=script,image,turned,broken")
    _, content = saved(page, page.get_by_role("button", name=f"Download {chart} as SVG"))
    _, texts = drawing(content)
    assert any(text.removeprefix("⚠ ").startswith(HOSTILE["script"][:15]) for text in texts)
    assert any("⟨U+202E⟩" in text for text in texts)
    assert page.evaluate("window.__pwned") is None


def test_what_is_not_drawn_is_not_downloaded(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html#q=nobody")
    page.get_by_role("button", name=f"Download {CHARTS[0]} as SVG").click()
    assert page.locator("#scatter").inner_text() == "No method matches the filter."


def test_a_chart_alone_has_its_source_and_nothing_else(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html#x=clean/ood&m=kd")
    page.get_by_role("link", name=f"Embed {CHARTS[0]}").click()
    page.wait_for_function("document.body.classList.contains('alone')")
    assert page.evaluate("location.hash").endswith("&chart=scatter")
    assert [one.get_attribute("id") for one in page.locator(".plot:visible").all()] == ["scatter"]
    assert page.locator("select:visible, input:visible, table:visible, h1:visible, .top:visible").count() == 0
    source = page.locator("#source")
    assert source.inner_text().startswith("Source: kdbench leaderboard of cifar10-lite, suite version 2")
    whole = open_page(str(source.locator("a").evaluate("link => link.href")))
    assert whole.locator("#across option:checked").inner_text() == "OOD"
    assert whole.locator("#board").is_visible() and not whole.locator("#source").is_visible()
    page.go_back()
    page.locator("#board").wait_for()
