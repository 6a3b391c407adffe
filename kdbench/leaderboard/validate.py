"""Whether a record can be what it says: every problem with its field and line, none of it believed unseen."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import ValidationError

from kdbench.errors import KdbenchError
from kdbench.leaderboard.accounting import BASES, Basis, by_basis
from kdbench.leaderboard.case import Case, Finding
from kdbench.leaderboard.copies import copies
from kdbench.leaderboard.near_copies import near_copies
from kdbench.leaderboard.rules import judge
from kdbench.plugin.loader import load_plugins
from kdbench.results import untrusted
from kdbench.results.evidence import (
    PREDICTIONS,
    Evidence,
    Predictions,
    attestations,
    beside,
    hashed_file,
    read_training_log,
)
from kdbench.results.record import SCHEMA_VERSION, Record, Score
from kdbench.results.store import read_evidence, read_records
from kdbench.results.untrusted import Unreadable, Where
from kdbench.training.log import LOG


def published(record: Record) -> tuple[str, ...]:
    """Evidence that is published with a record; what else its hashes name may stay with whoever made it."""
    return (PREDICTIONS, LOG) if record.evaluated is None else (PREDICTIONS,)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that a reader should know, with its place."""

    path: Path
    line: int | None
    """In the record's file, from 1; None where the file as a whole is meant."""
    field: str
    """As ``scores[3].value``; "" for the file as a whole."""
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = untrusted.plain(self.path) if self.line is None else f"{untrusted.plain(self.path)}:{self.line}"
        kind = "" if self.severity == "error" else "warning: "
        field = f"{self.field}: " if self.field else ""
        return f"{place}: {kind}{field}{untrusted.plain(self.message, 400)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


@dataclasses.dataclass(frozen=True)
class Examination:
    """What was found of one record."""

    path: Path
    problems: list[Problem]
    scores: Mapping[Basis, list[Score]] = dataclasses.field(default_factory=lambda: {basis: [] for basis in BASES})
    """Its scores by what they rest on; [] each where it can't be read."""


def record_files(paths: Iterable[Path]) -> list[Path]:
    """The records meant by paths of records, run folders, or folders of any of them."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*.json"))
            inside = [file for file in inside if file.name == "record.json" or _is_published(file)]
            if not inside:
                raise KdbenchError(f"no record under {path}", "give a record, a run's folder or a folder of records")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise KdbenchError(f"no record at {path}", "give a record, a run's folder or a folder of records")
    return list(dict.fromkeys(found))


_RUN_ID = re.compile(r"[0-9a-f]{16}")


def _is_published(file: Path) -> bool:
    """Whether a file is named after a run, as published records are: other JSON is no record."""
    return _RUN_ID.fullmatch(file.stem) is not None


def validate(path: Path) -> list[Problem]:
    """All problems of one record, in the order of its lines.

    Its JSON and its schema; that its specification gives its run id; its place in the folder; hashes and the files they
    are of; intervals that agree with n; scores that agree with the per-example results and with each other;
    and the attestations beside it.
    """
    return examine(path).problems


def faults(path: Path) -> list[Problem]:
    """Errors of one record wherever it lies: as it was sent, it need not be in its place yet."""
    return [problem for problem in examine(path, placed=False).problems if problem.severity == "error"]


def require_valid(path: Path) -> None:
    """Raise ``KdbenchError`` with the first error of a record, wherever it lies."""
    errors = faults(path)
    if errors:
        raise KdbenchError(f"not a valid record: {errors[0]}", "`kdbench leaderboard validate` shows all of it")


def examine(path: Path, *, placed: bool = True) -> Examination:
    """All problems of one record, as ``validate``, and what each of its scores rests on; ``placed``: its place too."""
    try:
        value, text = untrusted.read_json(path)
        record = Record.model_validate_json(text)
    except Unreadable as error:
        return Examination(path, [Problem(path, error.line, "", error.message)])
    except ValidationError as error:
        return Examination(path, _schema_problems(path, value, text, error))
    evidence = _Evidence.read(path, record)
    findings: list[Finding] = [*(_place(path, record) if placed else ()), *evidence.findings]
    case = Case(record, load_plugins(), evidence.predictions, evidence.log)
    findings += judge(case)
    positions = untrusted.lines(text) if findings else {}
    problems = [Problem(file, error.line, "", error.message) for file, error in attestations(path)[1]]
    problems += [
        Problem(path, untrusted.line_of(positions, where), untrusted.show_path(where), message, severity)
        for where, message, severity in findings
    ]
    return Examination(path, sorted(problems, key=lambda problem: problem.line or 0), by_basis(case))


def copied(paths: Sequence[Path]) -> list[Problem]:
    """A problem for each of these records that is a copy of another training's, among them or published beside them.

    Equal losses or answers of two methods are only a warning for runs that are not published: they may be wanted.
    Answers that are nearly another training's are one for all.
    """
    wanted = {path.resolve(): path for path in paths}
    suites = {path.resolve().parent.parent for path in paths if path.name != "record.json"}
    around = [one for folder in sorted(suites) for one in read_records(folder)[0]]
    known = {one.path.resolve() for one in around}
    alone = [read_evidence(path) for place, path in wanted.items() if place not in known]
    runs = [*around, *(one for one in alone if isinstance(one, Evidence))]
    certain = {id(copy.run) for copy in copies(runs, of_methods=False)}
    found = []
    for copy in copies(runs, of_methods=True):
        path = wanted.get(copy.run.path.resolve())
        if path is not None:
            sure = id(copy.run) in certain or path.name != "record.json"
            found.append(Problem(path, None, "hashes", str(copy), "error" if sure else "warning"))
    told = {problem.path for problem in found}
    for near in near_copies(runs):
        path = wanted.get(near.run.path.resolve())
        if path is not None and path not in told:
            found.append(Problem(path, None, "hashes.evidence", str(near), "warning"))
    return found


def _schema_problems(path: Path, value: Any, text: str, error: ValidationError) -> list[Problem]:
    """What the record's model objects to, once a field."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    positions = untrusted.lines(text)
    if version is None:
        return [Problem(path, None, "", "is no record: it has no schema_version")]
    if isinstance(version, int) and version != SCHEMA_VERSION:
        message = f"schema {version}, this kdbench reads {SCHEMA_VERSION}"
        hint = "use a newer kdbench" if version > SCHEMA_VERSION else "run it again"
        return [Problem(path, positions.get(("schema_version",)), "schema_version", f"{message}: {hint}")]
    found: dict[Where, str] = {}
    for item in error.errors(include_url=False, include_context=False):
        message = item["msg"].removeprefix("Value error, ")
        where = _where(positions, item["loc"], missing=item["type"] == "missing")
        if not where and isinstance(value, dict) and message.partition(" ")[0] in value:
            where = (message.partition(" ")[0],)  # what the whole record objects to begins with the field's name
        shown = "" if isinstance(item["input"], (dict, list)) else f", found {untrusted.plain(repr(item['input']), 80)}"
        found.setdefault(where, message[:1].lower() + message[1:] + shown)
    problems = [
        Problem(path, untrusted.line_of(positions, where), untrusted.show_path(where), message)
        for where, message in found.items()
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _where(positions: dict[Where, int], location: Where, *, missing: bool) -> Where:
    """A validation error's place in the text: it also names members of unions, which are no places."""
    place = untrusted.nearest(positions, location)
    return (*place, location[-1]) if missing and place == location[:-1] else place


def _place(path: Path, record: Record) -> Iterator[Finding]:
    """A published record lies at ``<suite>/<method>/<run_id>.json``."""
    spec = record.spec
    if path.name == "record.json":
        return
    wanted = (spec.suite.name, spec.method, f"{record.run_id}.json")
    found = path.resolve().parts[-3:]
    if found != wanted:
        advice = "`kdbench leaderboard submit` copies it there"
        yield (), f"belongs at {'/'.join(wanted)}, lies at {'/'.join(found)} ({advice})", "error"


@dataclasses.dataclass
class _Evidence:
    """The files beside a record, as far as they can be read, and what is wrong with the others."""

    predictions: Mapping[str, NDArray[Any]] | None = None
    log: list[dict[str, Any]] | None = None
    findings: list[Finding] = dataclasses.field(default_factory=list)

    @classmethod
    def read(cls, path: Path, record: Record) -> _Evidence:
        """Every file that is published with a record, and every other one that is there and that the record hashed."""
        found = cls()
        needed = published(record)
        for name in dict.fromkeys((*needed, *record.hashes.evidence)):
            where: Where = ("hashes", "evidence", name)
            if Path(name).name != name or "\0" in name:
                found.findings.append((where, "is no file name", "error"))
            elif name not in record.hashes.evidence:
                found.findings.append((where[:2], f"the hash of {name} is missing", "error"))
            elif name in needed or beside(path, name).is_file():
                try:
                    found._take(path, record, name)
                except Unreadable as error:
                    line = "" if error.line is None else f", line {error.line},"
                    found.findings.append((where, f"{beside(path, name).name}{line} {error.message}", "error"))
        return found

    def _take(self, path: Path, record: Record, name: str) -> None:
        if name == PREDICTIONS:
            self.predictions = Predictions.of(path, record)
        elif name == LOG:
            self.log = read_training_log(path, record)
        else:
            hashed_file(path, record, name)
