"""A run's record on its way into a folder of published ones, and the text that goes with it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.files import write_atomically
from kdbench.inside import inside, is_own_file
from kdbench.leaderboard.copies import copies
from kdbench.leaderboard.validate import faults, published
from kdbench.plugin.parameters import as_assignments
from kdbench.results.evidence import Evidence, beside, checkpoint_beside, record_at, same_file
from kdbench.results.headline import installed_task, shown
from kdbench.results.record import EvaluatedModel, Record, read_record
from kdbench.results.store import read_records
from kdbench.results.untrusted import EVIDENCE_LIMIT, RECORD_LIMIT, Unreadable, plain, read_bytes
from kdbench.results.wording import FLAG, counted, describe_setting, failed_checks, percent
from kdbench.specs import Suite

LARGEST_CHECKPOINT = 2**20
"""Bytes of a network that is published with its record: a repository keeps all of them for ever."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """What was put where, and the pull request's text."""

    record: Path
    """Where the record lies now."""
    written: list[Path]
    """The files that are new; [] when all of them were there."""
    missing: list[str]
    """What the suite plans and the record has not: "task pgd", "condition sym-40"."""
    title: str
    body: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        written = [str(path) for path in self.written]
        texts = {"missing": self.missing, "title": self.title, "body": self.body}
        return {"record": str(self.record), "written": written, **texts}


def submit(path: Path, folder: Path, *, checkpoints: bool = False) -> Submission:
    """Copy a valid record to ``<folder>/<suite>/<method>/<run_id>.json``, and beside it per-example results, log and
    attestations; with ``checkpoints`` also the networks that were measured, so that anybody can verify it.

    Published records are evidence: a file that is there already stays, and one that differs is an error.

    Raises:
        KdbenchError: the record is not valid, or another content is published under its run id.
    """
    source = record_at(path)
    if not source.is_file():
        raise KdbenchError(f"no record at {source}", "give a run's folder or its record.json")
    errors = faults(source)
    if errors:
        raise KdbenchError(
            f"{counted(len(errors), 'error')}, the first: {errors[0]}",
            f"`kdbench leaderboard validate {source}` lists them",
        )
    record = read_record(source)
    beside_it = folder / record.spec.suite.name
    published_there = read_records(beside_it)[0] if beside_it.is_dir() else ()
    run = Evidence.of(record, source)
    others = [one for one in published_there if one.record.run_id != record.run_id]
    for copy in copies([*others, run], of_methods=True):
        if copy.run is run:
            raise KdbenchError(f"{source}: {copy}", "publish the record that was trained, and no copy of it")
    target = inside(folder, f"{record.spec.suite.name}/{record.spec.method}/{record.run_id}.json")
    # The record comes last: where it lies, its evidence lies.
    contents = {beside(target, name): read_bytes(beside(source, name), EVIDENCE_LIMIT) for name in published(record)}
    contents |= {beside(target, one.file): one.to_json().encode() for one in run.attestations}
    if checkpoints:
        contents |= {checkpoint_beside(target, name): _network(source, record, name) for name in record.checkpoints}
    contents[target] = read_bytes(source, RECORD_LIMIT)
    for file, content in contents.items():
        if os.path.lexists(file) and not is_own_file(file):
            raise KdbenchError(f"{file} is a link or no file", "records are published as files: remove it")
        if file.exists() and read_bytes(file, EVIDENCE_LIMIT) != content:
            raise KdbenchError(
                f"{file} is published with another content", "published records stay: a new run has a seed of its own"
            )
    written = [file for file in contents if not file.exists()]
    for file in written:
        write_atomically(file, contents[file])
    return Submission(target, written, missing(record), _title(record), _body(record))


def _network(source: Path, record: Record, condition: str) -> bytes:
    """The checkpoint of a condition, which is the record's and small enough for a repository."""
    file = checkpoint_beside(source, condition)
    try:
        content = same_file(file, record.checkpoints[condition]).read_bytes()
    except Unreadable as error:
        raise KdbenchError(f"checkpoint {file} {error.message}", "publish the record without --checkpoints") from None
    if len(content) > LARGEST_CHECKPOINT:
        raise KdbenchError(
            f"checkpoint {file} has {len(content) / 2**20:.1f} MiB, {LARGEST_CHECKPOINT / 2**20:g} at most",
            "leave --checkpoints out, and link it in the pull request",
        )
    return content


def missing(record: Record) -> list[str]:
    """What the record's suite plans and the record has not, such as "task pgd" or "condition sym-40"."""
    suite = record.spec.suite
    conditions = [f"condition {name}" for name in suite.conditions if name not in record.spec.params]
    return [*(f"task {name}" for name in suite.tasks if name not in record.spec.tasks), *conditions]


def reproduce(record: Record, *others: Record) -> str:
    """The command that trains and measures the same again; ``others`` are the same at other seeds."""
    if record.evaluated is not None:
        return _evaluate_again(record, record.evaluated)
    spec = record.spec
    words = ["kdbench", "run", "--method", spec.method, "--suite", spec.suite.name]
    for seed in dict.fromkeys(each.spec.seed for each in (record, *others)):
        words += ["--seed", str(seed)]
    for assignment in as_assignments({**spec.suite.changed, **record.params_passed}):
        words += ["--set", assignment]
    if spec.params.keys() != spec.suite.conditions.keys():
        words += [word for condition in spec.params for word in ("--condition", condition)]
    if spec.tasks.keys() != spec.suite.tasks.keys():
        words += ["--tasks", ",".join(spec.tasks)]
    return shlex.join([*words, *_task_words(record)])


def _task_words(record: Record) -> list[str]:
    """What tasks need to be said beyond their names."""
    words = []
    for name in record.spec.tasks:
        task, plan = installed_task(name), record.spec.suite.tasks.get(name)
        words += task.command_words(plan.settings) if task is not None and plan is not None else []
    return words


def _evaluate_again(record: Record, model: EvaluatedModel) -> str:
    """The command, or of a module that was given from Python the call, that measures the same model again."""
    spec, condition = record.spec, next(iter(record.spec.params))
    if model.from_python:
        options = {"condition": condition, "tasks": list(spec.tasks), "examples": spec.examples}
        given = "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
        return f"kdbench.evaluate(model, {spec.suite.name!r}{given})"
    words = ["kdbench", "evaluate", model.source]
    words += ["--model", model.architecture] if model.architecture else []
    words += ["--weights", model.weights] if model.weights else []
    for assignment in as_assignments(model.params):
        words += ["--set", assignment]
    for name, value in model.preprocessing.get("asked", {}).items():
        words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    words += ["--suite", spec.suite.name, "--condition", condition, "--tasks", ",".join(spec.tasks)]
    words += [] if spec.examples is None else ["--examples", str(spec.examples)]
    return shlex.join([*words, *_task_words(record)])


def _title(record: Record) -> str:
    spec = record.spec
    if record.evaluated is not None:
        return f"{spec.suite.name}: {plain(record.evaluated.source, 80)}, evaluated, not trained here"
    passed = "".join(f", {name} = {plain(value, 40)}" for name, value in record.params_passed.items())
    return f"{plain(spec.suite.label, 80)}: {spec.method}{passed}, seed {spec.seed}"


def _body(record: Record) -> str:
    spec, facts = record.spec, record.provenance
    lines = [
        f"Record `{record.run_id}` of `{spec.method}` on `{spec.suite.name}`, version {spec.suite.version}"
        f"{_by_hand(spec.suite)}, seed {spec.seed}; measured with kdbench {facts.kdbench_version} on "
        f"{facts.device_name}.",
        "",
        *([] if record.evaluated is None else [_of_elsewhere(record.evaluated), ""]),
        f"Commit {facts.kdbench_commit or 'not known'}{' with uncommitted changes' if facts.kdbench_dirty else ''}; "
        f"plugins: {', '.join(_cell(origin) for origin in sorted(set(facts.plugins.values()))) or 'none'}.",
        "",
    ]
    if parts := missing(record):
        lines += [
            f"Not measured: {', '.join(map(_cell, parts))}. Until a record has these, the row has no mean rank.",
            "",
        ]
    if record.error is not None:
        lines += [f"The run failed: {_cell(record.error)}", ""]
    lines += ["| condition | score | value | 95 % interval | n |", "| --- | --- | --- | --- | --- |"]
    for score in shown(record.scores, spec.suite):
        flag = f" {FLAG}" if record.flags(score) else ""
        what = f"{score.task}/{score.metric} {describe_setting(score.setting)}".strip()
        lines.append(f"| {_cell(score.condition)} | {_cell(what)}{flag} | {' | '.join(percent(score))} | {score.n} |")
    lines += ["", *(f"{_cell(line)}\n" for line in failed_checks(record.checks))]
    lines += [
        "Reproduced with",
        "",
        f"    {plain(reproduce(record), 2000)}",
        "",
        "Checkpoints by SHA-256. Write the address of a file attached to a release after one, and the checks measure a "
        "sample again:",
        "",
    ]
    lines += [f"- checkpoint {record.run_id} {name}: `{sha256}`" for name, sha256 in record.checkpoints.items()]
    return "\n".join(lines)


def _by_hand(suite: Suite) -> str:
    return f" with {_cell(', '.join(as_assignments(suite.changed)))}" if suite.changed else ""


def _of_elsewhere(model: EvaluatedModel) -> str:
    return f"Evaluated, not trained here: {_cell(model.source)}, SHA-256 `{_cell(model.sha256)}`."


def _cell(text: str) -> str:
    """Untrusted text in a Markdown table: one line, no cell of its own, no markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in plain(text))
