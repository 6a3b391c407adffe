"""T7: accuracy under the nineteen corruptions of CIFAR-C and Tiny ImageNet-C."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kdbench import corruptions
from kdbench.data import DataFacts
from kdbench.errors import KdbenchError
from kdbench.inference.order import sample
from kdbench.inference.prediction import frozen, predict
from kdbench.inference.randomness import SAMPLE
from kdbench.metrics import wilson_interval
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard, conditional
from kdbench.tasks.settings import TaskSettings, check_subset
from kdbench.training.seeds import derive_seed

PART = 1024
"""Images that are corrupted at once; a whole number of the generator's own steps, so that it changes no draw."""


class Corruption(Task):
    """Mean corruption accuracy: the mean over 19 corruptions of the mean over 5 severities (Hendrycks & Dietterich
    2019); not mCE, nothing is divided by a reference network's error.

    The published arrays are used as far as they are available, and the rest is generated; ``setting.images`` says
    which. Images of 64x64 pixels are corrupted as those of Tiny ImageNet-C; there are no constants for other sizes. The
    interval of a mean over cells is Wilson's with n images, as every cell shows the same ones. A predictor that is
    random at test time sees each cell in several draws, whose spread widens the intervals. Where it is asked for, both
    means are also given of each corruption by itself (Arani et al. 2021, Fig. 5), over its severities.
    """

    name = "corruption"
    family = "natural"
    by_order = True
    uses_corruptions = True
    shares = frozenset({"accuracy", "mca", "conditional_mca", "mean_accuracy", "mean_conditional_accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()
    setting_keys = frozenset({"corruption", "severity", "images"})

    class Settings(TaskSettings):
        """Which images, and from which seed the random corruptions are drawn."""

        subset: Annotated[int, Field(ge=1)] | None = None
        """Test images, stratified; none: all."""
        seed: int = 0
        """Of the random corruptions, where the images are not the published ones."""
        by_corruption: bool = False
        """Whether also to give the means of each corruption over its severities, as ``mean_accuracy`` and
        ``mean_conditional_accuracy``."""

    def check_data(self, settings: Any, data: DataFacts) -> None:
        if data.image_size not in corruptions.SIZES:
            raise KdbenchError(
                f"task '{self.name}' has published constants for images of {corruptions.published_sizes()} pixels, "
                f"those of '{data.name}' have {data.image_size}x{data.image_size}",
                f"leave task '{self.name}' out, or resize the images first",
            )
        check_subset(self.name, settings, data)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        index = ctx.subset(data.test, ctx.settings.subset)
        labels = data.test.labels[index]
        clean = ctx.correct_draws(predictor, data.test)[:, index]
        origin = data.corruption_images
        scores, cells = [], []
        with frozen(predictor, sample(data.test.images, SAMPLE).to(ctx.device)) as fast:
            for number, name in enumerate(corruptions.NAMES):
                for severity in corruptions.SEVERITIES:
                    images = self._images(data, index, name, severity, ctx.settings, ctx.device)
                    correct = torch.stack([predict(fast, images, device=ctx.device).argmax(1) for _ in clean]) == labels
                    cells.append(correct)
                    ctx.keep(f"{name}-{severity}/correct", correct[0])
                    shown = "published" if _is_published(data, name, severity) else "generated"
                    setting = {"corruption": name, "severity": severity, "images": shown}
                    scores.append(ctx.share("accuracy", correct, setting=setting))
                ctx.advance((number + 1) / len(corruptions.NAMES))
        found = torch.stack(cells)
        means = self._means(("mca", "conditional_mca"), found, clean[0], {"images": origin}, ctx)
        if ctx.settings.by_corruption:
            for name, own in zip(corruptions.NAMES, torch.split(found, len(corruptions.SEVERITIES)), strict=True):
                setting = {"corruption": name, "images": origin}
                means += self._means(("mean_accuracy", "mean_conditional_accuracy"), own, clean[0], setting, ctx)
        return [*means, *scores]

    def remade(self, score: Score, data: TestData, index: Tensor, settings: Any, device: torch.device) -> Tensor | None:
        name, severity = score.setting.get("corruption"), score.setting.get("severity")
        if name not in corruptions.NAMES or severity not in corruptions.SEVERITIES:
            return None
        shown = "published" if _is_published(data, str(name), int(severity)) else "generated"
        if score.metric != "accuracy" or score.setting.get("images") != shown:
            return None
        return self._images(data, index, str(name), int(severity), settings, device)

    def _images(
        self, data: TestData, index: Tensor, name: str, severity: int, settings: Any, device: torch.device
    ) -> Tensor:
        """The images of one variant, uint8 (n, 3, S, S) on the CPU: all of them, as no batch may hold one class."""
        # On the CPU whatever the device, so that every machine measures the same images.
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, "corruption", name, severity))
        found = []
        for part in torch.split(index, PART):
            if data.published_corruptions is not None and _is_published(data, name, severity):
                found.append(data.published_corruptions.load(name, severity, data.test.source_index[part]))
            else:
                plain = data.test.images[part].to(device)
                found.append(corruptions.corrupt(plain, name, severity, generator=generator).cpu())
        return torch.cat(found)

    def _means(
        self, metrics: tuple[str, str], cells: Tensor, clean: Tensor, setting: dict[str, Any], ctx: EvaluationContext
    ) -> list[Score]:
        """Means over bool (cells, D, n): of the accuracy, and of #{clean and corrupted right} / #{clean right}, which
        needs an image that is right; ``clean``: bool (n,)."""
        found = [ctx.drawn(metrics[0], *_mean_share(cells), setting=setting)]
        if clean.any():
            found.append(ctx.drawn(metrics[1], *_mean_share(cells[:, :, clean]), setting=setting))
        return found

    def headline(self, settings: Any) -> Headline:
        return Headline("mCA", "mca", results="*/correct")

    def results_key(self, score: Score) -> str | None:
        cell = f"{score.setting.get('corruption')}-{score.setting.get('severity')}"
        return f"{cell}/correct" if score.metric == "accuracy" else None

    def derives(self, score: Score) -> bool:
        return score.metric in ("mca", "conditional_mca")

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        cells = card.select("accuracy")
        found = {(score.setting.get("corruption"), score.setting.get("severity")) for score in cells}
        missing = [f"{name} {level}" for name in corruptions.NAMES for level in corruptions.SEVERITIES
                   if (name, level) not in found]  # fmt: skip
        if missing:
            yield Objection(None, "scores", f"{len(missing)} cells of mCA are missing, such as {missing[0]}")
            return
        groups = [(card.select("mca"), card.select("conditional_mca"), cells)]
        for name in corruptions.NAMES:
            own = [score for score in cells if score.setting.get("corruption") == name]
            means, conditionals = (
                card.select(metric, corruption=name) for metric in ("mean_accuracy", "mean_conditional_accuracy")
            )
            groups.append((means, conditionals, own))
        for means, conditionals, own in groups:
            yield from _not_their_mean(means, own)
            arrays = [card.answers(str(self.results_key(score))) for score in own]
            same = [array for array in arrays if array is not None and array.shape == (own[0].n,)]
            if len(same) == len(arrays):
                for score in conditionals:
                    yield from conditional(card, score, np.stack(same))


def _not_their_mean(means: list[Score], cells: list[Score]) -> Iterator[Objection]:
    mean = statistics.fmean(score.value for score in cells)
    for score in means:
        if abs(score.value - mean) > 1e-6:
            yield Objection(score, "value", f"{score.value:.6g}, but the mean of its {len(cells)} cells is {mean:.6g}")


def _is_published(data: TestData, name: str, severity: int) -> bool:
    return data.published_corruptions is not None and data.published_corruptions.has(name, severity)


def _mean_share(cells: Tensor) -> tuple[list[float], int, tuple[float, float]]:
    """Means of bool (cells, D, n) in each draw, n, and the interval of the first share among n examples."""
    n = cells.shape[2]
    shares = cells.double().mean((0, 2)).tolist()
    return shares, n, wilson_interval(shares[0] * n, n)
