"""The site as files: what is written, that no untrusted text becomes markup, and how large it is."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard.board import Boards
from kdbench.leaderboard.site import build
from kdbench.leaderboard.site.pages import SCRIPTS, STYLES, pages, site_files
from tests.browser import boards


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the raw text of scripts and styles."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.raw.append((*self.tags[-1], data))


@pytest.fixture(scope="module")
def small() -> dict[str, str]:
    return dict(pages(boards.small()))


@pytest.fixture(scope="module")
def hostile() -> dict[str, str]:
    return dict(pages(boards.hostile()))


def test_a_suite_has_a_table_a_comparison_and_a_page_a_method(small: dict[str, str]) -> None:
    methods = {f"cifar10-lite/method/{name}.html" for name in (*boards.LEVELS, "half")}
    digits = {"digits/index.html", "digits/compare.html", "digits/method/ce.html"}
    assert set(small) == {"index.html", "cifar10-lite/index.html", "cifar10-lite/compare.html"} | methods | digits


@pytest.mark.parametrize(("classes", "said"), [(10, ">airplane</bdi>"), (30, "Hardest classes: <bdi>0</bdi> 0.0")])
def test_a_method_s_page_says_which_classes_are_taken_for_which(classes: int, said: str) -> None:
    """All against all where they are few; the worst alone where they are many."""
    every = np.arange(classes, dtype=np.int16)
    found = boards.small()
    board = found.boards[0]
    runs = tuple(
        dataclasses.replace(run, predictions={"clean/clean/answer": np.roll(every, 1), "clean/clean/label": every})
        for run in board.rows[0].runs
    )
    row = dataclasses.replace(board.rows[0], runs=runs)
    changed = dataclasses.replace(found, boards=(dataclasses.replace(board, rows=(row, *board.rows[1:])),))
    content = dict(pages(changed))[f"cifar10-lite/method/{row.key}.html"]
    assert "Which classes are taken for which" in content
    assert said in content
    assert "Commonest mistakes: <bdi>" in content


def test_links_lead_to_files_that_are_there(small: dict[str, str]) -> None:
    known = {name for name, _ in site_files(boards.small())}
    for name, content in small.items():
        for tag, attributes in Page(content).tags:
            target = (attributes.get("href") or "").split("#")[0]
            if tag == "a" and target and not target.startswith("https://"):
                assert str((Path("/") / name).parent.joinpath(target).resolve()).lstrip("/") in known, (name, target)


def test_the_policy_allows_our_scripts_and_styles_and_untrusted_text_brings_none(
    small: dict[str, str], hostile: dict[str, str]
) -> None:
    known = {tag for content in small.values() for tag, _ in Page(content).tags}
    for content in (*small.values(), *hostile.values()):
        page = Page(content)
        [policy] = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy and policy.startswith("default-src 'none'; ") and "unsafe" not in policy
        allowed = set(re.findall(r"'sha256-([^']+)'", policy))
        ours = [raw for _, attributes, raw in page.raw if attributes.get("type") != "application/json"]
        found = {base64.b64encode(hashlib.sha256(raw.encode()).digest()).decode() for raw in ours}
        assert found == allowed
        assert {tag for tag, _ in page.tags} <= known


def test_nothing_is_fetched_and_no_attribute_carries_code(small: dict[str, str], hostile: dict[str, str]) -> None:
    for content in (*small.values(), *hostile.values()):
        for tag, attributes in Page(content).tags:
            assert "src" not in attributes and not any(name.startswith("on") for name in attributes)
            assert "style" not in attributes
            address = attributes.get("href") or ""
            assert not re.match(r"\s*[a-z-]+:", address, re.I) or address == "data:," or address.startswith("https://")
            assert tag not in ("img", "iframe", "object", "embed", "base", "form")


def test_untrusted_text_is_escaped_and_unseen_characters_are_spelt_out(hostile: dict[str, str]) -> None:
    for content in hostile.values():
        assert not set(content) & set("\u202e\u2066\u200f\x00\x1b")
        assert content.encode().decode() == content
    assert "⟨U+202E⟩gnp.exe" in hostile["index.html"]
    assert "{{ 7 * 7 }}" in hostile["index.html"], "a template in a name is not rendered"


def test_an_index_of_a_hundred_methods_is_under_300_kb() -> None:
    _, content = next(pages(boards.large(100)))
    assert len(content.encode()) < 300_000


def test_building_again_gives_the_same_bytes_and_takes_away_what_is_gone(tmp_path: Path) -> None:
    made = boards.small()
    first = {path: path.read_bytes() for path in build(made, tmp_path)}
    (tmp_path / "scores.csv").write_text("mine")
    assert {path: path.read_bytes() for path in build(boards.small(), tmp_path)} == first
    manifest = tmp_path / "pages.json"
    manifest.write_text(json.dumps([*json.loads(manifest.read_text()), "../outside.html", "scores.csv", 3]))
    outside = tmp_path.parent / "outside.html"
    outside.write_text("mine too")
    build(Boards(made.boards[:1], ()), tmp_path)
    assert not (tmp_path / "digits/index.html").exists()
    assert (tmp_path / "scores.csv").exists() and outside.exists()


@pytest.mark.parametrize(
    ("docs", "root", "deep"),
    [
        ("docs/index.html", "docs/index.html", "../../docs/index.html"),
        ("https://example.org/kdbench/", "https://example.org/kdbench/", "https://example.org/kdbench/"),
        ("", None, None),
    ],
)
def test_every_page_links_to_the_documentation_where_there_is_one(
    tmp_path: Path, docs: str, root: str | None, deep: str | None
) -> None:
    build(boards.small(), tmp_path, docs)

    def linked(name: str) -> str | None:
        tags = Page((tmp_path / name).read_text()).tags
        return next((attributes["href"] for _, attributes in tags if attributes.get("class") == "docs"), None)

    assert linked("index.html") == root
    assert linked("cifar10-lite/method/kd.html") == deep


@pytest.mark.parametrize("docs", ["javascript:alert(1)", "../docs", "/docs", "docs//x", "do cs", "//example.org"])
def test_a_place_of_documentation_outside_of_the_site_is_refused(tmp_path: Path, docs: str) -> None:
    with pytest.raises(KdbenchError, match=r"is no place of documentation .*docs/index\.html"):
        build(boards.small(), tmp_path, docs)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_rank_is_a_page_that_says_why(tmp_path: Path) -> None:
    build(Boards((), boards.small().excluded), tmp_path)
    content = (tmp_path / "index.html").read_text()
    assert "Nothing to rank" in content and "it has no schema_version" in content


def test_a_method_with_failed_runs_alone_has_a_page_and_no_scores() -> None:
    rng = np.random.default_rng(0)
    levels = boards.LEVELS["ce"]
    good = boards.row("ce", "ce", levels, seeds=1)
    failed = boards.record("mse", 0, good.runs[0].record.scores[-1:], rng, error="the loss became nan in epoch 2")
    row = dataclasses.replace(
        boards.row("mse", "mse", (), bare=True), runs=(), failed=(boards.evidence(failed, rng),), mean_rank=None
    )
    found = dict(pages(Boards((boards.board([good, row]),), ())))
    assert "the loss became nan in epoch 2" in found["cifar10-lite/method/mse.html"]
    assert "1 failed" in found["index.html"]


def test_an_unusable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KdbenchError, match="cannot write the site"):
        build(boards.small(), tmp_path / "file")


def test_a_key_that_is_no_file_name_is_refused() -> None:
    board = boards.small().boards[0]
    with pytest.raises(ValueError, match="no file name"):
        next(pages(Boards((dataclasses.replace(board, key="../up"),), ())))


def test_the_command_has_all_seeds_and_parameters(small: dict[str, str]) -> None:
    wanted = "kdbench run --method kd --suite cifar10-lite --seed 0 --seed 1 --seed 2 --set temperature=8"
    assert f"<code>{wanted}</code>" in small["cifar10-lite/method/kd.html"]


def test_templates_and_scripts_are_package_files() -> None:
    folder = files("kdbench.leaderboard.site")
    for name in {name for names in (*SCRIPTS.values(), *STYLES.values()) for name in names} | {"style.css"}:
        assert (folder / "static" / name).is_file()
