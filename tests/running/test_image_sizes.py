"""Class folders of other sizes than 32x32: everything that a suite plans is measured, or refused before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kdbench
from kdbench.data import DatasetSpec, from_class_folders
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.trial import TINY
from kdbench.specs import Suite
from kdbench.suites.reading import read_suite
from tests.conftest import TINY_SUITE

CLASSES = ("a", "b", "c", "d")
PLANNED = {"clean", "noisy_label", "ood", "calibration", "pgd", "transfer", "attack", "ood_detection"}


def write(folder: Path, size: int) -> None:
    """Images of four colours: 8 a class to train on, 4 to test on, and another set of them."""
    random = np.random.default_rng(size)
    for split, count in (("made/train", 8), ("made/test", 4), ("other/test", 4)):
        for number, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = random.integers(0, 120, (size, size, 3))
                pixels[..., number % 3] += 60 + 40 * (number // 3)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{image}.png")


def suite_of(path: Path, tasks: str) -> Suite:
    text = (
        TINY_SUITE.replace('"digits"', '"made"')
        .replace('"digits-fonts"', '"other"')
        .replace("epochs = 3", "epochs = 1")
    )
    text = (
        text.replace("wrn-10-1", "tiny")
        .replace("train_size = 200\n", "")
        .replace("[tasks.clean]\n", f"[tasks.clean]\n[tasks.ood]\n{tasks}")
    )
    path.write_text(text)
    return read_suite(path)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    found: Plugins = load_plugins.__wrapped__()
    found.models.add("tiny", TINY, "test")
    for module in ("running.runner", "running.evaluation"):
        monkeypatch.setattr(f"kdbench.{module}.load_plugins", lambda: found)
    return found


def register(plugins: Plugins, size: int) -> None:
    for name, splits in (("made", ("train", "test")), ("other", ("test",))):
        plugins.datasets.add(
            name,
            DatasetSpec(
                name, CLASSES, size, ood=name == "other",
                load=lambda place, name=name, splits=splits: from_class_folders(place, name, CLASSES, splits=splits),
            ),
            "test",
        )  # fmt: skip


@pytest.mark.parametrize(("size", "corruptions"), [(9, False), (28, False), (40, False), (64, True)])
def test_every_task_measures_images_of_the_size(plugins: Plugins, tmp_path: Path, size: int, corruptions: bool) -> None:
    write(tmp_path, size)
    register(plugins, size)
    tasks = '[tasks.ood_detection]\nsettings = { near = ["other"] }\n'
    if corruptions:
        tasks += "[tasks.corruption]\nconditions = ['clean']\nsettings = { subset = 4 }\n"
    suite = suite_of(tmp_path / "sizes.toml", tasks)
    record = kdbench.run(
        suite, "ce", data_dir=tmp_path, out=tmp_path / "runs", device="cpu", attacks=["pgd steps=1"], download=False
    )
    assert record.status == "finished"
    assert {score.task for score in record.scores} == PLANNED | ({"corruption"} if corruptions else set())
    if corruptions:
        assert len(record.select("corruption", "accuracy")) == 95
