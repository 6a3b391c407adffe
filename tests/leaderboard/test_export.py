from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kdbench
from kdbench.errors import KdbenchError
from kdbench.leaderboard import load, rank, save
from kdbench.leaderboard.index import make_index
from kdbench.results.frame import COLUMNS
from kdbench.suites.changes import with_changes
from tests.leaderboard.evidence import Made, digits, make


def table(folder: Path, *made: Made) -> pd.DataFrame:
    for one in made:
        one.publish(folder)
    return load(folder)


def test_every_score_is_a_row(tmp_path: Path) -> None:
    made = make("kd", seed=3, params={"temperature": 8}, flagged=True)
    frame = table(tmp_path, made)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(made.record.scores)
    found = frame[(frame.task == "pgd") & (frame.metric == "robust_accuracy")]
    worst = found[
        [json.loads(setting) == {"variant": "pgd-std", "steps": 20, "rule": "worst"} for setting in found.setting]
    ]
    [row] = worst.to_dict("records")
    [score] = made.record.select("pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="worst")
    assert (row["value"], row["ci_low"], row["ci_high"], row["n"]) == (
        score.value,
        score.ci_low,
        score.ci_high,
        score.n,
    )
    assert (row["suite"], row["method"], row["seed"], row["task_version"]) == ("digits", "kd", 3, 2)
    assert json.loads(row["params"]) == {"temperature": 8}
    assert row["flagged"]
    assert set(frame[frame.flagged].task) == {"pgd"}


def test_a_score_says_what_its_student_saw(tmp_path: Path) -> None:
    frame = table(tmp_path, make("a", views={"clean": "crop", "sym-40": "none"}), make("b"))
    seen = frame[["method", "condition", "view"]].drop_duplicates().values.tolist()
    assert sorted(seen) == [["a", "clean", "crop"], ["a", "sym-40", "none"], ["b", "clean", ""], ["b", "sym-40", ""]]


def test_what_is_not_ranked_says_why(tmp_path: Path) -> None:
    frame = table(tmp_path, make("a", tasks=["pgd"]), make("b", tasks=["pgd"], versions={"pgd": 1}))
    assert set(frame[frame.excluded == ""].method) == {"a"}
    assert set(frame[frame.method == "b"].excluded) == {"version 1 of task pgd; here it is 2"}


def test_a_score_that_its_record_loses_says_why(tmp_path: Path) -> None:
    frame = table(tmp_path, make("a"), make("b", versions={"pgd": 1}))
    lost = frame[frame.excluded != ""]
    assert set(zip(lost.method, lost.task, lost.excluded, strict=True)) == {
        ("b", "pgd", "version 1 of task pgd; here it is 2")
    }


def test_one_file_and_none(tmp_path: Path) -> None:
    path = make().publish(tmp_path)
    assert len(load(path)) == len(load(tmp_path))
    assert list(load(Path(tmp_path / "digits/ce").parent).run_id.unique()) == [path.stem]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert list(load(empty).columns) == list(COLUMNS)
    (empty / "x.json").write_text("{}")
    with pytest.raises(KdbenchError, match="no record"):
        load(empty / "x.json")
    with pytest.raises(KdbenchError, match="no folder"):
        load(tmp_path / "nowhere")


def test_csv_comes_back_as_it_was(tmp_path: Path) -> None:
    frame = table(tmp_path / "r", make("a"), make("b", failed="x"))
    save(frame, tmp_path / "out/x.csv")
    unknown = {name: [""] for name in ("training_minutes", "peak_device_memory_gib")}
    back = pd.read_csv(tmp_path / "out/x.csv", dtype=dict(COLUMNS), keep_default_na=False, na_values=unknown)
    pd.testing.assert_frame_equal(back, frame)


def test_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    frame = table(tmp_path / "r", make("a", tasks=["clean"]))
    save(frame, tmp_path / "x.parquet")
    back = pd.read_parquet(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(back.astype(dict(COLUMNS)), frame)
    assert back.value.dtype == np.float64


def costly(seed: int, gpu: int | None, seconds: float) -> Made:
    """A record of so many bytes of a GPU, whose student of clean images was trained so long."""
    made = make("kd", seed=seed, tasks=["clean"])
    hashes, provenance = made.record.hashes, made.record.provenance
    student = hashes.students["clean"].model_copy(update={"seconds": seconds})
    memory = {"peak_memory_bytes": 3 * 2**30, "peak_device_memory_bytes": gpu}
    return made.changed(
        hashes=hashes.model_copy(update={"students": {"clean": student}}),
        provenance=provenance.model_copy(update=memory),
    )


def test_what_a_run_took_is_exported_with_its_units(tmp_path: Path) -> None:
    """Of each score its own student's minutes; of a board's row the mean of them, and the most memory."""
    frame = table(tmp_path / "r", costly(0, 5 * 2**29, 120.0), costly(1, None, 60.0))
    cost = ["training_minutes", "peak_memory_gib", "peak_device_memory_gib"]
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        if ending == ".parquet":
            pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
        save(frame, tmp_path / f"x{ending}")
        clean = read(tmp_path / f"x{ending}").query("condition == 'clean'").drop_duplicates("seed").set_index("seed")
        assert clean.loc[0, cost].tolist() == [2.0, 3.0, 2.5]
        assert clean.loc[1, cost].tolist()[:2] == [1.0, 3.0] and np.isnan(clean.loc[1, "peak_device_memory_gib"])
    [board] = make_index(rank(tmp_path / "r"), tmp_path / "r")["boards"]
    [row] = board["rows"]
    assert [row[name] for name in cost] == [1.5, 3.0, 2.5]


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    frame = table(tmp_path / "r", make("=HYPERLINK(1)", tasks=["clean"]))
    save(frame, tmp_path / "x.csv")
    assert set(pd.read_csv(tmp_path / "x.csv").method) == {"'=HYPERLINK(1)"}
    assert set(frame.method) == {"=HYPERLINK(1)"}


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(tmp_path / "r", make("a", tasks=["clean"]))
    with pytest.raises(KdbenchError, match="ends in '.xlsx'"):
        save(frame, tmp_path / "x.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(KdbenchError, match=r"needs the package pyarrow.*kdbench\[parquet\]'`, or export to \.csv"):
        save(frame, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_it_is_public() -> None:
    assert kdbench.leaderboard.load is load


def test_the_suite_says_what_was_changed_of_it(tmp_path: Path) -> None:
    other = with_changes(digits(), {"recipe.epochs": 3})
    for suite in (digits(), other):
        make(tasks=["clean"], suite=suite).publish(tmp_path)
    frame = load(tmp_path)
    assert set(frame.suite) == {"digits", "digits, recipe.epochs=3"}
    assert set(frame.excluded) == {""}
