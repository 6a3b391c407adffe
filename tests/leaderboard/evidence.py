"""Made-up records with per-example results and logs that fit them, in milliseconds: what a run of ``digits`` leaves.

make(method="mine", seed=1, skill=0.5).publish(tmp_path)   # leaderboards/records' layout
make(method="mine", tasks=["clean", "pgd"]).keep(tmp_path)  # a run folder
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Hashes, NoiseFacts, Provenance, Record, TrainedNetwork
from kdbench.specs import RunSpec, Suite
from kdbench.suites import load_suite
from tests.leaderboard.student import N, Student

EPOCHS = {"clean": 15, "sym-40": 30}
HASH = "0123456789abcdef" * 4


def digest(text: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def digits() -> Suite:
    return load_suite("digits")


@dataclasses.dataclass
class Made:
    """A record and the files beside it, not yet written; ``text`` replaces the record's JSON."""

    record: Record
    predictions: dict[str, NDArray[Any]]
    log: list[dict[str, Any]]
    softmax: dict[str, dict[str, NDArray[Any]]]
    text: str | None = None

    def publish(self, records: Path) -> Path:
        """Write it as it lies under leaderboards/records; returns the record's path."""
        folder = records / self.record.spec.suite.name / safe(self.record.spec.method)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.record.run_id}.json"
        for name, content in self._files().items():
            if not name.startswith("softmax"):
                (folder / f"{self.record.run_id}.{name}").write_bytes(content)
        path.write_text(self._json(), encoding="utf-8", errors="surrogatepass")
        return path

    def keep(self, runs: Path) -> Path:
        """Write it as a run folder; returns the record's path."""
        folder = runs / self.record.spec.suite.name / safe(self.record.spec.method) / self.record.run_id
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self._files().items():
            (folder / name).write_bytes(content)
        (folder / "record.json").write_text(self._json(), encoding="utf-8", errors="surrogatepass")
        return folder / "record.json"

    def _json(self) -> str:
        return self.record.to_json() if self.text is None else self.text

    def _files(self) -> dict[str, bytes]:
        return evidence_files(self.predictions, self.log, self.softmax)

    def changed(self, **fields: Any) -> Made:
        """The same with other fields of the record, unchecked but for the run id, which follows ``spec``."""
        record = self.record.model_copy(update=fields)
        return dataclasses.replace(self, record=record.model_copy(update={"run_id": record.spec.run_id}))


def safe(name: str) -> str:
    """A name that a folder can have."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_." else "-" for c in name)[:80]


def evidence_files(
    predictions: Mapping[str, NDArray[Any]],
    log: Sequence[Mapping[str, Any]],
    softmax: Mapping[str, Mapping[str, NDArray[Any]]],
) -> dict[str, bytes]:
    """File name to content; the same arrays give the same bytes."""
    files = {
        "log.jsonl": "".join(json.dumps(entry) + "\n" for entry in log).encode(),
        "predictions.npz": npz(predictions),
    }
    return files | {f"softmax-{condition}.npz": npz(arrays) for condition, arrays in softmax.items()}


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its options
    return buffer.getvalue()


def make(
    method: str = "ce",
    *,
    seed: int = 0,
    skill: float = 1.0,
    params: Mapping[str, Any] | None = None,
    suite: Suite | None = None,
    conditions: Sequence[str] = ("clean", "sym-40"),
    tasks: Sequence[str] | None = None,
    failed: str | None = None,
    flagged: bool = False,
    random: bool = False,
    source: str = HASH,
    versions: Mapping[str, int] | None = None,
    datasets: Mapping[str, str] | None = None,
    budget: str = "standard",
    views: Mapping[str, str] | None = None,
    finished: str = "2026-01-02T03:04:05+00:00",
) -> Made:
    """A record of ``suite`` (digits) with consistent evidence.

    Args:
        skill: how good the method is; 1 answers about 83 % of the test images rightly.
        params: as the user gave them.
        conditions: those that were measured.
        tasks: those that were measured; None: all of the suite's.
        failed: error of a run that diverged under the last of its conditions.
        flagged: one check fails that concerns PGD.
        random: the model answers differently on the same image and was attacked without averaged gradients.
        source: hash of the method's code.
        versions: of tasks, in place of today's.
        datasets: data set to hash, in place of those of digits.
        budget: ``standard`` or ``extended``.
        views: condition to what the student saw; None: not recorded.
        finished: UTC.
    """
    setting = suite or digits()
    names = list(setting.tasks if tasks is None else tasks)
    identity = digest(f"{method}{json.dumps(dict(params or {}))}{seed}")
    student = Student(setting, names, seed, skill, identity, flagged, random)
    done = conditions[:-1] if failed else conditions
    for condition in done:
        student.measure(condition)
    today = {name: load_plugins().tasks.get(name).version for name in names if name in load_plugins().tasks.names()}
    spec = RunSpec(
        suite=setting,
        method=method,
        method_source=source,
        params={condition: dict(params or {}) for condition in conditions},
        recipes={condition: setting.condition(condition).recipe for condition in conditions},
        trainings=trainings(method, conditions, seed),
        seed=seed,
        tasks=dict(sorted({**today, **dict(versions or {})}.items())),
        datasets=dict(datasets or {"digits": digest("digits"), "digits-fonts": digest("digits-fonts")}),
        corruption_images="generated",
    )
    log = [entry for condition in conditions for entry in training_log(condition, student.rng)]
    softmax = {condition: watched(student.rng) for condition in done}
    record = Record(
        run_id=spec.run_id,
        status="failed" if failed else "finished",
        error=failed,
        budget=budget,  # type: ignore[arg-type]  # a test may want another one
        spec=spec,
        params_passed=dict(params or {}),
        views=dict(views or {}),
        scores=student.scores,
        checks=student.checks,
        provenance=provenance(finished),
        hashes=hashes(spec, done, student.predictions, evidence_files(student.predictions, log, softmax)),
    )
    return Made(record, student.predictions, log, softmax)


def trainings(method: str, conditions: Sequence[str], seed: int) -> dict[str, str]:
    """Network to the digest of its training; the teacher is the same for all."""
    return {
        f"{condition}/{role}": digest(name)[:16]
        for condition in conditions
        for role, name in (("student", f"{method}{condition}{seed}"), ("teacher", "teacher"))
    }


def hashes(
    spec: RunSpec, done: Sequence[str], predictions: Mapping[str, NDArray[Any]], files: Mapping[str, bytes]
) -> Hashes:
    """The hashes of a run: ``done`` are the conditions that have a student."""
    noises = {name: spec.suite.condition(name).noise for name in spec.params}
    return Hashes(
        datasets=spec.datasets,
        sources=dict.fromkeys(spec.datasets, "embedded"),
        label_noise={
            name: NoiseFacts(kind=noise.kind, rate=noise.rate, seed=noise.seed, realised=noise.rate or 0.0, sha256=HASH)
            for name, noise in noises.items()
            if noise
        },
        students={name: network(f"{spec.method}{name}{spec.seed}") for name in done},
        networks={f"{name}/teacher": network("teacher") for name in done},
        subsets={
            name.split("/")[1]: hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()
            for name, array in predictions.items()
            if name.endswith("/index")
        },
        evidence={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )


def network(name: str) -> TrainedNetwork:
    return TrainedNetwork(
        training=digest(name)[:16], sha256=digest(name), precision="float32", seconds=12.5, reused=False
    )


def provenance(finished: str) -> Provenance:
    return Provenance(
        kdbench_version="0.1.0",
        kdbench_commit="0" * 40,
        kdbench_dirty=False,
        plugins={"kdbench:builtin": "kdbench 0.1.0"},
        python="3.11.7",
        torch="2.11.0",
        torchvision="0.26.0",
        numpy="2.4.0",
        cuda=None,
        device="cpu",
        device_name="a processor",
        threads=2,
        platform="Linux",
        started="2026-01-02T03:00:00+00:00",
        finished=finished,
        seconds={"data": 0.5, "train/clean/student": 12.5, "evaluate/clean/clean": 0.7},
        cpu_seconds=30.0,
        peak_memory_bytes=2**30,
        peak_device_memory_bytes=None,
    )


def training_log(condition: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """An entry an epoch, as the training writes it."""
    return [
        {
            "condition": condition,
            "epoch": epoch,
            "lr": 0.1 / epoch,
            "loss": 2.3 * math.exp(-0.2 * epoch) + 0.01 * float(rng.random()),
            "seconds": 1.5,
            "test_accuracy": round(0.8 - 0.7 * math.exp(-0.4 * epoch), 3),
            "test_n": N,
        }
        for epoch in range(1, EPOCHS.get(condition, 10) + 1)
    ]


def watched(rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Softmax vectors of 20 images at 8 epochs, as the training keeps them."""
    raw = rng.exponential(size=(8, 20, 10)).astype(np.float32)
    return {"softmax": (raw / raw.sum(-1, keepdims=True)).astype(np.float16), "labels": np.arange(20) % 10}


def many(count: int, *, seeds: int = 1, **options: Any) -> Iterator[Made]:
    """Methods ``method-0000``, ... of rising skill."""
    for number in range(count):
        for seed in range(seeds):
            yield make(f"method-{number:04d}", seed=seed, skill=1 + 0.5 * number / count, **options)
