"""A folder of records, as published or as ``kdbench run`` leaves it: what can be read, and why the rest cannot."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from kdbench.errors import KdbenchError
from kdbench.files import require_path
from kdbench.results.attestation import SUFFIX
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.machine import differences, machine
from kdbench.results.record import SCHEMA_VERSION, Record, Score
from kdbench.results.untrusted import Unreadable, plain, read_json
from kdbench.sealed import FRESH, PARTS, SWAP, DamagedError, check
from kdbench.specs import first_problem

SKIPPED: Final = (PARTS, FRESH, SWAP, "trainings", "examples", "studies")
"""Folders of ``kdbench run`` that hold no records."""
LARGEST: Final = 2**53
"""Numbers of examples beyond it are not exact in a float."""
LARGEST_SEED: Final = 2**63 - 1
"""What a table of seeds holds; those of a suite's networks are large."""


def read_records(folder: Path | str) -> tuple[tuple[Evidence, ...], tuple[Excluded, ...]]:
    """All records under a folder with the evidence beside them, and the files that are none, each with its reason.

    Either layout: ``<run_id>.json`` with ``<run_id>.predictions.npz`` and ``<run_id>.log.jsonl``, or run folders. Files
    of one run id with different results are samples of one specification where machine, threads or versions differ: the
    first counts, with the others as its ``repeats``. Where these are the same, the files are left out, as nobody knows
    which is right.

    Raises:
        KdbenchError: there is no such folder.
    """
    place = require_path("read_records", folder)
    if not place.is_dir():
        raise KdbenchError(f"no folder {place}", "give a folder of records, such as runs or leaderboards/records")
    found: list[Evidence] = []
    excluded: list[Excluded] = []
    for path in candidates(place):
        one = read_evidence(path)
        (found if isinstance(one, Evidence) else excluded).append(one)  # type: ignore[arg-type]  # by its own class
    unique, doubles = _once(found)
    return tuple(unique), tuple(excluded + doubles)


def candidates(folder: Path) -> Iterator[Path]:
    """JSON files in a stable order, without attestations; of a run folder its record alone."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        json = sorted(name for name in files if name.endswith(".json") and not name.endswith(SUFFIX))
        names = ["record.json"] if "record.json" in files else json
        yield from (Path(root) / name for name in names)


def read_evidence(path: Path | str) -> Evidence | Excluded:
    """One record file and what lies beside it, or why it is not read. Never raises for what is in the file."""
    path = require_path("read_evidence", path)
    found = read_candidate(path)
    return found if isinstance(found, Excluded) else Evidence.of(found, path)


def read_candidate(path: Path) -> Record | Excluded:
    """The record of a file alone, or why it is none that is read. Never raises for what is in the file."""
    try:
        check(path)
        value, text = read_json(path)
    except DamagedError as error:
        return Excluded(path, error.message.removeprefix(f"{path} "))
    except Unreadable as error:
        return Excluded(path, f"{error.message}{f' (line {error.line})' if error.line else ''}")
    named = _named(value)
    reason = _other_schema(value)
    if reason:
        return Excluded(path, reason, **named)
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        return Excluded(path, f"broken record: {plain(first_problem(error), 300)}", **named)
    reason = _unusable(record)
    if reason:
        return Excluded(path, reason, **named)
    return record


def _named(value: Any) -> dict[str, str]:
    """What a JSON value says of itself, as far as it is text: only to name it in a list."""
    record = _object(value)
    spec = _object(record.get("spec"))
    suite = _object(spec.get("suite"))
    said = {"run_id": record.get("run_id"), "suite": suite.get("name"), "method": spec.get("method")}
    return {name: plain(text) for name, text in said.items() if isinstance(text, str)}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _other_schema(value: Any) -> str:
    """Why it cannot be a record of this schema, "" if it can."""
    if not isinstance(value, dict) or not {"schema_version", "run_id"} <= value.keys():
        return "is no record of a run"
    version = value["schema_version"]
    if not isinstance(version, int) or isinstance(version, bool) or version == SCHEMA_VERSION:
        return ""
    if version > SCHEMA_VERSION:
        return f"schema {version} is newer than the one that is read here ({SCHEMA_VERSION}): update kdbench"
    return f"schema {version} is older than the one that is read here ({SCHEMA_VERSION}): run it again"


def _unusable(record: Record) -> str:
    """What is valid JSON of a record, and yet no number that anything can be computed with."""
    if abs(record.spec.seed) > LARGEST_SEED:
        return "spec.seed is beyond 2^63"
    if any(score.n > LARGEST for score in record.scores):
        return "a score counts more than 2^53 examples"
    if any(max(map(abs, (score.value, score.ci_low, score.ci_high))) > LARGEST for score in record.scores):
        return "a score is beyond 2^53"
    seen = [_score(score) for score in record.scores]
    return "" if len(seen) == len(set(seen)) else "it has one score twice"


def _once(found: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """One run per run id; excluded are copies of it, and results that one machine cannot both have had."""
    by_id: dict[str, list[Evidence]] = {}
    for one in found:
        by_id.setdefault(one.record.run_id, []).append(one)
    unique: list[Evidence] = []
    excluded: list[Excluded] = []
    for same in by_id.values():
        samples: dict[str, list[Evidence]] = {}
        for one in same:
            samples.setdefault(_results(one.record), []).append(one)
        impossible = _impossible(list(samples.values()))
        count = len(impossible)
        reason = f"{count} files of this run id have different results with the same machine, threads and versions"
        excluded += [exclude(one, reason) for one in impossible]
        kept = []
        for copies in samples.values():
            copies = [one for one in copies if all(one is not other for other in impossible)]
            if copies:
                best = min(copies, key=lambda one: len(one.notes))
                kept.append(best)
                excluded += [exclude(one, f"the same run as {best.path.name}") for one in copies if one is not best]
        if kept:
            unique.append(_first(kept))
    return unique, excluded


def _impossible(samples: Sequence[Sequence[Evidence]]) -> list[Evidence]:
    """The files of one run id that, as far as is known, the same machine made as a file with other results."""
    made = [[_machine(one) for one in copies] for copies in samples] if len(samples) > 1 else []
    return [
        samples[here][place]
        for here, machines in enumerate(made)
        for place, ours in enumerate(machines)
        if any(not differences(ours, theirs) for there in made if there is not machines for theirs in there)
    ]


def _results(record: Record) -> str:
    """What a repetition on the same machine has alike; times are others."""
    return record.model_dump_json(include={"status", "error", "budget", "checkpoint_rule", "scores", "checks"})


def _machine(one: Evidence) -> dict[str, str]:
    return machine(one.record.provenance, one.record.hashes.students.values())


def _first(samples: Sequence[Evidence]) -> Evidence:
    """Of the same run on several machines the one that counts: a finished one, that finished first. A mean over them
    would weigh that seed's data order and initial weights no more, and no test image has a mean of two answers."""
    first, *others = sorted(
        samples, key=lambda one: (one.record.status == "failed", one.record.provenance.finished, one.path)
    )
    remarks = (f"{_other(first, other)}; the run that finished first counts" for other in others)
    return dataclasses.replace(first, remarks=tuple(remarks), repeats=tuple(others))


def _other(first: Evidence, other: Evidence) -> str:
    """How the same run came out elsewhere, in words."""
    where = "; ".join(map(plain, differences(_machine(first), _machine(other))))
    if other.record.status != first.record.status:
        return f"run {first.record.run_id} {other.record.status} with {where}"
    values = {_score(score): score.value for score in first.record.scores}
    moved = [
        (abs(values[_score(score)] - score.value), score) for score in other.record.scores if _score(score) in values
    ]
    if not moved:
        return f"run {first.record.run_id} with {where} has other scores"
    most, score = max(moved, key=lambda item: item[0])
    what = f"{score.condition}/{score.task}/{score.metric}"
    return f"run {first.record.run_id} with {where} has other scores, by up to {most:.3g} ({plain(what)})"


def _score(score: Score) -> tuple[str, ...]:
    return score.condition, score.task, score.metric, repr(sorted(score.setting.items()))
