"""T9: what a student remembers of its training images, and what views of them correct."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from kdbench.augment import auto_augment, random_erasing
from kdbench.errors import KdbenchError
from kdbench.inference.model import as_float
from kdbench.inference.prediction import predict
from kdbench.metrics import auroc, auroc_interval, bootstrap_ece_interval, expected_calibration_error, wilson_interval
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Condition
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard
from kdbench.tasks.settings import TaskSettings

GROUPS = ("clean-labelled", "mislabelled", "all")
PART = 500
"""Images that are transformed at once."""
GROUPS = ("clean-labelled", "mislabelled", "all")
SMALLEST = 1e-300
"""Of a probability whose logarithm is taken."""


class Memorisation(Task):
    """Accuracy of a student of noisy labels on its own training images, against the true labels: of the image as it is
    (``views`` 0), and of the mean softmax output over K views of it (Shon et al. 2024, Table 1).

    A view: AutoAugment's policy for CIFAR-10, then random erasing with probability .5; those of a smaller K are the
    first of a larger one's. ``images`` says which: those whose label is right (an inclusive draw may keep it), those
    whose label is wrong, or all. ``observed_accuracy`` is that of the image against the label the student saw, which
    says how far it has memorised; ``ece`` the calibration error against the true labels (Fig. 2). Of mislabelled images
    ``loss_share`` is a histogram of the cross-entropy of the true class in bins of one nat, the last one open, and
    ``auroc`` says how well this loss tells the image as it is from its views: 1 where views lower it of every image
    (Fig. 1).
    """

    name = "memorisation"
    family = "noisy labels"
    needs_training = True
    shares = frozenset({"accuracy", "observed_accuracy", "loss_share"})
    other_metrics = frozenset({"auroc", "ece"})
    lower_is_better = frozenset({"ece"})
    setting_keys = frozenset({"views", "images", "bins", "low", "high", "open"})

    class Settings(TaskSettings):
        """How many images and views."""

        views: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 8, 32)
        """Numbers of views whose softmax outputs are averaged; the paper does not say how many."""
        images: Annotated[int, Field(ge=1)] | None = None
        """The first so many of the shuffled training images; none: all."""
        bins: Annotated[int, Field(ge=1, le=1000)] = 15
        """Of the calibration error."""
        loss_bins: Annotated[int, Field(ge=1, le=1000)] = 20
        """Of the histogram of losses."""
        seed: int = 0
        """Of the views."""

    def applies(self, condition: Condition) -> bool:
        return condition.noise is not None

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings, training = ctx.settings, ctx.training()
        some = slice(settings.images)  # training sets are shuffled, so that the first images are a sample
        images, observed, true = training.images[some], training.observed[some], training.true[some]
        generator = torch.Generator().manual_seed(settings.seed)
        found = view_probabilities(predictor, images, settings.views, generator, ctx.device)
        seen = found[0].argmax(1) == observed
        ctx.keep("observed/correct", seen)
        scores = [ctx.share("observed_accuracy", seen, setting={"views": 0, "images": "all"})]
        for number, (views, probabilities) in enumerate(found.items()):
            scores += _accuracies(views, probabilities, observed, true, ctx)
            scores.append(_calibration(views, probabilities, true, ctx))
            ctx.advance((number + 1) / len(found))
        wrong = observed != true
        if wrong.any():
            losses = {views: _losses(probabilities[wrong], true[wrong]) for views, probabilities in found.items()}
            scores += _loss_scores(losses, ctx)
        return scores

    def headline(self, settings: Any) -> Headline:
        setting = {"images": "mislabelled", "views": max(settings.views)}
        return Headline("corrected", "accuracy", setting, noisy=True)

    def results_key(self, score: Score) -> str | None:
        if score.metric == "observed_accuracy":
            return "observed/correct"
        views, images = score.setting.get("views"), score.setting.get("images")
        return f"{views}/{images}/correct" if score.metric == "accuracy" else None

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        for views in (0, *card.settings.views):
            groups = {score.setting.get("images"): score for score in card.select("accuracy", views=views)}
            whole, parts = groups.get("all"), [groups[name] for name in GROUPS[:2] if name in groups]
            if whole is None or sum(part.n for part in parts) != whole.n:
                yield Objection(whole, "n", f"views {views}: the groups do not add up to all images")
                continue
            value = sum(part.n * part.value for part in parts) / whole.n
            if abs(value - whole.value) > 1e-6:
                yield Objection(whole, "value", f"{whole.value:.6g}, but its groups give {value:.6g}")


@dataclasses.dataclass(frozen=True)
class Recall:
    """Accuracy against the true labels on one group of training images."""

    views: int
    """Transformed views whose softmax outputs are averaged; 0: the image itself."""
    group: str
    """One of ``GROUPS``."""
    hits: int
    n: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]; NaN for a group without images."""
        return self.hits / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's, at 95 %."""
        return wilson_interval(self.hits, self.n) if self.n else (float("nan"), float("nan"))


def groups_of(observed: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Name of ``GROUPS`` to bool (N,), from labels, int64 (N,). A draw of the noise that kept the label is none."""
    wrong = observed != true
    return dict(zip(GROUPS, (~wrong, wrong, torch.ones_like(wrong)), strict=True))


def recall(predicted: Tensor, observed: Tensor, true: Tensor, views: int) -> list[Recall]:
    """Accuracy of predicted classes, int64 (N,), on each group of ``GROUPS``.

    The overall accuracy is E * mislabelled + (1 - E) * clean-labelled, with E the share of labels that are wrong.
    """
    right = predicted == true
    masks = groups_of(observed, true).items()
    return [Recall(views, group, int((right & mask).sum()), int(mask.sum())) for group, mask in masks]


def view_probabilities(
    predictor: nn.Module, images: Tensor, views: Sequence[int], generator: torch.Generator, device: torch.device
) -> dict[int, Tensor]:
    """Softmax outputs, float64 (N, C), by number of views K: of the image (0), and their mean over K views.

    A view: AutoAugment's policy for CIFAR-10, then random erasing with probability .5. The views of a smaller K are
    the first of a larger one's. ``images``: uint8 (N, 3, H, W).
    """
    if not views:
        raise KdbenchError("no number of views was asked for", "name one, such as 8")
    found = {0: predict(predictor, images, device=device).double().softmax(1)}
    total = torch.zeros(())
    for number in range(1, max(views) + 1):
        logits = []
        for part in torch.split(images, PART):
            view = random_erasing(auto_augment(as_float(part.to(device)), generator), generator)
            logits.append(predict(predictor, view, device=device))
        total = total + torch.cat(logits).double().softmax(1)
        if number in views:
            found[number] = total / number
    return found


def _accuracies(
    views: int, probabilities: Tensor, observed: Tensor, true: Tensor, ctx: EvaluationContext
) -> Iterator[Score]:
    right = probabilities.argmax(1) == true
    for group, mask in groups_of(observed, true).items():
        if mask.any():
            ctx.keep(f"{views}/{group}/correct", right[mask])
            yield ctx.share("accuracy", right[mask], setting={"views": views, "images": group})


def _calibration(views: int, probabilities: Tensor, true: Tensor, ctx: EvaluationContext) -> Score:
    bins = ctx.settings.bins
    value = expected_calibration_error(probabilities, true, bins=bins)
    interval = bootstrap_ece_interval(probabilities, true, bins=bins)
    setting = {"views": views, "images": "all", "bins": bins}
    return ctx.score("ece", value, len(true), interval, setting=setting, higher_is_better=False)


def _losses(probabilities: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of the true class in nats, float64 (n,)."""
    return -probabilities.gather(1, true[:, None]).squeeze(1).clamp_min(SMALLEST).log()


def _loss_scores(losses: Mapping[int, Tensor], ctx: EvaluationContext) -> Iterator[Score]:
    """Histograms of the losses of mislabelled images by number of views, and how well they tell these apart."""
    last = ctx.settings.loss_bins - 1
    for views, found in losses.items():
        where = found.floor().long().clamp(0, last)
        for bin_ in range(last + 1):
            setting = {"views": views, "images": "mislabelled", "low": bin_, "high": bin_ + 1, "open": bin_ == last}
            yield ctx.share("loss_share", where == bin_, setting=setting)
    for views, found in itertools.islice(losses.items(), 1, None):
        interval = auroc_interval(losses[0], found)
        setting = {"views": views, "images": "mislabelled"}
        yield ctx.score("auroc", auroc(losses[0], found), len(found), interval, setting=setting)
