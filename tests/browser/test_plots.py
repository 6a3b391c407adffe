"""The plots of a suite's page: what they draw, what they say of a point, and that filters act on them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from kdbench.leaderboard.board import Board, Boards
from kdbench.leaderboard.placing import family_ranks
from kdbench.leaderboard.site.pages import pages
from tests.browser import boards
from tests.browser.test_start_page import BOXES, meet

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Opener

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
NOISY, ECE = "sym-40/noisy_label", "clean/calibration"
DOTS = """() => [...document.querySelectorAll("#dots circle.other, #dots path.fill")].map((one) => {
    const box = one.getBoundingClientRect();
    return [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
})"""
SIZE = """text => {
    const svg = text.ownerSVGElement;
    return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
}"""
BROKEN = r"""() => {
    const [broken, texts] = [[], document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT)];
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const within = text.parentElement;
        if (!within.checkVisibility() || within.closest("svg, pre, code, option, .unseen")) continue;
        for (const word of text.data.matchAll(/[\p{L}\p{N}]+/gu)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) broken.push(word[0]);
        }
    }
    return broken;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small board, with a row that others are held against."""
    return written(dataclasses.replace(boards.small().boards[0], reference="ce"), tmp_path_factory.mktemp("plots"))


def written(board: Board, folder: Path) -> str:
    name, html = next(pages(Boards((board,), ())))
    (folder / name).write_text(html)
    return (folder / name).as_uri()


def titles(page: Page, plot: str) -> list[str]:
    """Names in a plot, from top to bottom."""
    found = page.locator(f"#{plot} text.label[text-anchor=end]" if plot == "dots" else f"#{plot} text.label")
    return [text.removeprefix("⚠ ") for text in found.all_text_contents()]


def values(axis: str) -> dict[str, float]:
    return {row.title: row.cells[axis].value for row in boards.small().boards[0].rows if axis in row.cells}


@pytest.mark.parametrize(("axis", "sign"), [(NOISY, 1), (ECE, -1)])
def test_a_score_is_a_list_with_the_best_first_and_to_the_right(
    open_page: Opener, site: str, axis: str, sign: int
) -> None:
    page = open_page(f"{site}#of={axis}")
    wanted = sorted(values(axis).items(), key=lambda item: -sign * item[1])
    assert titles(page, "dots") == [name for name, _ in wanted]
    points = sorted(page.evaluate(DOTS), key=lambda point: point[1])
    across = [x for x, _ in points]
    assert across == sorted(across, reverse=True) and len(across) == len(wanted)
    line = page.locator("#dots path.reference").bounding_box()
    place = [name for name, _ in wanted].index("ce")
    assert line is not None and line["x"] + line["width"] / 2 == pytest.approx(across[place], abs=1)
    assert page.locator("#dots text.label").first.text_content() == f"ce {100 * values(axis)['ce']:.1f}"
    assert page.locator("#list figcaption").inner_text().endswith("the line is ce.")


def test_a_list_begins_with_noisy_labels_and_lives_in_the_address(open_page: Opener, site: str) -> None:
    page = open_page(site)
    select = page.locator("#of")
    assert select.locator("option:checked").inner_text() == "noisy sym-40"
    select.select_option("ECE")
    assert page.url.endswith(f"#of={ECE}")
    assert titles(open_page(page.url), "dots") == titles(page, "dots")


def test_better_is_to_the_right_and_up_in_the_scatter_whichever_way_a_score_is_good(
    open_page: Opener, site: str
) -> None:
    page = open_page(f"{site}#x={ECE}&y=sym-40/calibration&m=kd")
    [x, y] = page.evaluate(
        "[scaleOf(ROWS, 5, 0, 100), scaleOf(ROWS, 7, 100, 0)].map((one) => one.at(0.01) - one.at(0.2))"
    )
    assert x > 0 > y, "a lower error is further to the right, and less far down"
    found = page.evaluate(BOXES)
    named = dict(zip(found["texts"], found["labels"], strict=True))
    assert named["kd"][0] > named["nrd"][0], "ECE of 1 % against 21 %"
    assert "ECE (%, lower is better)" in page.locator("#scatter text.name").all_text_contents()


def test_the_pointer_shows_value_interval_seeds_and_n(open_page: Opener, site: str) -> None:
    page = open_page(site)
    line = page.locator("#dots + .readout")
    hint = line.inner_text()
    x, y = min(page.evaluate(DOTS), key=lambda point: point[1])
    page.mouse.move(x - 100, y + 2)
    best = max(values(NOISY), key=values(NOISY).__getitem__)
    value = 100 * values(NOISY)[best]
    said = line.inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith(f"{best}: noisy sym-40 {value:.1f} % ({value - 2:.1f} to ")
    assert "over 3 seeds and examples" in said and "n 2,000" in said and "rank 1" in said
    assert page.locator("#dots .ring").count() == 1
    page.mouse.move(2, 2)
    assert line.inner_text() == hint and page.locator("#dots .ring").count() == 0


def test_the_arrow_keys_go_through_the_points_of_each_plot(open_page: Opener, site: str) -> None:
    page = open_page(site)
    page.locator("#of").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "dots"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    line, order = page.locator("#dots + .readout"), titles(page, "dots")
    seen = [line.inner_text().split(":")[0]]
    for _ in order[1:]:
        page.keyboard.press("ArrowDown")
        seen.append(line.inner_text().split(":")[0])
    assert seen == order
    page.keyboard.press("Home")
    assert line.inner_text().startswith(f"{order[0]}: ")
    page.keyboard.press("Escape")
    assert "arrow keys" in line.inner_text()
    for plot, count in (("scatter", 2), ("parallel", 1)):
        page.locator(f"#{plot}").focus()
        page.keyboard.press("End")
        assert page.locator(f"#{plot} + .readout").inner_text().count("over 3 seeds") == count


def test_a_score_is_said_while_the_table_shows_differences(open_page: Opener, site: str) -> None:
    page = open_page(f"{site}#vs=kd")
    page.locator("#dots").focus()
    page.keyboard.press("Home")
    assert "over 3 seeds and examples" in page.locator("#dots + .readout").inner_text()


def test_filters_act_on_the_plots_and_an_empty_one_says_so(open_page: Opener, site: str) -> None:
    page = open_page(f"{site}#m=kd,gce")
    page.get_by_label("Family").select_option("losses")
    assert sorted(titles(page, "dots")) == ["ce", "gce"]
    assert sorted(titles(page, "scatter")) == ["ce", "gce"]
    assert page.locator("#parallel path.line:not(.error)").count() == 1
    assert page.locator("#chosen-note").inner_text() == "2 chosen, 1 of which the filter hides."
    assert page.locator("#dots path.reference").count() == 1
    page.get_by_label("Find").fill("nothing like it")
    for plot in ("scatter", "dots", "parallel"):
        assert page.locator(f"#{plot}").inner_text() == "No method matches the filter."
    page.locator("#dots").focus()
    page.keyboard.press("Home")
    page.get_by_role("button", name="Reset").click()
    assert len(titles(page, "dots")) == 5


def test_a_row_that_the_filter_hides_is_still_what_others_are_held_against(open_page: Opener, site: str) -> None:
    page = open_page(f"{site}#q=kd")
    assert titles(page, "dots") == ["kd"]
    line, plot = page.locator("#dots path.reference").bounding_box(), page.locator("#dots svg").bounding_box()
    assert line and plot and plot["x"] < line["x"] < plot["x"] + plot["width"]


def test_a_thousand_methods_are_a_cloud_in_which_the_chosen_have_names(open_page: Opener, tmp_path: Path) -> None:
    board = boards.large(1000).boards[0]
    chosen = [row.key for row in board.rows[:3]]
    page = open_page(f"{written(board, tmp_path)}#m={','.join(chosen)}")
    assert sorted(titles(page, "scatter")) == sorted(chosen)
    assert page.locator("#scatter circle.other.faint").count() == 997
    assert page.locator("#scatter path.otherline").count() == 0, "intervals would hide how dense the points lie"
    assert page.locator("#scatter path.error").count() == 6
    labels = page.evaluate(BOXES)["labels"]
    assert not any(meet(a, b) for number, a in enumerate(labels) for b in labels[:number])
    drawn = titles(page, "dots")
    assert len(drawn) == 14 and set(chosen) <= set(drawn)
    assert "14 of 1,000 are drawn." in page.locator("#dots").inner_text()
    axis = board.axes[6].key
    assert drawn[0] == max(board.rows, key=lambda row: row.cells[axis].value).title


def test_a_phone_has_the_sentence_one_plot_and_cards_and_then_the_others(open_page: Opener, site: str) -> None:
    page = open_page(site, **PHONE)
    tops = [page.locator(one).bounding_box() for one in (".finding", "#scatter", "#board tbody tr >> nth=0", "#dots",
                                                         "#parallel")]  # fmt: skip
    heights = [box["y"] for box in tops if box]
    assert heights == sorted(heights) and len(heights) == 5
    for plot in ("scatter", "dots", "parallel"):
        assert page.locator(f"#{plot}").evaluate("place => place.scrollWidth <= place.clientWidth")
        assert page.locator(f"#{plot} text").first.evaluate(SIZE) >= 11.5, "pixels of the screen"
    page.locator("#dots").tap()
    assert "over 3 seeds" in page.locator("#dots + .readout").inner_text()
    page.set_viewport_size({"width": 1200, "height": 800})
    page.wait_for_function("document.querySelector('#before #dots') !== null")


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_card_has_a_bar_of_possible_ranks_for_each_family(open_page: Opener, tmp_path: Path, seeds: int) -> None:
    whole = [row for row in boards.small().boards[0].rows if row.title != "half"]
    board = boards.board([*whole, boards.row("half", "half", (0.7, 0.5), seeds=seeds)])
    page = open_page(written(board, tmp_path), **PHONE)
    row = board.rows[0]
    card = page.locator("#board tbody tr", has=page.get_by_role("link", name=row.title, exact=True))
    wanted = family_ranks(board.axes, row.cells)
    bars = card.locator(".bars li")
    assert bars.count() == len(wanted)
    for number, (name, (middle, first, last)) in enumerate(wanted.items()):
        bar = bars.nth(number)
        ranks = f"{first:g}" if first == last else f"{first:g}\N{EN DASH}{last:g}"
        assert bar.inner_text().split("\n")[0].startswith(f"{name} {ranks}")
        assert bar.is_visible()
        at = {kind: float(bar.locator(f".{kind}").get_attribute("x") or "") for kind in ("range", "middle")}
        counted = [axis.key for axis in board.axes if axis.counts and axis.family == name]
        both = sum(axis in board.rows[-1].cells for axis in counted) / len(counted) if seeds == 3 else 0
        steps = len(whole) + both - 1
        assert at == pytest.approx(
            {"range": 100 - 100 * (last - 1) / steps, "middle": 100 - 100 * (middle - 1) / steps}, abs=0.06
        ), "half is ranked where it has three seeds"
    half = page.locator("#board tbody tr", has=page.get_by_role("link", name="half", exact=True))
    assert half.locator(".bars").count() == 0, "it has no place"
    page.set_viewport_size({"width": 1200, "height": 800})
    assert not bars.first.is_visible()


@pytest.mark.parametrize("width", [360, 701, 1024, 1440])
def test_no_word_is_broken(open_page: Opener, tmp_path: Path, width: int) -> None:
    names = ("messy-collaboration", "soft-randomization", "label-smoothing", "early-stopping epochs=20 patience=3")
    rows = [
        boards.row(name, f"m{number}", [level * (1 - 0.1 * number) for level in boards.LEVELS["ce"]],
                   family="noisy collaboration") for number, name in enumerate(names)
    ]  # fmt: skip
    page = open_page(written(boards.board(rows), tmp_path), viewport={"width": width, "height": 800})
    assert page.evaluate(BROKEN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
