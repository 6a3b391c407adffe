"""Versions of the test images that tasks measured, corrupted or adversarial, and some of those made again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdbench.attacks.run import inside_ball
from kdbench.errors import KdbenchError
from kdbench.inference.model import as_float
from kdbench.inference.prediction import predict
from kdbench.report.bench import Bench
from kdbench.report.runs import Run
from kdbench.results.record import Score
from kdbench.tasks import Task, TestData

CHECKED: Final = 256
"""Images that a student sees again, to check that they are those that it was measured on."""
OTHERWISE: Final = "the student of the checkpoint answers otherwise than the record says"


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """The test images, or a part of them, as a score measured them."""

    title: str
    score: Score
    correct: NDArray[np.bool_]
    """(n,)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Changed:
    """What one task made of the test images."""

    title: str
    task: Task
    index: NDArray[np.int64]
    """(n,): which test images."""
    versions: tuple[Version, ...]

    @functools.cached_property
    def wrong(self) -> dict[int, list[Version]]:
        """Test image to the versions that are wrong."""
        found: dict[int, list[Version]] = {}
        for version in self.versions:
            for place in self.index[~version.correct].tolist():
                found.setdefault(place, []).append(version)
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Remade:
    """What became of one test image."""

    images: tuple[tuple[str, Tensor], ...]
    """What it is in words, and uint8 (3, H, W) on the CPU."""
    answer: int | None = None
    """The class that the student takes it for; None without a student."""
    confidence: float | None = None
    """Its largest softmax output."""


def remade(
    run: Run, bench: Bench, condition: str, one: Changed, version: Version, places: Sequence[int]
) -> tuple[list[Remade], str]:
    """The changed images at ``places``, test images that the version has, and what to say of them together.

    Raises:
        KdbenchError: they can't be made again as they were; the message says why.
    """
    spec, task = run.record.spec, one.task
    if spec.tasks[task.name] != task.version:
        raise KdbenchError(
            f"'{task.name}' was measured in its version {spec.tasks[task.name]}, {task.version} is installed"
        )
    data, index, settings = TestData(bench.dataset.test), torch.from_numpy(one.index), task.settings_in(spec.suite)
    row = {place: number for number, place in enumerate(one.index.tolist())}
    rows = torch.tensor([row[place] for place in places])
    every = task.remade(version.score, data, index, settings, bench.device)
    if every is not None and len(every) == len(index):
        return _corrupted(run, bench, condition, version, every, index, rows), ""
    student = bench.predictor(run, condition)
    attacked = task.attacked(version.score, student, data, index, rows, settings, bench.device)
    if attacked is None:
        raise KdbenchError(f"task '{task.name}' makes none of its images again")
    radius = float(getattr(settings, "eps", 1.0))
    return _adversarial(bench, student, version.title, attacked, index[rows], radius)


def _corrupted(
    run: Run, bench: Bench, condition: str, version: Version, every: Tensor, index: Tensor, rows: Tensor
) -> list[Remade]:
    """Those of ``rows`` among all images of a version, which a student, where there is one, must answer as measured."""
    if run.record.provenance.device != bench.device.type:  # other arithmetic may make other images
        raise KdbenchError(f"they were made on {run.record.provenance.device}, this is {bench.device.type}")
    shown = [((f"the same under {version.title}", image),) for image in every[rows]]
    try:
        student = bench.predictor(run, condition)
    except KdbenchError:
        return [Remade(images) for images in shown]
    checked = list(dict.fromkeys([*rows.tolist(), *range(min(CHECKED, len(index)))]))
    confidence, answers = predict(student, every[checked], device=bench.device).softmax(1).max(1)
    right = (answers == bench.dataset.test.labels[index[checked]]).numpy()
    if not np.array_equal(right, version.correct[checked]):
        raise KdbenchError(OTHERWISE)
    return [Remade(*of) for of in zip(shown, answers.tolist(), confidence.tolist(), strict=False)]


def _adversarial(
    bench: Bench, student: nn.Module, title: str, found: Tensor, places: Tensor, eps: float
) -> tuple[list[Remade], str]:
    """Adversarial versions of test images that are right as they are and wrong under attack, by the record."""
    labels, plain = bench.dataset.test.labels[places], as_float(bench.dataset.test.images[places])
    found = inside_ball(found, plain, eps)
    if not bool((predict(student, plain, device=bench.device).argmax(1) == labels).all()):
        raise KdbenchError(OTHERWISE)
    confidence, answers = predict(student, found, device=bench.device).softmax(1).max(1)
    times = max(1, int(0.5 / eps)) if eps else 1
    shown = (
        (f"the same under {title}", _pixels(found)),
        (f"their difference, {times} times magnified around grey", _pixels(0.5 + times * (found - plain))),
    )
    images = [tuple((words, tensor[number]) for words, tensor in shown) for number in range(len(found))]
    wrong = int((answers != labels).sum())
    differ = "" if wrong == len(labels) else ", the others are right: rounding led elsewhere on this machine"
    said = (
        f"beside each its adversarial version, made again with the checkpoint, no pixel further away than "
        f"{255 * eps:.3g}/255, and the difference, {times} times magnified around grey; {wrong} of {len(labels)} are "
        f"wrong again, as in the record{differ}"
    )
    return [Remade(*of) for of in zip(images, answers.tolist(), confidence.tolist(), strict=True)], said


def _pixels(images: Tensor) -> Tensor:
    """Float32 images in [0, 1], or near it, as uint8."""
    return (255 * images).round().clamp(0, 255).to(torch.uint8)
