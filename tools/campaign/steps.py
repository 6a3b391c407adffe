"""What a campaign does, in order: each step is a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WHEELS = ("wheels/",)
ALL_IMAGES = (*WHEELS, "images/")
ALL = (*ALL_IMAGES, "peers/")
GPU_MARK = "pytest.mark.gpu"
EPOCHS, TRAINING_IMAGES = 200, 50_000
"""Of a training of suite cifar10."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One piece of work."""

    name: str
    says: str
    command: tuple[str, ...]
    """Arguments of Python."""
    seconds: float
    """What it takes at most: a guess, until it has been done once. It is begun only if that fits."""
    needs: tuple[str, ...] = WHEELS
    """Beginnings of the names of files that must have come in the parts."""
    resumes: bool = False
    """It goes on in a later call from where it was stopped, so that it is begun whatever is left."""
    benchmark: bool = False
    """It files rows in tools/data/benchmarks.json."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a campaign works."""

    root: Path
    """The checkout."""
    work: Path
    device: str
    tiny: bool

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    @property
    def rows(self) -> Path:
        """One JSON file a step: what it has measured."""
        return self.work / "rows"


def steps(place: Place, rows: Mapping[str, Any]) -> list[Step]:
    """All steps. ``rows``: what earlier ones have measured, by step."""
    return [_images(place), *_checks(place), *([] if place.tiny else _benchmarks(place)),
            *_trainings(place, rows)]  # fmt: skip


def _measure(place: Place, what: str, *more: str) -> tuple[str, ...]:
    suite = str(HERE / "tiny.toml") if place.tiny else "cifar10"
    tiny = ("--tiny",) if place.tiny else ()
    return (
        "-m", "tools.campaign.measure", what, "--suite", suite, "--device", place.device, "--data", str(place.data),
        "--runs", str(place.runs), "--rows", str(place.rows / f"{what}.json"), *tiny, *more,
    )  # fmt: skip


def _images(place: Place) -> Step:
    command = ("-m", "tools.campaign.images", str(place.work / "stock/images"), str(place.data))
    return Step("images", "unpack the images that have come", command, 120)


def _checks(place: Place) -> list[Step]:
    marked = [
        path.relative_to(place.root).as_posix()
        for path in sorted((place.root / "tests").rglob("test_*.py"))
        if f"@{GPU_MARK}" in path.read_text(encoding="utf-8")
    ]
    marked = [path for path in marked if "compiling" in path] if place.tiny else marked
    tests = ("-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-rs", "--tb=short", *marked)
    return [
        *([] if place.tiny else [Step("doctor", "what machine this is", ("-m", "kdbench", "doctor"), 60)]),
        Step("tests", "the tests that need a GPU", tests, 150),
        Step("agreement", "all tasks on a fixed network, here and on the CPU", _measure(place, "agreement"), 150,
             ALL_IMAGES),
    ]  # fmt: skip


def _benchmarks(place: Place) -> list[Step]:
    def row(name: str, says: str, file: str, choice: str, seconds: float, needs: tuple[str, ...]) -> Step:
        command = ("-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--tb=short", f"tests/benchmarks/{file}",
                   "-k", choice)  # fmt: skip
        return Step(name, says, command, seconds, needs, benchmark=True)

    return [
        row("scorecard", "the scorecard of a WRN-16-2", "test_scorecard.py", "gpu", 240, ALL_IMAGES),
        row("pgd", "PGD against torchattacks", "test_attacks.py", "cuda and eps", 240, ALL_IMAGES),
        row("corruptions", "corruptions against one image at a time", "test_corruptions.py", "cuda", 180, ALL),
        row("epoch", "an epoch of fit() against a bare loop", "test_training.py", "cuda and ce", 120, ALL_IMAGES),
    ]


def _trainings(place: Place, rows: Mapping[str, Any]) -> list[Step]:
    plain = () if compiling_pays(rows.get("throughput", {})) else ("--no-compile",)
    names = ("tiny-study.toml",) if place.tiny else ("cifar10-study.toml", "nrd-study.toml")
    studies = [
        Step(name.removesuffix(".toml"), f"the study {name}",
             ("-m", "kdbench", "sweep", str(HERE / name), "--data-dir", str(place.data), "--device", place.device,
              "--out", str(place.runs), "--no-download", *plain), 0, ALL_IMAGES, resumes=True)
        for name in names
    ]  # fmt: skip
    return [
        Step("throughput", "training images a second", _measure(place, "throughput"), 240, ALL_IMAGES),
        Step("reference", "a whole training of the suite's student", _measure(place, "reference", *plain), 0,
             ALL_IMAGES, resumes=True),
        *studies,
    ]  # fmt: skip


def compiling_pays(rows: Mapping[str, Any]) -> bool:
    """Whether a whole training of the student is shorter with its networks compiled, by what was measured."""
    plain, fast = rows.get("wrn-16-2"), rows.get("wrn-16-2, compiled")
    if not plain or not fast:
        return True  # kdbench's default
    return bool(training_seconds(fast) < training_seconds(plain))


def training_seconds(row: Mapping[str, float]) -> float:
    """How long a training of suite cifar10 takes at a measured pace."""
    return row.get("warm_up_seconds", 0) + EPOCHS * TRAINING_IMAGES / row["images_per_second"]
