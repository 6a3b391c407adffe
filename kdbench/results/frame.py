"""Scores as a tidy table, one row per score: for notebooks, spreadsheets and other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from kdbench.results.record import Record

if TYPE_CHECKING:
    import pandas

GIB: Final = 2**30
COLUMNS: Mapping[str, str] = {
    "suite": "str",
    "suite_version": "int64",
    "method": "str",
    "params": "str",
    "seed": "int64",
    "condition": "str",
    "task": "str",
    "task_version": "Int64",
    "metric": "str",
    "setting": "str",
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "n": "int64",
    "unit": "str",
    "higher_is_better": "bool",
    "flagged": "bool",
    "excluded": "str",
    "evaluated": "str",
    "status": "str",
    "budget": "str",
    "view": "str",
    "checkpoint_rule": "str",
    "device": "str",
    "training_minutes": "float64",
    "peak_memory_gib": "float64",
    "peak_device_memory_gib": "float64",
    "finished": "str",
    "run_id": "str",
    "standing": "str",
}
"""Column to type. ``suite`` also says what was changed of it by hand; ``params`` and ``setting`` are JSON; ``view`` is
the student's view of the training images, "" where it is not recorded; ``excluded`` is why the leaderboard leaves the
record out, "" where it does not; ``evaluated`` is where a model came from that was not trained here, "" for a trained
one; ``training_minutes`` is the wall time of the training of the condition's student; the memory, in GiB of 2**30
bytes, is the most that the run took of its machine's and of its accelerator's, NaN where that was not counted;
``standing`` is whether somebody trained the record again (``kdbench.leaderboard.standing``)."""


def score_rows(record: Record, excluded: str = "", standing: str = "") -> Iterator[dict[str, Any]]:
    """A record's scores, each with what ``COLUMNS`` has."""
    spec, model, facts = record.spec, record.evaluated, record.provenance
    on_device = facts.peak_device_memory_bytes
    run = {
        "suite": spec.suite.label,
        "suite_version": spec.suite.version,
        "method": spec.method,
        "params": plain_json(record.params_passed if model is None else model.params),
        "seed": spec.seed,
        "excluded": excluded,
        "evaluated": "" if model is None else model.source,
        "status": record.status,
        "budget": record.budget,
        "checkpoint_rule": record.checkpoint_rule,
        "device": facts.device,
        "peak_memory_gib": facts.peak_memory_bytes / GIB,
        "peak_device_memory_gib": None if on_device is None else on_device / GIB,
        "finished": facts.finished,
        "run_id": record.run_id,
        "standing": standing,
    }
    students = {} if model else record.hashes.students
    for score in record.scores:
        student = students.get(score.condition)
        yield {
            **run,
            **score.model_dump(exclude={"setting"}),
            "setting": plain_json(score.setting),
            "training_minutes": None if student is None else student.seconds / 60,
            "view": record.views.get(score.condition, ""),
            "task_version": spec.tasks.get(score.task),
            "flagged": bool(record.flags(score)) or record.checkpoint_rule == "best-on-test",
        }


def make_frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] = COLUMNS) -> pandas.DataFrame:
    """A table of these columns and types, whatever the number of rows."""
    import pandas  # takes a second, and most commands don't need it

    kept: Sequence[Mapping[str, Any]] = list(rows)
    found = {name: pandas.Series([row[name] for row in kept], dtype=kind) for name, kind in columns.items()}
    return pandas.DataFrame(found)


def plain_json(values: Mapping[str, Any]) -> str:
    """One text for the same values."""
    return json.dumps(values, sort_keys=True)
