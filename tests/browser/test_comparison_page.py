"""The comparison page in a real browser."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from kdbench.leaderboard.site.pages import pages
from tests.browser import boards

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Opener


def test_differences_are_those_of_the_ranking(open_page: Opener, small_site: str) -> None:
    board = boards.small().boards[0]
    index = {row.key: number for number, row in enumerate(board.rows)}
    page = open_page(f"{small_site}/cifar10-lite/compare.html#m=nrd,kd,ce")
    tables = page.locator("#differences table")
    assert tables.count() == 3
    for number, (first, second) in enumerate([("nrd", "kd"), ("nrd", "ce"), ("kd", "ce")]):
        for line, axis in enumerate(board.axes):
            pairs = board.pairs[axis.key]
            wanted = (100 if axis.higher_is_better else -100) * pairs.value[index[first], index[second]]
            cells = tables.nth(number).locator("tbody tr").nth(line).locator("td").all_inner_texts()
            assert abs(float(cells[0].replace("−", "-")) - wanted) < 0.006  # noqa: RUF001  # the page has a real minus
            low, high = (float(end.replace("−", "-")) for end in cells[1].split(" to "))  # noqa: RUF001  # as above
            assert abs((high - low) / 2 - 100 * pairs.half_width[index[first], index[second]]) < 0.011
            assert ("is better" in cells[-1]) == bool(pairs.significant[index[first], index[second]])


def test_the_better_one_is_named_whichever_way_is_better(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/compare.html#m=nrd,ce")
    verdicts = page.locator("#differences td:last-child").all_inner_texts()
    assert verdicts[0] == "B is better", "clean accuracy of ce is higher"
    assert verdicts[-1] == "A is better", "noisy ECE of nrd is lower"
    line = page.locator("#differences tbody tr").last
    assert line.locator("th").inner_text() == "noisy ECE lower is better"
    assert line.locator("td").first.inner_text().startswith("+"), "A is better: 7 % against 39 %"
    heads = page.locator("#differences thead th").all_inner_texts()
    assert heads[1] == "A better by" and heads[3] == "B better ← → A better"
    middle, dot = (float(line.locator(f"svg {what}").get_attribute("cx") or 100) for what in (".zero", "circle"))
    assert dot > middle, "towards A better"


def test_one_seed_is_not_tested(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/compare.html#m=kd,half")
    line = page.locator("#differences tbody tr").first
    assert line.locator("td").all_inner_texts()[-2:] == ["–", "one seed: not tested"]  # noqa: RUF001  # a dash
    assert line.locator("path.error.dashed").count() == 1


def test_methods_are_picked_and_the_back_button_takes_it_back(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/cifar10-lite/compare.html")
    assert page.get_by_role("status").inner_text() == "Choose two or three different methods."
    page.get_by_role("combobox", name="A", exact=True).select_option("ce")
    page.get_by_role("combobox", name="B", exact=True).select_option("half")
    assert page.url.endswith("#m=ce,half")
    assert page.get_by_text("not measured by both").count() == 6
    page.go_back()
    assert page.url.endswith("#m=ce")
    assert not page.locator("#result").is_visible()


def test_too_many_methods_are_compared_unpaired_and_it_is_said(open_page: Opener, tmp_path: Path) -> None:
    html = dict(itertools.islice(pages(boards.large(123)), 3))["cifar10-lite/compare.html"]
    (tmp_path / "compare.html").write_text(html)
    page = open_page(f"{tmp_path.as_uri()}/compare.html#m=method-0000,method-0001")
    assert "more than 122 methods" in page.locator("#basis").inner_text()
    assert all("unpaired" in text for text in page.locator("#differences td:last-child").all_inner_texts())


def test_pairs_of_many_methods_are_those_of_the_board(open_page: Opener, tmp_path: Path) -> None:
    """Texts of records are cut after 2,000 characters; the pairs of 32 methods are longer."""
    made = boards.large(60)
    board = made.boards[0]
    for name, html in itertools.islice(pages(made), 3):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(html)
    pairs, first, last = board.pairs["clean/clean"], board.rows[0], board.rows[-1]
    half = f"±{100 * pairs.half_width[0, -1]:.1f}"
    page = open_page(f"{tmp_path.as_uri()}/index.html#vs={last.key}")
    cell = page.locator("#board tbody tr").first.locator("td").nth(2)
    assert cell.inner_text().split() == [f"{100 * pairs.value[0, -1]:+.1f}".replace("-", "\N{MINUS SIGN}"), half]
    better = pairs.value[0, -1] > 0
    assert ("better" if better else "worse") in (cell.get_attribute("class") or "")
    page = open_page(f"{tmp_path.as_uri()}/cifar10-lite/compare.html#m={first.key},{last.key}")
    line = page.locator("#differences tbody tr").first
    assert line.locator("td").last.inner_text() == f"{'A' if better else 'B'} is better"
    assert line.locator("td").nth(3).inner_text() == "< .001"
