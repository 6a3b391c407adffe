"""The seven tasks for one checkpoint, against what one would put together: torchattacks, a corruption script that takes
one image at a time, and a DataLoader."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import ToTensor

from kdbench.attacks.libraries import installation
from kdbench.corruptions import NAMES, SEVERITIES
from kdbench.data import ImageSet, make_image_set
from kdbench.inference.prediction import folded_copy
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Score
from kdbench.running.evaluation import run_task
from kdbench.running.kept_examples import KeptExamples
from kdbench.tasks import EvaluationContext, TestData
from kdbench.tasks.pgd import PGD
from tests.benchmarks.conftest import machine, timed
from tests.benchmarks.networks import cifar10, trained
from tests.corruptions import oracle

BATCH = 100
KS, RESTARTS, EPS = (10, 15, 20), 5, 0.031
TASKS: Mapping[str, Mapping[str, Any]] = {
    "clean": {}, "ood": {}, "noisy_label": {}, "calibration": {}, "corruption": {}, "transfer": {"subset": 1000},
    "pgd": {"every_restart": 200, "large_eps_subset": 100},
}  # fmt: skip
"""Settings of cifar10-lite beside the number of images, with the usual budgets of PGD."""


SAME: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "clean": ("clean accuracy", "clean", "accuracy", {}),
    "ece": ("ECE", "calibration", "ece", {}),
    "ood": ("OOD accuracy", "ood", "accuracy", {}),
    "mca": ("mCA", "corruption", "mca", {}),
    "pgd-std-20": ("PGD-20", "pgd", "robust_accuracy", {"rule": "worst", "steps": 20, "variant": "pgd-std"}),
    "reference": ("transfer from the reference", "transfer", "accuracy", {"source": "reference"}),
}
"""Name in the peer's scorecard to a name for both, and ours: task, metric and part of the setting."""


class AsImages(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """One image at a time, as Pillow has it, through ToTensor."""

    def __init__(self, images: Tensor | np.ndarray, labels: Tensor) -> None:
        self.images = images.permute(0, 2, 3, 1).numpy() if isinstance(images, Tensor) else images
        self.labels = labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return ToTensor()(Image.fromarray(self.images[index])), self.labels[index]


def loop(model: nn.Module, images: Tensor | np.ndarray, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and labels, by a DataLoader on all cores."""
    rows, truths = [], []
    with torch.no_grad():
        for pixels, truth in DataLoader(AsImages(images, labels), batch_size=BATCH, num_workers=os.cpu_count() or 1):
            rows.append(model(pixels).softmax(1))
            truths.append(truth)
    return torch.cat(rows), torch.cat(truths)


def accuracy(model: nn.Module, images: Tensor | np.ndarray, labels: Tensor) -> float:
    rows, truths = loop(model, images, labels)
    return (rows.argmax(1) == truths).double().mean().item()


def calibration_error(rows: Tensor, truths: Tensor) -> float:
    confidence, found = rows.max(1)
    bins = (confidence * 15).ceil().clamp(1, 15)
    gaps = [
        inside.double().mean() * ((found == truths)[inside].double().mean() - confidence[inside].double().mean()).abs()
        for inside in (bins == number for number in range(1, 16))
        if inside.any()
    ]
    return float(sum(gaps))


def attacked(source: nn.Module, target: nn.Module, images: Tensor, labels: Tensor, **budget: Any) -> Tensor:
    """Bool (n,): the target is right on examples that torchattacks makes on the source."""
    attack = installation.torchattacks().PGD(source, **budget)
    pixels, right = images.float() / 255, []
    for part in torch.arange(len(images)).split(BATCH):
        examples = attack(pixels[part], labels[part])
        with torch.no_grad():
            right.append(target(examples).argmax(1) == labels[part])
    return torch.cat(right)


def theirs(model: nn.Module, networks: Mapping[str, nn.Module], data: TestData) -> dict[str, float]:
    """Every number of the scorecard by the usual tools."""
    test, away = data.test, data.ood
    assert away is not None
    rows, truths = loop(model, test.images, test.labels)
    found = {"clean": (rows.argmax(1) == truths).double().mean().item(), "ece": calibration_error(rows, truths)}
    found["noisy_label"] = accuracy(networks["reference"], test.images, test.labels)
    found["ood"] = accuracy(model, away.images, away.labels)
    for variant, step_size in PGD.Settings().step_sizes.items():
        for k in KS:
            budget = {"eps": EPS, "alpha": step_size, "steps": k, "random_start": True}
            runs = [attacked(model, model, test.images, test.labels, **budget) for _ in range(RESTARTS)]
            found[f"{variant}-{k}"] = torch.stack(runs).all(0).double().mean().item()
    half = len(test) // 2  # transfer takes 1,000 of the 2,000 images
    for role, source in networks.items():
        budget = {"eps": 8 / 255, "alpha": 0.006, "steps": 10, "random_start": False}
        found[role] = attacked(source, model, test.images[:half], test.labels[:half], **budget).double().mean().item()
    plain, cells = test.images.permute(0, 2, 3, 1).numpy(), []
    for name in NAMES:  # a file a corruption, as CIFAR-C is published: one loader for its five severities
        images = np.concatenate([oracle.corrupt_all(plain, name, severity, severity) for severity in SEVERITIES])
        cells.append(accuracy(model, images, test.labels.repeat(len(SEVERITIES))))
    found["mca"] = float(np.mean(cells))
    return found


def ours(
    model: nn.Module, networks: Mapping[str, nn.Module], data: TestData, share: float, kept: Path | None = None
) -> list[Score]:
    """The same by kdbench's tasks; ``share`` scales the subsets within a task like the test set.

    ``kept``: a folder where the examples of the suite's networks are kept, as runs of a suite keep them.
    """
    plugins, found = load_plugins(), list[Score]()
    device = next(model.parameters()).device
    images = data.test.images
    sources = {role: folded_copy(network, images, device) for role, network in networks.items() if role != "self"}
    model = folded_copy(model, images, device)
    examples = {role: KeptExamples(kept, {"role": role}) for role in sources} if kept else {}
    ctx = EvaluationContext("clean", device, None, networks=sources, kept=examples)
    for name, fixed in TASKS.items():
        task = plugins.tasks.get(name)
        settings = {key: max(1, round(share * value)) for key, value in fixed.items()}
        student = sources["reference"] if name == "noisy_label" else model  # the noisy condition has its own student
        found += run_task(task, task.resolve(settings), student, data, ctx).scores
    return found


def part(images: ImageSet, count: int) -> ImageSet:
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    return make_image_set(images.name, images.images[chosen], images.labels[chosen], images.class_names)


@pytest.mark.parametrize("which", ["first", "further"])
def test_scorecard_of_cifar10_lite(
    side_by_side: Callable[..., float], data_dir: Path, tmp_path: Path, which: str
) -> None:
    """A tenth of the suite's 2,000 images for each task, so that the peer ends: both sides grow linearly.

    Of the first run of a suite, and of a further one, which finds the examples of the suite's networks.
    """
    everything, count = cifar10(data_dir).test, 200
    assert everything.ood is not None
    data = TestData(part(everything.test, count), part(everything.ood, count))
    fast = {"teacher": trained(data_dir, 16, 1), "reference": trained(data_dir, 10, 1, seed=1)}
    student = trained(data_dir, 10, 1)
    usual = {role: copy.deepcopy(net).to(memory_format=torch.contiguous_format) for role, net in fast.items()}
    usual_student = copy.deepcopy(student).to(memory_format=torch.contiguous_format)
    kept = tmp_path if which == "further" else None
    mine = ours(student, {**fast, "self": student}, data, count / 2000, kept)
    other = theirs(usual_student, {**usual, "self": usual_student}, data)
    facts: dict[str, float | int | str] = {"values in ours": len(mine), "in theirs": len(other)}
    for name, (title, task, metric, setting) in SAME.items():
        [value] = {
            score.value
            for score in mine
            if (score.task, score.metric) == (task, metric) and setting.items() <= score.setting.items()
        }
        facts[f"{title}, ours"], facts[f"{title}, theirs"] = round(value, 4), round(other[name], 4)
        assert abs(value - other[name]) <= 0.1, f"the two scorecards do not measure the same {title}"
    side_by_side(
        "scorecard of one checkpoint, cifar10-lite, a tenth of its images"
        + (", a further run of the suite" if kept else ""),
        lambda: ours(student, {**fast, "self": student}, data, count / 2000, kept),
        lambda: theirs(usual_student, {**usual, "self": usual_student}, data),
        peer_name="torchattacks, corruptions an image at a time, DataLoader", n=count, reach="at least 8x",
        device=torch.device("cpu"), facts=facts, warm_up=False, rounds=2,
    )  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_full_scorecard_on_a_gpu(results: dict[str, Any], data_dir: Path) -> None:
    """WRN-16-2, 10,000 test images, both PGD variants, 95 corruptions, 70,000 out-of-distribution images: seconds."""
    everything, cuda = cifar10(data_dir).test, torch.device("cuda")
    assert everything.ood is not None
    times = -(-70_000 // len(everything.ood))
    images = everything.ood.images.repeat(times, 1, 1, 1)[:70_000]
    away = make_image_set("ood", images, everything.ood.labels.repeat(times)[:70_000], everything.ood.class_names)
    roles = ("self", "teacher", "reference")
    networks = {role: copy.deepcopy(trained(data_dir, 16, 2, seed=seed)).to(cuda) for seed, role in enumerate(roles)}
    data, sizes = TestData(everything.test, away), {}
    for count in (1000, len(everything.test)):
        some = TestData(part(everything.test, count), away if count > 1000 else part(away, 7000))
        seconds = timed(lambda some=some, count=count: ours(networks["self"], networks, some, count / 2000))
        sizes[str(count)] = {"seconds": round(seconds, 2), "mebibytes": torch.cuda.max_memory_allocated() / 2**20}
        print(f"\nscorecard of a WRN-16-2 on a GPU, n = {count}: {seconds:.1f} s; wanted at most 60 at n = 10,000")
    assert len(data.test) == 10_000
    results.setdefault("growth", {})["scorecard of a WRN-16-2 [cuda]"] = {"sizes": sizes, **machine(cuda)}
