from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.reproducing.outcome import read_outcome
from kdbench.reproducing.running import Ready, from_folders
from kdbench.reproducing.writing import write_all
from kdbench.running.options import RunOptions
from tests.reproducing.conftest import TABLE, Put
from tests.reproducing.test_judging import CURVES, records

START = "2026-01-02T03:04:05+00:00"


def write(put: Put, folder: Path, text: str, scale: str = "full") -> tuple[Path, list[str]]:
    put(text)
    ready = Ready.make("ours/table1", scale)
    records(folder / "records", ready)
    evidence = from_folders(ready, [folder / "records"])
    outcome, points = ready.judge(evidence, START, RunOptions.make(out=folder).device)
    written = write_all(outcome, ready.reproduction.figure, points, folder / "to")
    place = folder / "to" / "ours" / "table1" / scale
    assert {path.parent for path in written} == {place}
    assert read_outcome(place / "reproduction.json") == outcome
    return place, sorted(path.name for path in written)


def test_a_table_is_written_as_csv_markdown_page_and_json(put: Put, tmp_path: Path) -> None:
    place, names = write(put, tmp_path, TABLE.replace("A table", "A <b>table</b>"))
    assert names == ["reproduction.json", "table.csv", "table.html", "table.md"]
    rows = list(csv.DictReader((place / "table.csv").read_text().splitlines()))
    assert [(row["row"], row["column"]) for row in rows][:2] == [("weak", "accuracy"), ("strong", "accuracy")]
    outcome = read_outcome(place / "reproduction.json")
    for row, one in zip(rows, outcome.numbers, strict=True):
        assert float(row["measured"]) == pytest.approx(one.value)
        assert (row["scale"], row["verdict"], row["published"]) == ("full", one.verdict, str(one.published))
    text = (place / "table.md").read_text()
    assert "published, full | measured, full" in text
    assert "It is made up." in text and "strong higher than alike" in text
    page = (place / "table.html").read_text()
    assert "A &lt;b&gt;table" in page and "<b>" not in page


@pytest.mark.parametrize("kind", ["lines", "bars", "heatmap"])
def test_a_figure_is_drawn(put: Put, tmp_path: Path, kind: str) -> None:
    figure = f'title = "A table"\nfigure = {{ kind = "{kind}", x = "rate" }}'
    text = TABLE.replace('title = "A table"', figure)
    for x, method in enumerate(("ce", "kd", "gce")):
        text = text.replace(f'method = "{method}"', f'method = "{method}"\nx = {x}\nline = "all"')
    place, names = write(put, tmp_path, text)
    assert {"figure.png", "figure.svg"} <= set(names)
    assert (place / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/svg+xml" in (place / "table.html").read_text()


def test_curves_are_drawn_as_steps_and_a_table_leaves_no_figure_behind(put: Put, tmp_path: Path) -> None:
    histogram = CURVES.replace('title = "Curves"', 'title = "Curves"\nfigure = { kind = "histogram", x = "k" }')
    _, names = write(put, tmp_path, histogram)
    assert "figure.svg" in names
    place, names = write(put, tmp_path, CURVES)
    assert not (place / "figure.svg").exists()


def test_a_broken_json_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "reproduction.json").write_text('{"id": 1}')
    with pytest.raises(KdbenchError, match="reproduction .*reproduction.json"):
        read_outcome(tmp_path / "reproduction.json")
