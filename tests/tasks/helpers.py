"""Networks whose logits can be worked out by hand, and image sets for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from kdbench.data import ImageSet, make_image_set
from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.specs import Condition, LabelNoise, Recipe
from kdbench.tasks import EvaluationContext, Task, TestData

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, batch_size=1, lr=0.1)
CLEAN = Condition(recipe=RECIPE)
NOISY = Condition(recipe=RECIPE, noise=LabelNoise(kind="symmetric", rate=0.4))
LEVELS = tuple(range(12, 250, 25))
"""Red level of each of ten classes."""


class Nearest(nn.Module):
    """Picks the class whose level (0 ... 255) is nearest to the mean of one colour channel; linear in the pixels."""

    def __init__(self, levels: Sequence[int] = LEVELS, *, channel: int = 0, sharpness: float = 20.0) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels) / 255)
        self.channel, self.sharpness, self.calls = channel, sharpness, 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        found = images[:, self.channel].mean((1, 2))[:, None]
        return self.sharpness * (2 * found * self.levels - self.levels**2)


class TinyNet(nn.Module):
    """A random network that sees twelve pixels and is far from linear, so that attacks depend on where they begin."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(5 * torch.randn(12, 32, generator=generator))
        self.second = nn.Parameter(torch.randn(32, classes, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return torch.sin(images[:, :, ::16, ::16].flatten(1) @ self.first) @ self.second


def flat(levels: Sequence[int], *, channel: int = 0, seed: int = 0) -> Tensor:
    """uint8 (N, 3, 32, 32): one channel at the given levels, the others at random, constant over each image."""
    colours = np.random.default_rng(seed).integers(0, 256, (len(levels), 3))
    colours[:, channel] = levels
    return torch.from_numpy(colours.astype(np.uint8))[:, :, None, None].repeat(1, 1, 32, 32)


def image_set(images: Tensor, labels: Sequence[int], classes: int = 10, name: str = "made/test") -> ImageSet:
    return make_image_set(name, images, torch.tensor(labels), [f"class-{number}" for number in range(classes)])


def ten_classes(
    count: int = 60, wrong: int = 17, name: str = "made/test", present: Sequence[int] = range(10)
) -> TestData:
    """Images near their class's level, ``wrong`` of them near that of another class."""
    random = np.random.default_rng(1)
    labels = [present[i % len(present)] for i in range(count)]
    shown = [(label + 1 + i % 9) % 10 if i < wrong else label for i, label in enumerate(labels)]
    levels = np.array(LEVELS)[shown] + random.integers(-9, 10, count)
    return TestData(image_set(flat(levels.tolist()), labels, name=name))


def nearest_is_right(images: ImageSet, levels: Sequence[int] = LEVELS, channel: int = 0) -> np.ndarray:
    """What ``Nearest`` must find on flat images, by NumPy."""
    seen = images.images.numpy()[:, channel, 0, 0].astype(int)
    picked = np.abs(seen[:, None] - np.array(levels)).argmin(1)
    right: np.ndarray = picked == images.labels.numpy()
    return right


def measure(
    task: Task,
    predictor: nn.Module,
    data: TestData,
    *,
    networks: Mapping[str, nn.Module] | None = None,
    condition: str = "clean",
    **settings: Any,
) -> TaskResult:
    ctx = EvaluationContext(condition, CPU, None, networks=networks or {})
    return run_task(task, task.resolve(settings), predictor, data, ctx)


def select(outcome: TaskResult, metric: str, **setting: Any) -> list[Score]:
    return [
        score
        for score in outcome.scores
        if score.metric == metric and all(score.setting[key] == value for key, value in setting.items())
    ]


def one(outcome: TaskResult, metric: str, **setting: Any) -> Score:
    [score] = select(outcome, metric, **setting)
    return score


def assert_share(score: Score, hits: int, n: int) -> None:
    """Value, n and interval of a share; the interval by SciPy."""
    interval = binomtest(int(hits), n).proportion_ci(0.95, method="wilson")
    assert score.value == hits / n
    assert score.n == n
    assert abs(score.ci_low - interval.low) < 1e-9
    assert abs(score.ci_high - interval.high) < 1e-9
