from __future__ import annotations

import html
import re
from pathlib import Path

from kdbench.report.page import MOST_CHARACTERS, MOST_ROWS, Shown, ShownGallery, page
from kdbench.report.parts import Card, Gallery, Group, Missing, Plot, Table
from kdbench.report.style import make_figure
from tests.leaderboard.evidence import make
from tests.report.reading import opened

SCRIPT = "<script>window.pwned=1</script>"


def shown(rows: int = 1, title: str = "A plot", caption: str = "A caption", cell: str = "cell") -> Shown:
    table = Table(("name", "value"), tuple((cell, number / 3) for number in range(rows)))
    return Shown.of(Plot("key", title, make_figure(1), caption, table), b"<svg/>")


def text_of(part: str) -> str:
    """What a reader reads."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_facts_of_a_run(tmp_path: Path) -> None:
    """13.7 seconds of work are .2 minutes; 40 % of the labels of one condition are wrong."""
    made = make("ce", seed=3, params={"alpha": 0.5})
    text = text_of(page(opened(tmp_path, made), [], []))
    assert f"ce on {made.record.spec.suite.name}" in text
    assert f"seed 3 run {made.record.run_id}" in text
    assert "parameter clean sym-40 alpha 0.5 0.5" in text
    assert "label noise, sym-40 symmetric 0.4, 40.00 % of the labels wrong" in text
    assert "a processor (cpu), 2 threads, torch 2.11.0" in text
    assert "0.2 minutes of work on 2026-01-02" in text
    assert f"kdbench 0.1.0 {'0' * 40}" in text
    assert "kdbench run --method ce" in text
    assert "--set alpha=0.5" in text
    assert f"All {len(made.record.checks)} reliability checks passed." in text
    assert "Nothing is missing." in text
    versions = text.partition("tasks and their versions: ")[2].removesuffix(".").replace(" ,", ",").split(", ")
    assert versions == [f"{task} {version}" for task, version in made.record.spec.tasks.items()]


def test_parameters_that_differ_by_condition_are_told_of_each(tmp_path: Path) -> None:
    made = make("ce")
    spec = made.record.spec.model_copy(update={"params": {"clean": {"q": 1}, "sym-40": {"q": 2}}})
    text = text_of(page(opened(tmp_path, made.changed(spec=spec)), [], []))
    assert "parameter clean sym-40" in text and "q 1 2" in text


def test_what_failed_is_said(tmp_path: Path) -> None:
    failed = make("ce", failed="condition sym-40: the training loss became nan")
    flagged = make("kd", flagged=True)
    text = text_of(page(opened(tmp_path, failed, flagged), [], [Missing("Scores", ("one", "two"))]))
    assert "This run failed: condition sym-40: the training loss became nan" in text
    assert "Checks that failed: [!] clean pgd large_eps: 0.4 found, at most 0 expected, n = 100" in text
    assert "Scores : one ; two ." in text


def test_a_plot_is_inside_with_a_description_and_its_numbers(tmp_path: Path) -> None:
    text = page(opened(tmp_path, make("ce")), [shown()], [])
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in text
    assert 'alt="A plot: A caption"' in text
    for kind in ("png", "svg", "csv"):
        assert f'href="key.{kind}" download aria-label="Download A plot as {kind.upper()}"' in text, "relative links"
    assert '<a href="#key">' in text and '<h2 id="key">' in text, "a list of contents"
    assert text.index('id="key"') < text.index('id="runs"'), "scores come before how they came about"
    assert "<td><bdi>cell</bdi></td><td><bdi>0</bdi></td>" in text


def test_a_gallery_has_its_images_inside_and_untrusted_names_are_text(tmp_path: Path) -> None:
    card = Card(((SCRIPT, b"plain"), ("the same under fog", b"changed")), (f"image 3: {SCRIPT}",))
    group = Group(f"Wrong ({SCRIPT})", "1 shown of 2 such images; 9 were measured.", (card,))
    gallery = Gallery("images-1", SCRIPT, SCRIPT, (group,), Table((), ()))
    text = page(opened(tmp_path, make("ce")), [ShownGallery.of(gallery)], [])
    assert text.count('src="data:image/png;base64,') == 2 and 'alt="the same under fog"' in text
    assert "<script" not in text and f"image 3: {SCRIPT}" in text_of(text)
    assert '<a href="images-1.csv">' in text and "1 shown of 2 such images" in text


def test_a_long_table_is_cut_and_says_where_the_rest_is(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"))
    whole, cut = page(runs, [shown(MOST_ROWS)], []), page(runs, [shown(MOST_ROWS + 1)], [])
    assert whole.count("<td><bdi>cell</bdi></td>") == cut.count("<td><bdi>cell</bdi></td>") == MOST_ROWS
    assert "the first" not in whole
    assert "(the first 200 rows of 201; all are in key.csv)" in cut


def test_untrusted_text_is_text_and_has_an_end(tmp_path: Path) -> None:
    long = "n" * 10 * MOST_CHARACTERS
    made = make(SCRIPT, params={"x": long}, failed=SCRIPT)
    text = page(opened(tmp_path, made), [shown(title=SCRIPT, caption=long, cell=SCRIPT)], [Missing(SCRIPT, (long,))])
    assert "<script" not in text
    assert html.escape(SCRIPT) in text
    assert "n" * (MOST_CHARACTERS + 1) not in text
    assert "n" * MOST_CHARACTERS + "…" in text


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    text = page(opened(tmp_path, make("ce")), [shown()], [])
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in html.unescape(text)
    assert "unsafe" not in text
    assert not re.search(r'(src|href)="(?!data:image/svg\+xml;base64,|#|key\.(png|svg|csv)")', text)
