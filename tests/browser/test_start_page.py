"""The table of a suite in a real browser: sort, filter, choose, follow, and every view has an address."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kdbench.leaderboard import placing
from kdbench.leaderboard.site.pages import pages
from tests.browser import boards

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Opener


def names(page: Page) -> list[str]:
    return page.locator("#board tbody th > a").all_inner_texts()


def head(page: Page, column: str) -> None:
    page.locator(f'th[data-column="{column}"] button').click()


def sorted_by(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('th[aria-sort]')].map(h => [h.dataset.column, h.ariaSort]))"
    )
    return found


def test_columns_sort_best_first_then_turn(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    assert sorted_by(page) == {"rank": "ascending"}
    assert names(page)[-1] == "half", "what has no mean rank is last"
    head(page, "clean/clean")
    assert names(page) == ["kd", "ce", "soft-randomization", "gce", "half", "nrd"]
    assert sorted_by(page) == {"clean/clean": "descending"}
    head(page, "clean/clean")
    assert names(page)[0] == "nrd"
    assert sorted_by(page) == {"clean/clean": "ascending"}
    head(page, "clean/calibration")
    assert names(page)[0] == "kd", "the lowest ECE is the best"
    assert sorted_by(page) == {"clean/calibration": "ascending"}
    head(page, "method")
    assert names(page) == sorted(names(page))


def test_a_doubtful_score_is_marked_and_sorts_after_the_others(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    head(page, "clean/pgd")
    assert names(page)[-2:] == ["soft-randomization", "half"], "12 % under PGD, but doubtful; then what is missing"
    assert page.locator("tr", has_text="soft-randomization").locator("td.doubt").inner_text().startswith("⚠")


def test_the_best_and_what_is_not_known_differ_in_more_than_colour(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    cells = {name: page.locator("tbody tr", has=page.get_by_role("link", name=name, exact=True)).locator("td").nth(2)
             for name in ("kd", "ce", "nrd")}  # fmt: skip
    assert cells["kd"].inner_text().startswith("★")
    assert cells["ce"].inner_text().startswith("○")
    assert not set(cells["nrd"].inner_text()) & set("★☆○")
    weight = "element => getComputedStyle(element).fontWeight"
    weights = [cells[name].locator("b").evaluate(weight) for name in ("kd", "ce", "nrd")]
    assert weights == ["700", "400", "600"], "what is not known does not stand out"
    assert page.locator("p.legend").inner_text().startswith("★ best mean · ☆ surely near it")


def test_a_row_of_one_seed_says_so_and_its_intervals_are_in_brackets(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    half = page.locator("tbody tr", has=page.get_by_role("link", name="half", exact=True))
    assert half.locator("td.rank").inner_text().split("\n")[-1] == "1 seed: unranked"
    dashes = "element => getComputedStyle(element).strokeDasharray"
    assert half.locator("td.g0 small").first.inner_text().startswith("(±")
    kd = page.locator("tbody tr", has=page.get_by_role("link", name="kd", exact=True))
    assert kd.locator("td.g0 small").first.inner_text().startswith("±")
    page.get_by_label("Choose half", exact=True).check()
    assert page.locator("#parallel path.error").first.evaluate(dashes) == "3px, 2px"
    page.locator("#up").select_option("OOD")
    assert page.locator("#scatter path.error").count() == 2
    assert page.locator("#scatter path.error.dashed").count() == 2


BOXES = """() => {
    const box = (element) => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
    const all = (what) => [...document.querySelectorAll(`#scatter ${what}`)].map(box);
    const names = [...document.querySelectorAll("#scatter text:not(.tick):not(.name)")];
    return {labels: names.map(box), texts: names.map((name) => name.textContent),
            points: all("path.fill, #scatter circle.other"), plot: box(document.querySelector("#scatter svg"))};
}"""


def meet(a: list[float], b: list[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("seed", range(4))
def test_names_in_the_scatter_lie_on_no_point_and_on_no_other_name(
    open_page: Opener, tmp_path: Path, seed: int
) -> None:
    """Twelve methods in one corner, one far away that makes the corner small, and eight of them chosen."""
    rng = np.random.default_rng(seed)
    levels = [[0.8 + 0.06 * rng.random(), 0.5, 0.05 * rng.random(), *[0.5] * 5] for _ in range(12)]
    rows = [boards.row(f"a-long-name-{i}", f"m{i}", level, bare=True) for i, level in enumerate(levels)]
    rows.append(boards.row("far", "far", (0.4, 0.5, 0.4, *[0.5] * 5), bare=True))
    name, html = next(pages(boards.Boards((boards.board(rows),), ())))
    (tmp_path / name).write_text(html)
    chosen = ",".join(f"m{i}" for i in range(8))
    page = open_page(f"{(tmp_path / name).as_uri()}#m={chosen}&x=clean/clean&y=clean/pgd")
    found = page.evaluate(BOXES)
    labels, points, plot = found["labels"], found["points"], found["plot"]
    assert sorted(found["texts"]) == [f"a-long-name-{i}" for i in range(8)]
    assert len(points) == 13
    for number, label in enumerate(labels):
        assert not any(meet(label, point) for point in points), found["texts"][number]
        assert not any(meet(label, other) for other in labels[:number]), found["texts"][number]
        assert plot[0] <= label[0] and label[2] <= plot[2] and plot[1] <= label[1] and label[3] <= plot[3]


def test_filters_combine_and_live_in_the_address(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    page.get_by_label("Family").select_option("losses")
    assert sorted(names(page)) == ["ce", "gce"]
    page.get_by_label("Find").fill("GC")
    assert names(page) == ["gce"]
    assert page.get_by_role("status").inner_text() == "1 of 6 methods"
    again = open_page(page.url)
    assert names(again) == ["gce"]
    assert again.get_by_label("Find").input_value() == "GC"
    page.get_by_label("Find").fill("nothing like it")
    assert page.locator("#nothing").is_visible()
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Flags").select_option("with")
    assert names(page) == ["soft-randomization"]


def test_the_back_button_takes_back_views(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    first = names(page)
    head(page, "clean/clean")
    page.get_by_label("Family").select_option("losses")
    page.go_back()
    assert len(names(page)) == 6 and sorted_by(page) == {"clean/clean": "descending"}
    page.go_back()
    assert names(page) == first and sorted_by(page) == {"rank": "ascending"}
    page.go_forward()
    assert names(page)[0] == "kd"


def test_chosen_methods_are_drawn_and_compared(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    compare = page.locator("#compare")
    assert compare.get_attribute("href") is None
    for name in ("kd", "nrd"):
        page.get_by_label(f"Choose {name}", exact=True).check()
    assert page.locator("#chosen-names bdi").all_inner_texts() == ["kd", "nrd"]
    assert page.locator("#parallel path.line:not(.error)").count() == 2
    assert page.locator("#scatter path.fill").count() == 2 and page.locator("#scatter circle.other").count() == 3
    page.locator("#up").select_option("transfer")
    assert "transfer against clean" in (page.locator("#scatter svg").get_attribute("aria-label") or "")
    address = page.url
    compare.click()
    assert page.url.endswith("cifar10-lite/compare.html#m=kd,nrd")
    page.go_back()
    assert page.url == address
    assert page.get_by_label("Choose kd", exact=True).is_checked()
    assert page.locator("#up option:checked").inner_text() == "transfer"


def test_a_method_can_be_followed_and_left_again(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html#sort=method")
    page.get_by_role("link", name="kd", exact=True).click()
    assert page.url.endswith("cifar10-lite/method/kd.html")
    assert page.get_by_role("heading", level=1).inner_text() == "kd"
    assert "--method kd --suite cifar10-lite --seed 0 --seed 1 --seed 2 --set temperature=8" in page.inner_text("pre")
    assert page.locator("table.heat").first.locator("tbody tr").count() == 19
    page.go_back()
    assert names(page) == sorted(names(page))


def test_what_is_not_ranked_is_listed_with_its_reason(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    page.get_by_role("link", name="1 not ranked").click()
    page.get_by_text("schema 1 is older than 2").wait_for()
    page.locator("#stray summary").click()
    page.get_by_text("it has no schema_version").wait_for()


@pytest.mark.parametrize("fragment", ["#sort=nonsense&dir=up&m=nobody,kd&x=9&y=&flags=huh&show=-1", "#%ff=%", "#="])
def test_nonsense_in_the_address_is_harmless(open_page: Opener, small_site: str, fragment: str) -> None:
    page = open_page(f"{small_site}/index.html{fragment}")
    assert page.locator("#board").is_visible()


def test_a_thousand_methods_are_fifty_rows_at_a_time(open_page: Opener, tmp_path: Path) -> None:
    """What is laid out decides how long a sort takes; `tests/benchmarks` measures it."""
    name, html = next(pages(boards.large(1000)))
    (tmp_path / name).write_text(html)
    page = open_page((tmp_path / "index.html").as_uri())
    assert page.locator("#board tbody tr").count() == 50
    head(page, "clean/calibration")
    texts = page.locator("#board tbody td:nth-child(9) b").all_inner_texts()
    assert len(texts) == 50
    values = [float(text.strip("★☆○")) for text in texts]
    assert all(this < after + 0.11 for this, after in itertools.pairwise(values)), "ECE: lowest first, rounded"
    page.get_by_role("button", name="Show 50 more").click()
    assert page.locator("#board tbody tr").count() == 100
    page.get_by_label("Find").fill("method-0777")
    assert names(page) == ["method-0777"]


def test_a_page_of_a_thousand_methods_is_small_on_the_way(tmp_path: Path) -> None:
    _, html = next(pages(boards.large(1000)))
    assert len(gzip.compress(html.encode())) < 500_000


def test_families_open_to_their_columns_by_keyboard_and_in_the_address(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")

    def shown() -> list[str]:
        heads = page.locator("#board th[data-column]")
        return list(heads.evaluate_all("all => all.filter(h => h.offsetWidth).map(h => h.dataset.column)"))

    assert "clean/clean" in shown() and "clean/ood" not in shown()
    button = page.get_by_role("button", name="natural", exact=True)
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert "clean/ood" in shown()
    assert page.url.endswith("#open=natural")
    assert page.get_by_role("button", name="adversarial", exact=True).is_disabled(), "it has one column"
    assert "clean/transfer" in [
        one.get_attribute("data-column") for one in open_page(f"{small_site}/index.html#sort=clean/transfer")
        .locator("#board th[aria-sort]:visible").all()
    ], "what a table is sorted by is shown"  # fmt: skip


def test_however_many_families_there_are_each_folds(open_page: Opener, tmp_path: Path) -> None:
    board = boards.small().boards[0]
    axes = tuple(
        dataclasses.replace(board.axes[0], key=f"clean/{family}-{place}", family=family, counts=False)
        for family in "abcdefghijkl"
        for place in range(2)
    )
    name, html = next(pages(boards.Boards((dataclasses.replace(board, axes=(*board.axes, *axes)),), ())))
    (tmp_path / name).write_text(html)
    page = open_page((tmp_path / name).as_uri())
    last = page.locator('[data-column="clean/l-1"]')
    assert page.locator('[data-column="clean/l-0"]').is_visible() and not last.is_visible()
    page.get_by_role("button", name="l", exact=True).click()
    assert last.is_visible() and not page.locator('[data-column="clean/k-1"]').is_visible()


def test_places_for_weights_are_those_of_python_to_the_last_bit(open_page: Opener, small_site: str) -> None:
    board = boards.small().boards[0]
    page = open_page(f"{small_site}/index.html")
    names_of = page.evaluate("DATA.weighed")
    rng = np.random.default_rng(0)
    drawn = [
        [1.0] * len(names_of),
        *(rng.integers(0, 7, (20, len(names_of))) / 2).tolist(),
        *rng.random((20, len(names_of))).tolist(),
    ]
    for weights in drawn:
        if not any(weights):
            continue
        wanted = placing.standings(board.rows, board.axes, dict(zip(names_of, weights, strict=True)))
        found = page.evaluate("weights => standings(DATA.ranks, weights)", weights)
        assert [one and (one["mean"], one["place"], one["last"]) for one in found] == [
            one and (one.mean, one.place, one.last_place) for one in wanted
        ]


def test_weights_order_the_table_and_live_in_the_address(open_page: Opener, small_site: str) -> None:
    board = boards.small().boards[0]
    page = open_page(f"{small_site}/index.html")
    usual = names(page)
    page.get_by_text("Weigh the families").click()
    slider = page.get_by_label("noisy labels", exact=False).first
    slider.fill("3")
    for other in ("natural", "adversarial", "corruptions", "calibration", "noisy calibration"):
        page.locator("#weights label", has_text=other).first.locator("input").fill("0")
    found = placing.standings(
        board.rows, board.axes, {**dict.fromkeys(page.evaluate("DATA.weighed"), 0.0), "noisy labels": 3.0}
    )
    means = {row.title: one.mean for row, one in zip(board.rows, found, strict=True) if one is not None}
    assert [means[name] for name in names(page)[: len(means)]] == sorted(means.values())
    assert names(page) != usual
    again = open_page(page.url)
    assert names(again) == names(page)
    page.get_by_role("button", name="Reset").click()
    assert names(page) == usual


def test_every_cell_can_be_the_difference_to_a_row(open_page: Opener, small_site: str) -> None:
    board = boards.small().boards[0]
    index = {row.title: number for number, row in enumerate(board.rows)}
    page = open_page(f"{small_site}/index.html")
    before = page.locator("#board tbody").inner_text()
    page.get_by_label("Show").select_option(label="difference to ce")
    pairs = board.pairs["clean/clean"]
    for name in ("kd", "nrd"):
        cell = page.locator("tbody tr", has=page.get_by_role("link", name=name, exact=True)).locator("td").nth(2)
        value, half = cell.inner_text().split()
        assert float(value.replace("−", "-")) == pytest.approx(100 * pairs.value[index[name], index["ce"]], abs=0.051)  # noqa: RUF001
        assert float(half.strip("(±)")) == pytest.approx(100 * pairs.half_width[index[name], index["ce"]], abs=0.051)
        significant = bool(pairs.significant[index[name], index["ce"]])
        assert ("d0" in (cell.get_attribute("class") or "")) == (not significant)
    assert page.url.endswith("#vs=ce")
    page.get_by_label("Show").select_option("")
    assert page.locator("#board tbody").inner_text() == before


def test_what_is_chosen_can_be_compared_wherever_the_table_is_scrolled(open_page: Opener, small_site: str) -> None:
    page = open_page(f"{small_site}/index.html")
    assert not page.locator("#choice").is_visible()
    page.get_by_label("Choose kd", exact=True).check()
    page.get_by_label("Choose nrd", exact=True).check()
    box = page.locator("#choice").bounding_box()
    assert box is not None and page.viewport_size is not None
    assert box["y"] + box["height"] == pytest.approx(page.viewport_size["height"], abs=1)
    page.get_by_role("button", name="Clear choice").click()
    assert not page.locator("#choice").is_visible()


def test_on_a_phone_a_row_is_a_card_with_its_choice_and_nothing_scrolls_sideways(
    open_page: Opener, small_site: str
) -> None:
    page = open_page(f"{small_site}/index.html")
    page.set_viewport_size({"width": 360, "height": 800})
    card = page.locator("#board tbody tr").first
    before = "all => all.map(cell => getComputedStyle(cell, '::before').content).filter(text => text !== 'none')"
    assert card.locator("td:visible").evaluate_all(before)[:2] == ['"Place"', '"clean"']
    page.get_by_label("Sort by").select_option(label="Method")
    assert names(page) == sorted(names(page))
    card.get_by_role("checkbox").click()
    assert page.locator("#choice").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    scrolls = "element => element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight"
    assert not page.get_by_role("region", name="Table of methods, scrolls sideways").evaluate(scrolls)


def test_the_scatter_joins_and_names_what_no_other_beats_on_both(open_page: Opener, small_site: str) -> None:
    board = boards.small().boards[0]
    page = open_page(f"{small_site}/index.html#x=clean/clean&y=sym-40/noisy_label")
    both = {
        row.title: (row.cells["clean/clean"].value, row.cells["sym-40/noisy_label"].value)
        for row in board.rows if {"clean/clean", "sym-40/noisy_label"} <= row.cells.keys()
    }  # fmt: skip
    front = [
        title for title, (x, y) in both.items()
        if not any((a >= x and b >= y) and (a, b) != (x, y) for a, b in both.values())
    ]  # fmt: skip
    assert len(front) > 1
    rows = "paretoFront(ROWS.filter((row) => row.cells[0] && row.cells[6]), 0, 6).map((row) => row.title)"
    assert sorted(page.evaluate(rows)) == sorted(front)
    assert set(front) <= set(page.locator("#scatter text.label").all_text_contents())
    assert page.locator("#scatter path.front").count() == 1
