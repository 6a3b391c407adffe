"""What somebody found who trained a record's specification again: a small file beside the record, and its bounds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from kdbench.bounds import LONGEST_NAME
from kdbench.results.record import MOST_SCORES, Strict
from kdbench.results.untrusted import Unreadable, plain, read_json
from kdbench.specs import first_problem
from kdbench.specs.values import canonical

AgreementVerdict = Literal["same", "within interval", "not", "not reproduced", "unchecked"]
"""``not reproduced``: the task was measured again and gave no such score; ``unchecked``: it was not measured again."""

REFUTED: Final = ("not", "not reproduced")
SUFFIX: Final = ".attestation.json"
LIMIT: Final = 64 * 2**10
"""Bytes of the file; a real one has two thousand."""
MOST: Final = 100
"""Attestations of one record that are read."""
MOST_FINDINGS: Final = 50
LONGEST_FINDING: Final = 400
LONGEST_FACT: Final = 200


def _person(name: str) -> str:
    if name != name.strip() or not name.isprintable():
        raise ValueError("has blanks around it, or what can't be printed")
    return name


Person = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_person)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Short = Annotated[str, Field(max_length=LONGEST_FACT)]


class Attestation(Strict):
    """That a record's specification was trained again, by whom, where, and how many of its scores came out again."""

    attestation_version: Literal[1] = 1
    run_id: RunId
    record_sha256: Digest
    """SHA-256 of the record's file."""
    by: Person
    """Who trained it again, in their own words: nobody checks it."""
    retrained: RunId
    """Run id of the new training: the record's, unless the kind of device or the method's source is another."""
    method_source: Digest
    """SHA-256 of the method's code there."""
    exact: bool
    """Whether machine, threads and versions were the record's: then the same bits were asked for, else intervals."""
    counts: dict[AgreementVerdict, Annotated[int, Field(ge=0, le=MOST_SCORES)]]
    """Verdict to the number of the record's scores that it is of."""
    findings: Annotated[list[Annotated[str, Field(max_length=LONGEST_FINDING)]], Field(max_length=MOST_FINDINGS)]
    """What else is not as it is recorded."""
    machine: Annotated[dict[Short, Short], Field(max_length=30)]
    """What decides the bits of a training: device, threads, versions (``kdbench.results.machine``)."""
    kdbench_version: Short
    kdbench_commit: Short | None
    kdbench_dirty: bool | None
    finished: Short
    """UTC, ISO 8601."""
    sha256: Digest
    """Of all other fields, as canonical JSON."""

    @model_validator(mode="after")
    def _signed(self) -> Attestation:
        if self.sha256 != _sha256(self.model_dump(mode="json")):
            raise ValueError("sha256 is not the hash of the other fields")
        return self

    @classmethod
    def make(cls, **fields: Any) -> Attestation:
        """With the hash of its fields.

        Raises:
            ValidationError: a field is not as it must be.
        """
        # Validated by itself first: what is hashed is what the fields are.
        draft = cls.model_construct(**{"attestation_version": 1, **fields})
        return cls.model_validate({**fields, "sha256": _sha256(draft.model_dump(mode="json"))})

    @property
    def agreed(self) -> bool:
        """Whether every score of the record came out again."""
        found = {verdict for verdict, number in self.counts.items() if number}
        return bool(found) and found <= {"same", "within interval"} and not self.findings

    @property
    def summary(self) -> str:
        """Its counts in words: "33 same, 2 within interval"."""
        return ", ".join(f"{number} {verdict}" for verdict, number in self.counts.items() if number)

    @property
    def file(self) -> str:
        """What it is called in a run's folder; published, the run id stands before it."""
        return f"{self.sha256[:16]}{SUFFIX}"

    def to_json(self) -> str:
        """Indented JSON with a stable order of fields."""
        return self.model_dump_json(indent=1) + "\n"


def _sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(canonical({**values, "sha256": ""}).encode()).hexdigest()


def read_attestation(file: Path, record_sha256: str) -> Attestation:
    """An attestation of the record that has this hash.

    Raises:
        Unreadable: it is none, or of another record, or lies under another name.
    """
    if file.is_symlink():
        raise Unreadable("is a link, expected a file")
    try:
        found = Attestation.model_validate_json(read_json(file, LIMIT)[1])
    except ValidationError as error:
        raise Unreadable(f"is no attestation: {plain(first_problem(error), 300)}") from None
    if found.record_sha256 != record_sha256:
        raise Unreadable("is of another record")
    if file.name.removeprefix(f"{found.run_id}.") != found.file:
        raise Unreadable(f"is not named after its content, which would be {found.file}")
    return found
