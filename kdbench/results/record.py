"""The record of a run: strict, validated, and written in one piece. Field docstrings are the schema's documentation."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.bounds import LONGEST_TEXT, MOST_PARTS, Values
from kdbench.errors import KdbenchError
from kdbench.files import require_path, write_atomically
from kdbench.results.untrusted import Unreadable, read_json
from kdbench.sealed import check
from kdbench.specs import RunSpec, first_problem

SCHEMA_VERSION: Final = 2
"""Of a record. 1 had neither hashes of the evidence nor processor time."""


MOST_SCORES: Final = 20_000
"""Scores of a record, and its checks: a record of ours has some hundred."""
LABEL_LENGTH: Final = 40
"""Longest readable part of an evaluated model's label."""


class Strict(BaseModel):
    """No unknown fields, no conversions, no NaN."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        str_max_length=LONGEST_TEXT,
    )


Setting = Annotated[dict[str, str | int | float | bool], Field(max_length=MOST_PARTS)]


class Score(Strict):
    """One measured number with the interval it is known to."""

    task: str
    """The task that measured it."""
    metric: str
    """What was measured, in the field's term: ``accuracy``, ``robust_accuracy``, ``ece``, ..."""
    condition: str
    """The suite's training condition whose student was measured."""
    setting: Setting = {}
    """What distinguishes this score from others of the same metric: corruption and severity, variant and steps, ...;
    and what else it takes to measure it again: radius, step size, restarts and start of an attack, subset, seed, ..."""
    value: float
    """The number itself; accuracies and ECE are fractions in [0, 1]."""
    unit: Literal["fraction"] | str = "fraction"
    n: Annotated[int, Field(ge=1)]
    """Number of examples."""
    ci_low: float
    """Lower end of the 95 % interval: Wilson for shares, percentile bootstrap for ECE."""
    ci_high: float
    """Upper end of the 95 % interval."""
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Score:
        numbers = (self.value, self.ci_low, self.ci_high)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"{self.task}/{self.metric} is not finite: {numbers}")
        if self.ci_low > self.ci_high:
            raise ValueError(f"{self.task}/{self.metric}: interval {self.ci_low} to {self.ci_high} is upside down")
        if self.unit == "fraction" and not all(0 <= number <= 1 for number in numbers):
            raise ValueError(f"{self.task}/{self.metric} is a fraction outside [0, 1]: {numbers}")
        return self


class Check(Strict):
    """Something that a careful reviewer would ask before believing a score, and the answer."""

    name: str
    """What was checked: ``large_eps``, ``more_steps``, ``zero_gradients``, ``outside_ball``, ``random_model``, ..."""
    task: str
    """The task that checked it."""
    condition: str
    """The suite's training condition whose student was checked."""
    setting: Setting = {}
    """What was tried; a failed check flags the scores whose setting has the same value wherever it has the same key."""
    passed: bool
    value: float
    """What was found."""
    limit: float
    """The largest value that passes."""
    n: Annotated[int, Field(ge=1)]
    """Number of examples."""
    flags: Annotated[list[str], Field(max_length=MOST_PARTS)]
    """Tasks whose scores are flagged when it fails."""
    meaning: str
    """In words, what it means when it fails."""

    def concerns(self, score: Score) -> bool:
        """Whether a score is flagged by this check."""
        alike = all(score.setting.get(key, value) == value for key, value in self.setting.items())
        return not self.passed and alike and score.condition == self.condition and score.task in self.flags


class NoiseFacts(Strict):
    """What label noise really did to a training set."""

    kind: str
    """Registered name of the label noise."""
    rate: float | None
    """Nominal rate; None for labels that exist already."""
    seed: int
    """Seed of the draw, independent of the training seed."""
    realised: float
    """Share of labels that are wrong."""
    sha256: str
    """SHA-256 of the observed label vector (int64, little endian), in the training set's order."""
    count: int | None = None
    """Number of labels, of a kind whose labels exist already; None for drawn noise, as for the next two."""
    file_sha256: str | None = None
    """SHA-256 of the file that they were read from."""
    confusion: dict[str, dict[str, int]] | None = None
    """True class to observed class to the number of training images; what is 0 is left out."""


class TrainedNetwork(Strict):
    """A network that took part in the run."""

    training: str
    """Digest of its training specification."""
    sha256: str
    """SHA-256 of its checkpoint file."""
    precision: str
    """Arithmetic of the training: ``float32`` or ``bfloat16`` (autocast)."""
    seconds: float
    """Wall time of its training, whenever that was."""
    reused: bool
    """Whether it was found already trained."""
    threads: list[int] = []
    """Numbers of threads that its epochs were computed with, each once; [] in records from before they were kept."""


def distributions_sha256(versions: Mapping[str, str]) -> str:
    """SHA-256 of the lines ``name==version``, sorted, of installed distributions."""
    lines = sorted(f"{name}=={version}\n" for name, version in versions.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Fingerprint(Strict):
    """What the method computes in a short training that is always the same (``kdbench.running.fingerprint``). It tells
    a later source of the method that computes the same from one that does not."""

    version: int
    """Of the short training; fingerprints of two versions cannot be compared."""
    control: list[float]
    """Mean training loss of each epoch with plain cross-entropy: where it differs, torch or kdbench do."""
    losses: Annotated[dict[str, list[float]], Field(max_length=MOST_PARTS)]
    """Condition to the mean training loss of each epoch with the method's parameters there; six significant digits."""


class Provenance(Strict):
    """Where, when and with what the numbers were made."""

    kdbench_version: str
    kdbench_commit: str | None
    """Git commit of the checkout that kdbench ran from or was built from, None where it is not known."""
    kdbench_dirty: bool | None
    """Whether that checkout had uncommitted changes."""
    kdbench_sha256: str | None = None
    """SHA-256 of all files of the package as it was installed; None in records from before it was kept."""
    plugins: dict[str, str]
    """Plugin entry point to the distribution and version that brought it."""
    distributions: dict[str, str] = {}
    """Every installed distribution to its version; {} in records from before they were kept."""
    distributions_sha256: str | None = None
    """SHA-256 of the lines ``name==version`` of ``distributions``, sorted; None in records from before it was kept."""
    command: list[str] = []
    """The command line that measured, with the last parts alone of absolute paths and without secrets of addresses; []
    where it was not kdbench's, and in records from before it was kept."""
    python: str
    torch: str
    torchvision: str
    numpy: str
    cuda: str | None
    device: str
    """Its type, as torch names it: ``cpu``, ``cuda``, ``mps``, ``xpu``."""
    device_name: str
    """Model of the processor or the accelerator."""
    threads: int
    """Threads that torch computed an operation with."""
    interop_threads: int | None = None
    """Threads that torch computed operations side by side with; None in records from before it was kept."""
    platform: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    """UTC, ISO 8601."""
    seconds: dict[str, float]
    """Wall time of each phase: ``data``, ``train/<condition>/<network>``, ``evaluate/<condition>/<task>``."""
    cpu_seconds: float
    """Processor time of the process, all threads: what wall times do not show on a busy machine."""
    peak_memory_bytes: int
    """Largest resident memory of the process."""
    peak_device_memory_bytes: int | None
    """Most memory that tensors took on the accelerator during the run; None on a CPU and where torch does not count."""
    smaller_batches: dict[str, int] = {}
    """``<condition>/<task>`` to the images of a batch after the memory was too small for more; {} where it sufficed,
    and in records from before it was kept."""

    @model_validator(mode="after")
    def _consistent(self) -> Provenance:
        if self.distributions_sha256 not in (None, distributions_sha256(self.distributions)):
            raise ValueError("distributions_sha256 is not the hash of distributions")
        return self


class Hashes(Strict):
    """What ties the scores to their inputs."""

    datasets: dict[str, str]
    """Data set to SHA-256 of its images and labels."""
    sources: dict[str, str]
    """Data set to the packaging it was read from."""
    label_noise: dict[str, NoiseFacts]
    """Condition to its label noise; conditions with clean labels are not listed."""
    students: dict[str, TrainedNetwork]
    """Condition to the measured student."""
    networks: dict[str, TrainedNetwork]
    """``<condition>/<role>`` to the suite's teacher or reference network used there, ``<condition>/student/<role>`` to
    a network that the method had trained for itself."""
    subsets: dict[str, str]
    """``<task>`` to the SHA-256 of the test indices that a costly task was measured on."""
    evidence: Annotated[dict[str, str], Field(max_length=2 * MOST_PARTS)]
    """Files beside the record to their SHA-256: ``log.jsonl``, one line an epoch; ``predictions.npz``, per-example
    results, for paired tests; ``softmax-<condition>.npz``, softmax vectors of some test images epoch by epoch."""


class EvaluatedModel(Strict):
    """A model that came from elsewhere and was measured here, not trained."""

    source: str
    """Where it came from: the name of a file, or an address such as ``torchvision:resnet18``; ``python:`` and its class
    of a module that was given from Python, ``python:`` and ``module:function`` of one that a command found."""
    sha256: str
    """SHA-256 of the file of its weights; where there was none, of its code and tensors (``running.evaluated``)."""
    weights: str | None = None
    """Which of several sets of weights in the file, by its key."""
    stripped: tuple[str, ...] = ()
    """Prefixes that were taken off the names of its tensors."""
    architecture: str | None = None
    """Registered name of the network that a plain state dict was loaded into."""
    params: Values = {}
    """Parameters that only matter when it is measured, as they were given."""
    preprocessing: Values = {}
    """What the images were when the model got them: ``pixels``, ``size``, ``normalisation`` of its own first layer, and
    what was asked for beside these."""

    @property
    def from_python(self) -> bool:
        """Whether it was given as a module, so that no command finds it."""
        return self.source.startswith("python:") and self.source.count(":") == 1

    @property
    def from_file(self) -> bool:
        """Whether a file alone is the whole of it: it has no address."""
        return ":" not in self.source

    @property
    def digest(self) -> str:
        """SHA-256 of what decides its answers."""
        values = self.model_dump(mode="json", exclude={"source", "stripped"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def label(self) -> str:
        """What it goes by where trained students have the name of their method: readable, a folder's name, its own."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", self.source).strip("-._")
        if len(readable) > LABEL_LENGTH:
            end = readable[-LABEL_LENGTH:]
            readable = (end.partition(".")[2] or end).strip("-._")
        return f"{readable or 'model'}-{self.digest[:8]}"


class Record(Strict):
    """One seed's scorecard over the conditions of a suite; or that of a model that was evaluated, not trained here."""

    schema_version: Literal[2] = SCHEMA_VERSION
    run_id: str
    """Digest of ``spec``."""
    status: Literal["finished", "failed"]
    error: str | None = None
    """Why a failed run failed, with the epoch."""
    budget: Literal["standard", "extended"] = "standard"
    """``extended`` when the method needed a longer schedule than its suite grants; ``spec.recipes`` shows it."""
    checkpoint_rule: Literal["last", "best-on-validation", "best-on-test"] = "last"
    """Which epoch's student was measured; kdbench's own runs measure the last. Scores of one that was chosen on the
    test images are flagged."""
    spec: RunSpec
    """Everything that was asked for, complete: its digest is the run id."""
    params_passed: Values
    """Parameters as the user gave them; ``spec.params`` has the resolved ones."""
    views: dict[str, str] = {}
    """Condition to the view of the training images that its student saw: the name of the suite's augmentation, or what
    the method has in its place (``strong``, ``own``); {} in records from before it was kept."""
    fingerprint: Fingerprint | None = None
    """What the method computes; None in records from before it was kept, and where it cannot train a tiny network."""
    evaluated: EvaluatedModel | None = None
    """The model, where it was not trained here: then ``spec`` has its label for a method and its digest for a source,
    one condition (what the scores are filed under) and no recipes; None for a run."""
    scores: Annotated[list[Score], Field(max_length=MOST_SCORES)]
    checks: Annotated[list[Check], Field(max_length=MOST_SCORES)]
    """Reliability of the scores; those that failed flag scores."""
    provenance: Provenance
    hashes: Hashes

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        if self.run_id != self.spec.run_id:
            raise ValueError(f"run_id {self.run_id} is not the digest of spec ({self.spec.run_id})")
        if not self.views.keys() <= self.spec.params.keys():
            raise ValueError(f"views of conditions {sorted(self.views)}, the run has {sorted(self.spec.params)}")
        if (self.status == "failed") != (self.error is not None):
            raise ValueError("a failed record has an error, a finished one has none")
        if self.fingerprint is not None and self.fingerprint.losses.keys() != self.spec.params.keys():
            raise ValueError(
                f"fingerprint is of {sorted(self.fingerprint.losses)}, the run of {sorted(self.spec.params)}"
            )
        return self

    @model_validator(mode="after")
    def _of_a_run_or_of_a_model(self) -> Record:
        model, spec = self.evaluated, self.spec
        if model is None:
            if spec.examples is not None:
                raise ValueError("spec has examples, and a run measures all test images")
            return self
        if (spec.method, spec.method_source) != (model.label, model.digest):
            raise ValueError(f"spec names {spec.method}, the evaluated model is {model.label}")
        trained = [*spec.recipes, *self.hashes.students, *self.hashes.label_noise, *self.views]
        if trained or self.fingerprint is not None or len(spec.params) != 1:
            raise ValueError("evaluated models have one condition, and no recipe, student, view or fingerprint")
        return self

    def to_json(self) -> str:
        """Indented JSON with a stable order of fields."""
        return self.model_dump_json(indent=1) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the record in one piece."""
        write_atomically(Path(path), self.to_json().encode())

    def flags(self, score: Score) -> list[Check]:
        """The failed checks that make one of this record's scores doubtful."""
        return [check for check in self.checks if check.concerns(score)]

    @property
    def checkpoints(self) -> dict[str, str]:
        """Condition to the SHA-256 of the file of the network that was measured."""
        if self.evaluated is not None:
            return dict.fromkeys(self.spec.params, self.evaluated.sha256)
        return {name: student.sha256 for name, student in self.hashes.students.items()}

    def select(self, task: str, metric: str, **setting: Any) -> list[Score]:
        """Scores of a task's metric whose setting has all of the given values."""
        return [
            score
            for score in self.scores
            if (score.task, score.metric) == (task, metric)
            and all(score.setting.get(key) == value for key, value in setting.items())
        ]


M = TypeVar("M", bound=Strict)


def read_record(path: str | Path) -> Record:
    """Read and validate a record file."""
    path = require_path("read_record", path)
    return read_strict(Record, path, "record", hint="run again with --fresh", name="a record.json")


def read_strict(model: type[M], path: Path, what: str, *, hint: str, name: str) -> M:
    """Read and validate a JSON file of ours; errors call it ``what`` and ``name`` and end with ``hint``."""
    check(path)
    try:
        return model.model_validate_json(read_json(path)[1])
    except ValidationError as error:
        raise KdbenchError(f"{what} {path}: {first_problem(error)}", hint) from None
    except Unreadable as error:
        raise KdbenchError(f"{what} {path} {error.message}", f"give the path of {name}") from None
