"""Pages for everyone: axe-core, keyboard, phone, dark mode, print; and no scripts but ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.boards import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Opener

PAGES = {
    "start": "index.html",
    "method": "cifar10-lite/method/soft-randomization.html",
    "compare": "cifar10-lite/compare.html#m=ce,kd,nrd",
}
WIDTHS = "[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"


def unfold(page: Page) -> None:
    """Open all sections; of the tables of all scores, which are alike, the first one."""
    page.evaluate("for (const part of document.querySelectorAll('details:not(.group ~ .group)')) part.open = true")


def violations(page: Page, contrast_alone: bool = False) -> list[tuple[str, Any]]:
    """What axe-core (MPL-2.0, within the package axe-playwright-python) finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    unfold(page)
    options = {"runOnly": ["color-contrast"]} if contrast_alone else None
    found = Axe().run(page, options=options).response["violations"]
    return [
        (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(open_page: Opener, small_site: str, name: str, scheme: str) -> None:
    # The page's own policy would forbid axe-core's script as it does any other that is not ours.
    page = open_page(f"{small_site}/{PAGES[name]}", bypass_csp=True, color_scheme=scheme)
    assert violations(page, contrast_alone=scheme == "dark") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing_serious_in_the_plots_while_they_speak(
    open_page: Opener, small_site: str, width: int, scheme: str
) -> None:
    page = open_page(
        f"{small_site}/index.html", bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page.locator("#scatter").focus()
    page.keyboard.press("End")
    assert violations(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(open_page: Opener, small_site: str, name: str) -> None:
    page = open_page(f"{small_site}/{PAGES[name]}", viewport={"width": 360, "height": 740}, is_mobile=True)
    unfold(page)
    root, body, window = page.evaluate(WIDTHS)
    assert max(root, body) <= window == 360


def test_dark_mode_is_dark(open_page: Opener, small_site: str) -> None:
    shades = []
    for scheme in ("light", "dark"):
        page = open_page(f"{small_site}/index.html", color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in colour.strip("rgb()").split(",")[:3]))
    assert shades[0] > 700 and shades[1] < 150


def test_print_shows_the_whole_table_and_no_controls(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    page.emulate_media(media="print")
    assert not page.get_by_label("Find").is_visible()
    assert not page.locator(".readout").first.is_visible() and page.locator("#scatter svg").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll.tall')).overflowX") == "visible"
    lefts = "names => names.map(name => document.querySelector(name).getBoundingClientRect().left)"
    family, column = page.evaluate(lefts, ["#board .groups th", "#board th.g0"])
    assert family == pytest.approx(column, abs=1), "families stand above their columns"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_paper(open_page: Opener, small_site: str, name: str) -> None:
    page = open_page(f"{small_site}/{PAGES[name]}", viewport={"width": 794, "height": 1123})
    page.emulate_media(media="print")
    right = "Math.max(...[...document.querySelectorAll('table, svg, p')].map(one => one.getBoundingClientRect().right))"
    assert page.evaluate(right) <= 794


def test_the_keyboard_sorts_chooses_and_skips(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html#sort=clean/clean")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#sort=clean/clean"), "skipping is no view"
    page.locator('th[data-column="method"] button').focus()
    page.keyboard.press("Enter")
    assert "sort=method" in page.evaluate("location.hash")
    assert page.evaluate("document.activeElement.closest('th').dataset.column") == "method", "focus stays"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    box = page.get_by_label("Choose ce", exact=True)
    box.focus()
    page.keyboard.press("Space")
    assert "m=ce" in page.evaluate("location.hash")  # page.url follows only later
    assert page.evaluate("document.activeElement.value") == "ce"


def untouched(page: Page) -> None:
    """No script, image, handler or style from a record is in the page, and nothing is wider than the window."""
    assert page.evaluate("window.__pwned") is None
    assert page.locator("img, iframe, object, embed, base").count() == 0
    assert page.evaluate("[...document.links].every(l => ['http:', 'https:', 'file:'].includes(l.protocol))")
    assert page.evaluate("[...document.querySelectorAll('*')].every(e => ![...e.attributes].some("
                         "a => a.name.startsWith('on') || a.name === 'style'))")  # fmt: skip
    root, body, window = page.evaluate(WIDTHS)
    assert max(root, body) <= window


@pytest.mark.parametrize("width", [360, 1280])
def test_untrusted_text_on_the_table_is_text(open_page: Opener, hostile_site: str, width: int) -> None:
    page = open_page(f"{hostile_site}/index.html", viewport={"width": width, "height": 800})
    unfold(page)
    untouched(page)
    texts = page.locator("#board tbody th > a").all_inner_texts()
    assert len(texts) == len(HOSTILE)
    assert HOSTILE["script"] in texts and HOSTILE["image"] in texts
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+200F⟩" in texts
    assert any("⟨U+D800⟩" in text for text in texts)
    assert max(len(text) for text in texts) <= 400, "a name of 10,000 characters is shortened"
    for box in page.locator("#board input[type=checkbox]").all()[:8]:
        box.check()
    assert page.locator("#chosen-names li").count() == 8
    untouched(page)
    tall = "card => card.offsetHeight - (card.querySelector('.bars')?.offsetHeight ?? 0)"
    assert page.locator("#board tbody tr").first.evaluate(tall) < 400


@pytest.mark.parametrize("key", HOSTILE)
def test_untrusted_text_on_its_own_page_is_text(open_page: Opener, hostile_site: str, key: str) -> None:
    page = open_page(f"{hostile_site}/cifar10-lite/method/{key}.html", viewport={"width": 360, "height": 800})
    unfold(page)
    untouched(page)
    assert "javascript:window.__pwned" in page.locator("dl.facts").inner_text(), "shown, and no link"
    assert page.locator("a[rel~=external]").count() == 0


def test_untrusted_text_in_a_comparison_is_text(open_page: Opener, hostile_site: str) -> None:
    address = f"{hostile_site}/cifar10-lite/compare.html"
    for chosen in ("script,close,image", "turned,broken,long", "wide,comment,style"):
        page = open_page(f"{address}#m={chosen}", viewport={"width": 360, "height": 800})
        assert page.locator("#differences table").count() == 3
        untouched(page)
