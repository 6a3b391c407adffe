"""What a suite asks of data that cannot give it is told before anything is trained, and before data are read."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

import kdbench
from kdbench.data import CIFAR10_CLASSES, DataFacts, Dataset, DatasetSpec, make_image_set
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.evaluation import chosen_tasks
from kdbench.specs import LabelNoise, Suite
from kdbench.suites import load_suite
from kdbench.suites.reading import read_suite
from kdbench.tasks import Attack, builtin_tasks
from kdbench.tasks.attack import with_attacks

FEW = ("a", "b", "c")


def dots(size: int, classes: tuple[str, ...] = FEW, each: int = 10) -> Dataset:
    """Random pixels, as many of each class to train on as to test on."""
    generator = torch.Generator().manual_seed(size)
    labels = torch.arange(len(classes)).repeat(each)
    images = torch.randint(0, 256, (len(labels), 3, size, size), generator=generator).to(torch.uint8)
    split = make_image_set("dots", images, labels, classes)
    return Dataset("dots", classes, size, split, split)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The installed plugins, and data sets of 40x40 and 32x32 pixels that are not registered with numbers of images."""
    found: Plugins = load_plugins.__wrapped__()
    for size in (32, 40):
        name = f"dots-{size}"

        def load(place: Any, size: int = size, name: str = name) -> Dataset:
            made = dots(size)
            return Dataset(name, FEW, size, made.train, made.test)

        found.datasets.add(name, DatasetSpec(name, FEW, size, load), "test")
    for module in ("running.runner", "running.evaluation"):
        monkeypatch.setattr(f"kdbench.{module}.load_plugins", lambda: found)
    return found


def on(tiny_suite: Path, dataset: str, *edits: tuple[str, str]) -> Suite:
    text = tiny_suite.read_text().replace('dataset = "digits"', f'dataset = "{dataset}"').replace("= 200", "= 30")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    tiny_suite.write_text(text)
    return read_suite(tiny_suite)


@pytest.mark.parametrize(
    ("dataset", "edits", "message"),
    [
        (
            "dots-40",
            [("[tasks.clean]", "[tasks.corruption]")],
            "constants for images of 32x32 .*64x64 .* have 40x40",
        ),
        ("dots-32", [("[tasks.clean]", "[tasks.clean]\nsettings = { top5 = true }")], "'clean': top5 found 3 classes"),
        ("dots-32", [("subset = 10, every", "subset = 31, every")], "'pgd' has subset 31, but 'dots-32' has 30 test"),
        ("dots-32", [("subset = 10, steps = 2 }", "subset = 99 }")], "'transfer' has subset 99, but 'dots-32' has 30"),
        ("dots-32", [("train_size = 30", "train_size = 31")], "'clean' has train_size 31, but 'dots-32' has 30"),
        ("dots-32", [("batch_size = 20", "batch_size = 31")], "'clean' has batch_size 31, but 30 training images"),
        ("dots-32", [('"symmetric"', '"asymmetric-cifar10"')], "is defined for 10 classes, this dataset has 3"),
        ("dots-32", [("[tasks.calibration]", "[tasks.calibration]\nsettings = { bins = [] }")], "setting bins: tuple"),
        ("dots-32", [("steps = [2, 3]", "steps = []")], "'pgd', setting steps: tuple should have at least 1 item"),
        ("dots-40", [("wrn-10-1", "resnet50-imagenet")], "takes images of 64 or more pixels a side.*have 40"),
    ],
)
def test_nothing_is_trained_for_what_cannot_be_measured(
    plugins: Plugins, tiny_suite: Path, tmp_path: Path, dataset: str, edits: list[tuple[str, str]], message: str
) -> None:
    suite = on(tiny_suite, dataset, *edits)
    with pytest.raises(KdbenchError, match=message) as caught:
        kdbench.run(suite, "ce", out=tmp_path / "runs", download=False)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "runs").rglob("*.*"))


def test_evaluate_tells_it_too(plugins: Plugins, tiny_suite: Path) -> None:
    suite = on(tiny_suite, "dots-32", ("subset = 10, every", "subset = 31, every"))
    model = kdbench.models.create("wrn-10-1", num_classes=3)
    with pytest.raises(KdbenchError, match="'pgd' has subset 31, but 'dots-32' has 30 test images"):
        kdbench.evaluate(model, suite, tasks=["pgd"], download=False)


def test_sources_that_cannot_be_trained_are_told_before_anything_is_measured(
    plugins: Plugins, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = on(tiny_suite, "dots-32", ("batch_size = 20", "batch_size = 31"))
    monkeypatch.setattr("kdbench.running.evaluation.run_task", None)
    model = kdbench.models.create("wrn-10-1", num_classes=3)
    with pytest.raises(KdbenchError, match="condition 'clean' has batch_size 31, but 30 training images"):
        kdbench.evaluate(model, suite, tasks=["clean", "transfer"], out=tmp_path / "runs", download=False)


def test_what_is_registered_of_the_data_is_enough_before_they_are_read(tiny_suite: Path) -> None:
    suite = on(tiny_suite, "cifar10", ("[tasks.clean]", "[tasks.corruption]\nsettings = { subset = 10001 }"))
    with pytest.raises(KdbenchError, match="'corruption' has subset 10,001, but 'cifar10' has 10,000 test images"):
        chosen_tasks(suite, load_plugins(), ["corruption"])
    noise = LabelNoise(kind="asymmetric-cifar100", rate=0.2)
    condition = suite.condition("clean").model_copy(update={"noise": noise})
    with pytest.raises(KdbenchError, match="'asymmetric-cifar100' is defined for 100 classes, this dataset has 10"):
        kdbench.run(suite.model_copy(update={"conditions": {"clean": condition}, "tasks": {}}), download=False)


def test_a_default_subset_means_at_most_so_many() -> None:
    """Attacks look at 1,000 test images where a suite doesn't say; digits has 500."""
    task = Attack()
    few = DataFacts("digits", tuple("0123456789"), 32, 1297, 500)
    task.check_data(task.resolve({}), few)
    with pytest.raises(KdbenchError, match="subset 1,000"):
        task.check_data(task.resolve({"subset": 1000}), few)
    task.check_data(task.resolve({"subset": None}), few)


@pytest.mark.parametrize(
    ("attack", "classes", "needed"),
    [("autoattack", 3, 4), ("autoattack", 4, None), ("apgd", 3, 4), ("pgd objective=dlr", 2, 3),
     ("pgd objective=targeted-dlr", 3, 4), ("pgd", 2, None), ("torchattacks:FGSM", 2, None)],
)  # fmt: skip
def test_an_attack_that_compares_more_logits_than_there_are_classes(
    attack: str, classes: int, needed: int | None
) -> None:
    suite, _ = with_attacks(load_suite("digits"), ["clean"], [attack])
    settings = Attack().resolve(suite.tasks["attack"].settings)
    data = DataFacts("few", tuple("abcdef")[:classes], 32)
    with pytest.raises(KdbenchError, match=f"needs {needed} classes, found {classes}") if needed else nullcontext():
        Attack().check_data(settings, data)


def test_the_suites_that_come_with_kdbench_can_be_measured() -> None:
    plugins = load_plugins()
    for name in plugins.suites:
        suite = load_suite(name)
        assert chosen_tasks(suite, plugins, None).keys() == suite.tasks.keys()


def test_a_task_that_knows_of_no_data_still_works() -> None:
    class Old(kdbench.Task):
        """As third-party tasks are that were written before."""

        name = "old"

        def prepare(self, settings: Any) -> None:
            self.prepared = True

    plugins = load_plugins.__wrapped__()
    plugins.tasks.add("old", old := Old(), "test")
    chosen_tasks(load_suite("digits"), plugins, ["old"])
    assert old.prepared


def test_every_standard_task_takes_cifar10() -> None:
    for task in builtin_tasks():
        task.check_data(task.resolve({}), DataFacts("cifar10", CIFAR10_CLASSES, 32, 50_000, 10_000))
