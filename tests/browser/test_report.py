"""The page of ``kdbench report`` in a real browser: its links, its looks, for everyone, and hostile texts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from kdbench.report import write_report
from tests.browser.boards import HOSTILE
from tests.browser.test_everyone import WIDTHS, unfold, violations
from tests.leaderboard.evidence import make

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Opener


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report of two methods, moved away from where it was made."""
    made, moved = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("moved") / "a folder"
    runs = [make(name, skill=skill).keep(made / "runs") for name, skill in (("ce", 1.0), ("kd", 0.8))]
    write_report(runs, made / "report")
    shutil.move(made / "report", moved)
    return moved


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    texts = [HOSTILE[key].encode("utf-8", "replace").decode() for key in ("script", "close", "image", "turned")]
    runs = [make(text, skill=1 - 0.1 * number, params={text: text}).keep(folder / "runs")
            for number, text in enumerate(texts)]  # fmt: skip
    return write_report(runs, folder / "report").page


def address(folder: Path) -> str:
    return (folder / "report.html").as_uri()


def test_it_begins_with_contents_that_lead_to_scores_first(open_page: Opener, report: Path) -> None:
    page = open_page(address(report), viewport={"width": 1440, "height": 900})
    links = page.locator("nav a")
    assert page.locator("main section h2").first.get_attribute("id") == "scores"
    targets = [str(link.get_attribute("href")).removeprefix("#") for link in links.all()]
    assert targets == page.evaluate("[...document.querySelectorAll('main section h2')].map(h => h.id)")
    links.first.click()
    assert page.evaluate("location.hash") == "#scores"
    assert page.locator("#scores").is_visible()


def test_its_links_lead_to_files_in_a_folder_that_was_moved(open_page: Opener, report: Path) -> None:
    page = open_page(address(report))
    own = page.evaluate("[...document.links].map(l => l.href).filter(h => h.startsWith('file:') && !h.includes('#'))")
    files = {Path(unquote(urlsplit(link).path)) for link in own}
    assert {"scores.csv", "scores.png", "record-1.json", "record-2.json", "log-1.jsonl"} <= {
        file.name for file in files
    }
    assert all(file.parent == report and file.is_file() for file in files)
    images = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert page.evaluate("document.images.length") and page.evaluate(images), "every figure is in the page"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Opener, report: Path, scheme: str) -> None:
    page = open_page(address(report), bypass_csp=True, color_scheme=scheme)
    assert violations(page, contrast_alone=scheme == "dark") == []


@pytest.mark.parametrize("width", [360, 1440])
def test_it_does_not_scroll_sideways(open_page: Opener, report: Path, width: int) -> None:
    page = open_page(address(report), viewport={"width": width, "height": 800}, is_mobile=width == 360)
    unfold(page)
    root, body, window = page.evaluate(WIDTHS)
    assert max(root, body) <= window == width


def test_dark_mode_is_dark_and_figures_stay_legible(open_page: Opener, report: Path) -> None:
    def shade(page: Page, part: str) -> int:
        colour = page.evaluate(f"getComputedStyle(document.querySelector('{part}')).backgroundColor")
        return sum(int(one) for one in colour.strip("rgb()").split(",")[:3])

    light, dark = (open_page(address(report), color_scheme=scheme) for scheme in ("light", "dark"))
    assert shade(light, "html") > 700 and shade(dark, "html") < 150
    assert shade(dark, "figure img") == 3 * 255, "black lines on white"


@pytest.mark.parametrize("width", [360, 1440])
def test_untrusted_text_is_text(open_page: Opener, hostile_report: Path, width: int) -> None:
    page = open_page(hostile_report.as_uri(), viewport={"width": width, "height": 800})
    unfold(page)
    assert page.evaluate("window.__pwned") is None
    assert page.locator("iframe, object, embed, base, script, style ~ style").count() == 0
    assert page.evaluate("[...document.images].every(i => i.src.startsWith('data:image/'))")
    assert page.evaluate("[...document.links].every(l => ['https:', 'file:'].includes(l.protocol))")
    assert page.evaluate("[...document.querySelectorAll('*')].every(e => ![...e.attributes].some("
                         "a => a.name.startsWith('on') || a.name === 'style'))")  # fmt: skip
    assert HOSTILE["script"] in page.inner_text("main")
    root, body, window = page.evaluate(WIDTHS)
    assert max(root, body) <= window
