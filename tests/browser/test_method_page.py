"""The method page in a real browser; axe, phone, keyboard and hostile texts are in ``test_everyone``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.conftest import Opener


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 360)])
def test_a_method_page_says_what_is_measured_and_how_to_get_it_again(
    open_page: Opener, small_site: str, scheme: str, width: int
) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = open_page(f"{small_site}/cifar10-lite/method/ce.html", **options)
    summary = page.get_by_text("Each axis in words, with the settings that were used")
    summary.focus()
    page.keyboard.press("Enter")
    said = page.locator("dl.measured").inner_text()
    assert "Share of all test images whose largest logit is the true class" in said
    assert "steps 20" in said
    again = page.locator("section:has(#again)").inner_text()
    for fact in ("threads", "precision of training", "data sets, under --data-dir", "float32"):
        assert fact in again
    assert page.locator("#history").is_visible()
    note = page.locator("section:has(#axes-title) > p").bounding_box()
    assert note is not None and note["width"] <= width, "the key to the table is read without scrolling"


def test_seeds_of_all_methods_stand_on_one_scale_and_bins_have_counts(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/method/ce.html")
    strip = page.locator("svg.strip").first
    assert strip.locator(".seed").count() == 3 and strip.locator(".othersone").count() == 13
    assert page.locator("rect.count").count() > 0


def test_runs_that_are_not_in_a_row_are_its_history(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/method/ce.html")
    text = page.locator("section:has(#history)").inner_text()
    assert "0123456789abcdef" in text and "schema 1 is older than 2" in text
