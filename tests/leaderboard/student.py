"""A made-up network that is measured by every task of ``digits``.

An image is answered rightly where the method's ``skill`` and the image's ease, which all methods share, are together
above what the task asks; so that better methods are better image by image, and attacks and corruptions only take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench import corruptions, metrics
from kdbench.results.record import Check, Score
from kdbench.specs import Suite
from kdbench.tasks.calibration import _two_sided

Bools = NDArray[np.bool_]

N, N_SUBSET, N_OOD = 500, 200, 1000
"""Test images of the digits, of its costly tasks, and out of distribution."""
VARIANTS = {"pgd-std": 0.0, "pgd-arani": 0.1}


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
        plan = self.suite.tasks.get(task)
        for bins in plan.settings.get("bins", [15]) if plan else [15]:
            ece = metrics.expected_calibration_error(probabilities, labels, bins=bins)
            interval = metrics.bootstrap_ece_interval(probabilities, labels, bins=bins)
            self.score(task, "ece", ece, N, interval=interval, setting={"bins": bins}, higher_is_better=False)

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
                step = {"variant": variant, "steps": k}
                self.score(task, "zero_gradient_share", 0.0, N_SUBSET, setting=step, higher_is_better=False)
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
