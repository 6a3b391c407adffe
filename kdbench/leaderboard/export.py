"""Records as one tidy table, one row per score: for notebooks, spreadsheets and other programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import packages
from kdbench.errors import KdbenchError
from kdbench.files import require_path, write_atomically
from kdbench.leaderboard.genuine import split_genuine
from kdbench.leaderboard.grouping import group
from kdbench.leaderboard.standing import standing
from kdbench.results.evidence import Evidence
from kdbench.results.frame import make_frame, plain_json, score_rows
from kdbench.results.store import read_evidence, read_records

if TYPE_CHECKING:
    import pandas

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of text that a spreadsheet takes for a formula."""


def load(path: Path | str = "leaderboards/records") -> pandas.DataFrame:
    """All scores of all readable records under a folder (or of one record file), one row each; see
    ``kdbench.results.frame.COLUMNS``.

    Scores of several suites, or of several versions of a task, are in one table: choose before averaging. Records that
    the leaderboard does not rank are there with the reason in ``excluded``; ``frame[frame.excluded == ""]`` are the
    ranked ones.

    Raises:
        KdbenchError: no such folder, or a file that is no record.
    """
    return make_frame(_rows(_read(require_path("load", path))))


def save(frame: pandas.DataFrame, path: Path | str) -> None:
    """Write a table as CSV or Parquet, by the file's ending.

    In a CSV file, text that a spreadsheet would take for a formula gets an apostrophe in front.

    Raises:
        KdbenchError: no table, another ending, or Parquet without pyarrow.
    """
    target = require_path("save", path)
    if not hasattr(frame, "to_parquet"):
        raise KdbenchError(f"save got a {type(frame).__name__}, expected a DataFrame", "`load(folder)` makes one")
    if target.suffix not in (".csv", ".parquet"):
        raise KdbenchError(
            f"cannot export to {target.name}: it ends in '{target.suffix}'", "name a .csv or .parquet file"
        )
    write_atomically(target, encoded(frame, target.suffix))


def encoded(frame: pandas.DataFrame, ending: str) -> bytes:
    """A table as the content of a file that ends in ".csv" or ".parquet", as ``save`` writes it."""
    if ending == ".csv":
        text = frame.select_dtypes(exclude=["number", "bool"]).map(_harmless)
        return str(frame.assign(**text).to_csv(index=False)).encode("utf-8", "replace")
    # pandas would name every engine that it misses; this is the one to install.
    packages.load("export to Parquet", "pyarrow", f"{packages.extra('parquet')}, or export to .csv")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()


def _harmless(text: Any) -> Any:
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def _read(path: Path) -> Sequence[Evidence]:
    if not path.is_file():
        return read_records(path)[0]
    run = read_evidence(path)
    if not isinstance(run, Evidence):
        raise KdbenchError(f"{path}: {run.reason}", "`kdbench leaderboard validate` says more")
    return [run]


def _rows(runs: Sequence[Evidence]) -> Iterator[dict[str, Any]]:
    genuine, foreign = split_genuine(runs)
    groups = group(genuine)
    reasons = {one.run_id: one.reason for one in (*foreign, *(one for each in groups for one in each.excluded))}
    ranked = [run for each in groups for method in each.methods for run in (*method.finished, *method.failed)]
    columns = {source.record.run_id: source.left_out for run in ranked for source in run.sources if source.left_out}
    samples = [(one, _why_not(one, run, reasons)) for run in sorted(runs, key=_order) for one in (run, *run.repeats)]
    for evidence, excluded in samples:
        for row in score_rows(evidence.record, excluded, standing([evidence])):
            yield row if excluded else {**row, "excluded": columns.get(row["run_id"], {}).get(row["task"], "")}


def _why_not(one: Evidence, run: Evidence, reasons: Mapping[str, str]) -> str:
    """Why a record is not ranked, "" where it is; ``run`` is the sample of its specification that counts."""
    return reasons.get(one.record.run_id, "") if one is run else "the same run on another machine counts"


def _order(run: Evidence) -> tuple[str, str, str, int, str]:
    spec = run.record.spec
    return spec.suite.label, spec.method, plain_json(run.record.params_passed), spec.seed, run.record.run_id
