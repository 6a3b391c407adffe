"""Made-up records with per-example results and logs that fit them, in milliseconds: what a run of ``digits`` leaves.

    make(method="mine", seed=1, skill=0.5).publish(tmp_path)   # leaderboards/records' layout
    make(method="mine", tasks=["clean", "pgd"]).keep(tmp_path)  # a run folder

An image is answered rightly where the method's ``skill`` and the image's ease, which all methods share, are together
above what the task asks; so that better methods are better image by image, and attacks and corruptions only take.
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

from kdbench import corruptions, metrics
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Check, Hashes, NoiseFacts, Provenance, Record, Score, TrainedNetwork
from kdbench.specs import RunSpec, Suite
from kdbench.suites import load_suite
from kdbench.tasks.calibration import _two_sided

Bools = NDArray[np.bool_]

N, N_SUBSET, N_OOD = 500, 200, 1000
"""Test images of the digits, of its costly tasks, and out of distribution."""
EPOCHS = {"clean": 15, "sym-40": 30}
VARIANTS = {"pgd-std": 0.0, "pgd-arani": 0.1}
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
        trainings={
            f"{condition}/{role}": digest(name)[:16]
            for condition in conditions
            for role, name in (("student", f"{method}{condition}{seed}"), ("teacher", "teacher"))
        },
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
        scores=student.scores,
        checks=student.checks,
        provenance=provenance(finished),
        hashes=hashes(spec, done, student.predictions, evidence_files(student.predictions, log, softmax)),
    )
    return Made(record, student.predictions, log, softmax)


def hashes(
    spec: RunSpec, done: Sequence[str], predictions: Mapping[str, NDArray[Any]], files: Mapping[str, bytes]
) -> Hashes:
    """The hashes of a run: ``done`` are the conditions that have a student."""
    noises = {name: spec.suite.condition(name).noise for name in spec.params}
    return Hashes(
        datasets=spec.datasets,
        sources=dict.fromkeys(spec.datasets, "embedded"),
        label_noise={
            name: NoiseFacts(kind=noise.kind, rate=noise.rate, seed=noise.seed, realised=noise.rate, sha256=HASH)
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


@dataclasses.dataclass
class Student:
    """A made-up network on its way through the tasks."""

    suite: Suite
    tasks: Sequence[str]
    seed: int
    skill: float
    name: str
    flagged: bool
    random: bool

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(int(self.name[:12], 16))
        self.scores: list[Score] = []
        self.checks: list[Check] = []
        self.predictions: dict[str, NDArray[Any]] = {}

    def measure(self, condition: str) -> None:
        """Every task that was asked for and is meant for the condition."""
        noisy = self.suite.condition(condition).noise is not None
        self.condition = condition
        skill = self.skill - 1.2 * noisy + 0.05 * self.rng.normal()
        self.margin = skill + np.random.default_rng(1).normal(size=N) + 0.3 * self.rng.normal(size=N)
        self.index = np.sort(np.random.default_rng(2).permutation(N)[:N_SUBSET])
        for task in self.tasks:
            if self.suite.plans(task, condition) and task != ("clean" if noisy else "noisy_label"):
                getattr(self, f"_{task}", self._other)(task)

    def keep(self, task: str, name: str, values: NDArray[Any]) -> None:
        self.predictions[f"{self.condition}/{task}/{name}"] = values

    def score(self, task: str, metric: str, value: float, n: int, **rest: Any) -> None:
        low, high = rest.pop("interval", None) or metrics.wilson_interval(value * n, n)
        options = {"condition": self.condition, "value": value, "n": n, "ci_low": low, "ci_high": high}
        self.scores.append(Score(task=task, metric=metric, **options, **rest))

    def share(self, task: str, metric: str, correct: Bools, **setting: Any) -> None:
        if correct.size:
            self.score(task, metric, float(correct.mean()), correct.shape[-1], setting=setting)

    def check(self, task: str, name: str, value: float = 0.0, limit: float = 0.0, **rest: Any) -> None:
        what = {"task": task, "name": name, "condition": self.condition, "value": value, "limit": limit, "n": 100}
        self.checks.append(
            Check(**{**what, "flags": [task], "meaning": f"{name} of {task}", "passed": value <= limit, **rest})
        )

    def _clean(self, task: str) -> None:
        self.keep(task, "correct", self.margin > 0)
        self.share(task, "accuracy", self.margin > 0)

    _noisy_label = _clean

    def _other(self, task: str) -> None:
        """A third-party task."""
        self.share(task, "accuracy", self.margin > 0.2)

    def _ood(self, task: str) -> None:
        correct = self.skill - 0.6 + np.random.default_rng(3).normal(size=N_OOD) + 0.3 * self.rng.normal(size=N_OOD) > 0
        self.keep(task, f"{self.suite.ood[0]}/correct", correct)
        self.share(task, "accuracy", correct, dataset=self.suite.ood[0])

    def _calibration(self, task: str) -> None:
        confidence = np.clip(0.55 + 0.2 * self.margin, 0.12, 0.9999).astype(np.float32)
        self.keep(task, "confidence", confidence)
        probabilities, labels = _two_sided(confidence, self.margin > 0)
        ece = metrics.expected_calibration_error(probabilities, labels)
        interval = metrics.bootstrap_ece_interval(probabilities, labels, resamples=1000)
        self.score(task, "ece", ece, N, interval=interval, setting={"bins": 15}, higher_is_better=False)

    def _pgd(self, task: str) -> None:
        margin = self.margin[self.index]
        self.keep(task, "index", self.index.astype(np.int64))
        self.check(task, "random_model", float(self.random), limit=1.0)
        for variant, easier in VARIANTS.items():
            for k in (10, 15, 20):
                robust = margin > 1.2 + 0.01 * k - easier
                self.keep(task, f"{variant}-{k}/correct", robust)
                for rule in ("worst", "any", "min-run", "mean"):
                    how = {"variant": variant, "steps": k, "rule": rule}
                    self.share(task, "robust_accuracy", robust, **how)
                    self.share(task, "conditional_accuracy", robust[margin > 0], **how)
            for k in range(21):
                for rule in ("last", "any"):
                    correct = margin > (0 if k == 0 else 1.2 + 0.01 * k - easier)
                    self.share(task, "accuracy_at_step", correct, variant=variant, steps=k, rule=rule)
            for k in range(1, 21):
                self.share(task, "zero_gradient_share", np.zeros(N_SUBSET, bool), variant=variant, steps=k)
            few, many = (margin > 1.2 + 0.01 * k - easier for k in (10, 20))
            lost = int((few & ~many).sum())
            how = {"setting": {"variant": variant}, "n": N_SUBSET}
            self.check(task, "more_steps", -lost / N_SUBSET, 1.96 * lost**0.5 / N_SUBSET, **how)
            self.check(task, "zero_gradients", 0.0, 0.01, **how)
        self.check(task, "large_eps", 0.4 if self.flagged else 0.0)

    def _corruption(self, task: str) -> None:
        margin = self.margin[self.index]
        self.keep(task, "index", self.index.astype(np.int64))
        cells = {
            (name, severity): margin + 0.1 * self.rng.normal(size=N_SUBSET) > 0.02 * number + 0.15 * severity
            for number, name in enumerate(corruptions.NAMES)
            for severity in corruptions.SEVERITIES
        }
        stack = np.stack(list(cells.values()))
        self.share(task, "mca", stack, images="generated")
        self.share(task, "conditional_mca", stack[:, margin > 0], images="generated")
        for (name, severity), correct in cells.items():
            self.keep(task, f"{name}-{severity}/correct", correct)
            self.share(task, "accuracy", correct, corruption=name, severity=severity, images="generated")

    def _transfer(self, task: str) -> None:
        margin = self.margin[self.index]
        self.keep(task, "index", self.index.astype(np.int64))
        self.check(task, "random_model", float(self.random), limit=1.0)
        robust = {role: margin > need for role, need in (("teacher", 0.8), ("reference", 0.9), ("self", 1.3))}
        for role, correct in robust.items():
            self.keep(task, f"{role}/correct", correct)
            self.share(task, "accuracy", correct, source=role)
            self.share(task, "conditional_accuracy", correct[margin > 0], source=role)
        for role in ("teacher", "reference"):
            better = int((robust[role] & ~robust["self"]).sum())
            limit = 1.96 * better**0.5 / N_SUBSET
            self.check(task, "transfer", -better / N_SUBSET, limit, n=N_SUBSET, flags=["transfer", "pgd"])


def many(count: int, *, seeds: int = 1, **options: Any) -> Iterator[Made]:
    """Methods ``method-0000``, ... of rising skill."""
    for number in range(count):
        for seed in range(seeds):
            yield make(f"method-{number:04d}", seed=seed, skill=1 + 0.5 * number / count, **options)
