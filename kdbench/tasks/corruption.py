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
from kdbench.tasks import base
from kdbench.tasks.base import EvaluationContext, Task, TestData, check_subset
from kdbench.tasks.scorecard import Objection, Scorecard, conditional
from kdbench.training.seeds import derive_seed

PART = 1024
"""Images that are corrupted at once; a whole number of the generator's own steps, so that it changes no draw."""


class Corruption(Task):
    """Mean corruption accuracy: the mean over 19 corruptions of the mean over 5 severities (Hendrycks & Dietterich
    2019); not mCE, nothing is divided by a reference network's error.

    The published arrays are used as far as they are available, and the rest is generated; ``setting.images`` says
    which. Images of 64x64 pixels are corrupted as those of Tiny ImageNet-C; there are no constants for other sizes. The
    interval of a mean over cells is Wilson's with n images, as every cell shows the same ones. A predictor that is
    random at test time sees each cell in several draws, whose spread widens the intervals.
    """

    name = "corruption"
    by_order = True
    uses_corruptions = True
    shares = frozenset({"accuracy", "mca", "conditional_mca"})

    class Settings(base.Settings):
        """Which images, and from which seed the random corruptions are drawn."""

        subset: Annotated[int, Field(ge=1)] | None = None
        """Test images, stratified; none: all."""
        seed: int = 0
        """Of the random corruptions, where the images are not the published ones."""

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
                    images = self._images(data, index, name, severity, ctx)
                    correct = torch.stack([predict(fast, images, device=ctx.device).argmax(1) for _ in clean]) == labels
                    cells.append(correct)
                    ctx.keep(f"{name}-{severity}/correct", correct[0])
                    shown = "published" if _is_published(data, name, severity) else "generated"
                    setting = {"corruption": name, "severity": severity, "images": shown}
                    scores.append(ctx.share("accuracy", correct, setting=setting))
                ctx.advance((number + 1) / len(corruptions.NAMES))
        return [*self._means(torch.stack(cells), clean[0], origin, ctx), *scores]

    def _images(self, data: TestData, index: Tensor, name: str, severity: int, ctx: EvaluationContext) -> Tensor:
        """The images of one variant, uint8 (n, 3, S, S) on the CPU: all of them, as no batch may hold one class."""
        # On the CPU whatever the device, so that every machine measures the same images.
        generator = torch.Generator().manual_seed(derive_seed(ctx.settings.seed, "corruption", name, severity))
        found = []
        for part in torch.split(index, PART):
            if data.published_corruptions is not None and _is_published(data, name, severity):
                found.append(data.published_corruptions.load(name, severity, data.test.source_index[part]))
            else:
                plain = data.test.images[part].to(ctx.device)
                found.append(corruptions.corrupt(plain, name, severity, generator=generator).cpu())
        return torch.cat(found)

    def _means(self, cells: Tensor, clean: Tensor, origin: str, ctx: EvaluationContext) -> list[Score]:
        """mCA, and the mean over cells of #{clean and corrupted right} / #{clean right}."""
        found = [ctx.drawn("mca", *_mean_share(cells), setting={"images": origin})]
        if clean.any():
            conditional = _mean_share(cells[:, :, clean])
            found.append(ctx.drawn("conditional_mca", *conditional, setting={"images": origin}))
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
        mean = statistics.fmean(score.value for score in cells)
        for score in card.select("mca"):
            if abs(score.value - mean) > 1e-6:
                yield Objection(
                    score, "value", f"{score.value:.6g}, but the mean of its {len(cells)} cells is {mean:.6g}"
                )
        arrays = [card.answers(str(self.results_key(score))) for score in cells]
        same = [array for array in arrays if array is not None and array.shape == (cells[0].n,)]
        if len(same) == len(arrays):
            for score in card.select("conditional_mca"):
                yield from conditional(card, score, np.stack(same))


def _is_published(data: TestData, name: str, severity: int) -> bool:
    return data.published_corruptions is not None and data.published_corruptions.has(name, severity)


def _mean_share(cells: Tensor) -> tuple[list[float], int, tuple[float, float]]:
    """Means of bool (cells, D, n) in each draw, n, and the interval of the first share among n examples."""
    n = cells.shape[2]
    shares = cells.double().mean((0, 2)).tolist()
    return shares, n, wilson_interval(shares[0] * n, n)
