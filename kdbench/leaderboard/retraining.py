"""Training a record's specification again: does each of its scores come out again, and who says so?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdbench.errors import KdbenchError, plain
from kdbench.files import check_writable, file_sha256, write_atomically
from kdbench.leaderboard.agreement import Agreement, Examples, Judged, compare
from kdbench.leaderboard.measuring import other_labels, other_than_recorded
from kdbench.leaderboard.staleness import computation
from kdbench.leaderboard.validate import require_valid
from kdbench.leaderboard.verify import require_same_data
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.results.attestation import (
    LONGEST_FACT,
    LONGEST_FINDING,
    MOST_FINDINGS,
    Attestation,
    Person,
)
from kdbench.results.evidence import Evidence, beside
from kdbench.results.machine import machine, other_bits
from kdbench.results.record import Record, Score, read_record
from kdbench.running.options import RunOptions, broke_off
from kdbench.running.plan import Plan
from kdbench.running.runner import record_path, run_plan
from kdbench.running.suite_data import load_suite_data, needed_data
from kdbench.specs import first_problem
from kdbench.training.log import LOG


@dataclasses.dataclass(frozen=True)
class Retraining(Judged):
    """What training a record's specification again has shown."""

    path: Path
    """Of the record."""
    record: Record
    again: Record
    """Of the new training."""
    exact: bool
    """Whether processor, threads and versions are the record's, so that the same bits must come out."""
    differing: list[str]
    """Why other bits may come out, in words."""
    agreements: list[Agreement]
    """Every score of the record, in its order."""
    findings: tuple[str, ...]
    """What else is not as it is recorded."""

    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """As of ``Verification``: none, as all of it is measured."""

    @property
    def done(self) -> str:
        """What was trained where, in words."""
        where = "the machine of the record" if self.exact else f"elsewhere: {'; '.join(self.differing)}"
        return f"{self.record.run_id} trained again on {where}"

    @property
    def agreed(self) -> bool:
        """Whether every score came out again."""
        return not self.refuted and not self.findings

    def attestation(self, by: str) -> Attestation:
        """What ``by``, who was checked with ``check_person``, can say of the record now."""
        made = self.again.provenance
        facts = machine(made, self.again.hashes.students.values())
        return Attestation.make(
            run_id=self.record.run_id,
            record_sha256=file_sha256(self.path),
            by=by,
            retrained=self.again.run_id,
            method_source=self.again.spec.method_source,
            exact=self.exact,
            counts=self.counts,
            findings=[plain(finding, LONGEST_FINDING) for finding in self.findings[:MOST_FINDINGS]],
            machine={name: plain(value, LONGEST_FACT) for name, value in facts.items()},
            kdbench_version=made.kdbench_version,
            kdbench_commit=made.kdbench_commit,
            kdbench_dirty=made.kdbench_dirty,
            finished=made.finished,
        )

    def attest(self, by: str) -> Path:
        """Write the attestation beside the record; returns its path."""
        found = self.attestation(by)
        target = beside(self.path, found.file)
        write_atomically(target, found.to_json().encode())
        return target

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run_id": self.record.run_id,
            "retrained": self.again.run_id,
            "agreed": self.agreed,
            "exact": self.exact,
            "differing": self.differing,
            "counts": self.counts,
            "findings": list(self.findings),
            "agreements": [agreement.to_dict() for agreement in self.agreements],
        }


def check_person(by: str) -> None:
    """Raise ``KdbenchError`` for what can't be who attests something."""
    try:
        TypeAdapter(Person).validate_python(by)
    except ValidationError as error:
        raise KdbenchError(f"--by: {first_problem(error)}", "say who you are in a few words") from None


def retrain(path: Path, options: RunOptions, *, attested: bool = False) -> Retraining:
    """Train and measure a record's specification again under ``options.out``, and hold it against the record.

    Method, parameters, seed, conditions and tasks are the record's, and so is the suite, value by value, whatever is
    installed under its name. A finished retraining is taken as it is, an interrupted one goes on. On the machine of the
    record every bit must be the same; elsewhere another network comes out, and scores may differ by what the intervals
    of both allow.

    Args:
        attested: whether a file is to be written beside the record afterwards.

    Raises:
        KdbenchError: the record is not valid, is of no training, or of what is not here: a plugin, a version of a task,
            data; or the record itself lies under ``options.out``.
    """
    require_valid(path)
    if attested:
        check_writable(path.parent)
    record, plugins = read_record(path), load_plugins()
    _require_trainable(record, plugins)
    if path.resolve().is_relative_to(options.out.resolve()):
        raise KdbenchError(
            f"{path} lies in {options.out}, where its trainings would be found and not trained again",
            "name another folder with --out",
        )
    spec = record.spec
    # Where all were asked for, some may be of conditions that were not.
    asked = None if spec.tasks.keys() == spec.suite.tasks.keys() else list(spec.tasks)
    plan = Plan.make(spec.suite, plugins, spec.method, dict(record.params_passed), list(spec.params), asked)
    data = load_suite_data(spec.suite, plugins, options.place, **needed_data(plan.tasks.values()))
    missing = sorted(record.hashes.datasets.keys() - data.hashes().keys())
    if missing:
        raise KdbenchError(f"data set '{plain(missing[0])}' of the record is not here", "give it with --data-dir")
    require_same_data(record, data, plan.tasks)
    again = run_plan(plan, spec.seed, options)
    found = record_path(again, options.out)
    if broke_off(found.parent):
        raise KdbenchError(f"the retraining broke off: {again.error}", "the same command goes on from the last epoch")
    if record.hashes.evidence.get(LOG) == again.hashes.evidence.get(LOG):
        raise KdbenchError(f"{found} is the record's own training, found again", "name another folder with --out")
    return _compare(Evidence.of(record, path), Evidence.of(again, found))


def _require_trainable(record: Record, plugins: Plugins) -> None:
    """What the record names is here, as it was."""
    spec = record.spec
    if record.evaluated is not None:
        raise KdbenchError("the record is of a model that was not trained by kdbench", "`kdbench evaluate` measures it")
    if record.status == "failed":
        raise KdbenchError("the record is of a failed run: it has no scores to compare", "name a finished one")
    method = plugins.methods.get(spec.method)
    if method.source != spec.method_source:
        known = computation(record, method)
        if known.verdict == "other":
            raise KdbenchError(known.sentence(spec.method), "install the version that the record was made with")
    for name, version in spec.tasks.items():
        here = plugins.tasks.get(name).version
        if here != version:
            raise KdbenchError(
                f"the record has version {version} of task '{name}', here is {here}",
                "use the kdbench, or the plugin, that has that version",
            )


def _compare(was: Evidence, now: Evidence) -> Retraining:
    record, again = was.record, now.record
    there = machine(record.provenance, record.hashes.students.values())
    here = machine(again.provenance, again.hashes.students.values())
    differing = other_bits(there, here)
    smaller = record.provenance.smaller_batches or again.provenance.smaller_batches
    exact = not differing and not smaller and again.run_id == record.run_id
    agreements = compare(
        record.scores, again.scores, lambda score: _examples(was, now, score), whole=True, exact=exact, retrained=True
    )
    findings = tuple(_findings(record, again, exact=exact))
    return Retraining(was.path, record, again, exact, differing, agreements, findings)


def _examples(was: Evidence, now: Evidence, score: Score) -> Examples | None:
    """Per-example results behind a score, where both have them of the same examples."""
    task = load_plugins().tasks.get(score.task)
    place = f"{score.condition}/{score.task}"
    name, index = f"{place}/{task.results_key(score)}", f"{place}/index"
    old, new = was.predictions or {}, now.predictions or {}
    if name not in old or name not in new or old[name].shape != new[name].shape:
        return None
    if (index in old) != (index in new) or (index in old and (old[index] != new[index]).any()):
        return None
    return Examples(old[name], new[name])


def _findings(record: Record, again: Record, *, exact: bool) -> Iterator[str]:
    """What is not as it is recorded, beside the scores that are compared."""
    if again.error is not None:
        yield f"the run failed: {again.error}"
        return
    if again.budget != record.budget:
        yield f"the budget was {again.budget}, the record says {record.budget}"
    for condition, noise in again.hashes.label_noise.items():
        yield from other_labels(condition, record.hashes.label_noise.get(condition), noise)
    for condition, task in dict.fromkeys((score.condition, score.task) for score in again.scores):
        yield from other_than_recorded(record, condition, task, again.scores, again.checks, exact=exact or None)
