from __future__ import annotations

from pathlib import Path

import numpy as np

from kdbench.report.confusion import confusions
from tests.leaderboard.evidence import make
from tests.report.reading import only_plot, opened, plots_and_gaps, rows, with_files

LABEL = np.repeat(np.arange(10, dtype=np.int16), 2)
ANSWER = np.where(np.arange(20) == 7, 5, LABEL).astype(np.int16)  # one 3 is a 5


def test_each_pair_of_classes_has_its_number_of_images(tmp_path: Path) -> None:
    answers = {"clean/clean/answer": ANSWER, "clean/clean/label": LABEL}
    made = with_files(make("ce", conditions=["clean"]), predictions=answers)
    plot = only_plot(lambda: confusions(opened(tmp_path, made)))
    found = {(row["class"], row["answer"]): row["images"] for row in rows(plot)}
    assert found[("3", "5")] == 1
    assert found[("3", "3")] == 1
    assert found[("5", "5")] == 2
    assert sum(int(count) for count in found.values()) == 20
    [axes] = plot.figure.axes
    assert {text.get_text() for text in axes.texts} == {"50", "100"}
    assert "n = 20 images" in plot.caption


def test_a_record_that_kept_no_answers_is_named(tmp_path: Path) -> None:
    plots, [gap] = plots_and_gaps(lambda: confusions(opened(tmp_path, make("ce", conditions=["clean"]))))
    assert plots == []
    assert gap.reasons == ("ce kept no answers under clean, as older records did not",)
