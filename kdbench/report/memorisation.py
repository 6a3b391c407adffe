"""What a student trained on noisy labels remembers and corrects (Shon et al. 2024, Table 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from kdbench.augment import auto_augment, random_erasing
from kdbench.devices import forked_random_numbers
from kdbench.inference.model import as_float
from kdbench.inference.prediction import predict
from kdbench.metrics import wilson_interval
from kdbench.report.bench import Bench
from kdbench.report.collect import collect, conditions_of
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import COLOURS, MARKERS, in_percent, legend_outside, make_figure, percent, plain

VIEWS = (1, 8, 32)
"""Numbers of views that are reported; the paper does not say how many it averages."""
ON_A_CPU = 2000
"""Training images that are looked at on a CPU unless more are asked for."""
PART = 500
"""Images that are transformed at once."""
GROUPS = ("clean-labelled", "mislabelled", "all")


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


def recall(predicted: Tensor, observed: Tensor, true: Tensor, views: int) -> list[Recall]:
    """Accuracy of predicted classes, int64 (N,), on each group of ``GROUPS``.

    A sample whose noise draw kept its label is clean-labelled. The overall accuracy is
    E * mislabelled + (1 - E) * clean-labelled, with E the share of labels that are wrong.
    """
    right, wrong_label = predicted == true, observed != true
    masks = (~wrong_label, wrong_label, torch.ones_like(wrong_label))
    return [
        Recall(views, group, int((right & mask).sum()), int(mask.sum()))
        for group, mask in zip(GROUPS, masks, strict=True)
    ]


def view_predictions(
    predictor: nn.Module, images: Tensor, views: Sequence[int], generator: torch.Generator, device: torch.device
) -> dict[int, Tensor]:
    """Classes, int64 (N,), by number of views K: of the image (0), of the mean softmax output of K views.

    A view: AutoAugment's policy for CIFAR-10, then random erasing with probability .5. The views of a smaller K are
    the first of a larger one's. ``images``: uint8 (N, 3, H, W).
    """
    found = {0: predict(predictor, images, device=device).argmax(1)}
    total = torch.zeros(())
    for number in range(1, max(views, default=0) + 1):
        logits = []
        for part in torch.split(images, PART):
            view = random_erasing(auto_augment(as_float(part.to(device)), generator), generator)
            logits.append(predict(predictor, view, device=device))
        total = total + torch.cat(logits).double().softmax(1)
        if number in views:
            found[number] = total.argmax(1)
    return found


def memorisation(runs: Sequence[Run], bench: Bench, most_views: int, images: int | None) -> Iterator[Part]:
    """Accuracy of students of noisy labels on their own training images against the true labels."""
    title = "Memorisation and label correction"
    limit = images or (ON_A_CPU if bench.device.type == "cpu" else None)
    views = sorted({k for k in VIEWS if k <= most_views} | {most_views})
    reasons: list[str] = []
    made = False
    for condition in conditions_of(runs):
        if all(run.record.hashes.label_noise.get(condition) is None for run in runs):
            reasons.append(f"condition {condition} has no label noise")
            continue
        found, failed = collect(runs, lambda run, one: _measure(run, one, bench, views, limit), [condition])
        reasons += failed
        for by_run in found.values():
            made = True
            yield _plot(title, condition, by_run, limit)
    if reasons:
        yield missing(f"{title} of other students" if made else title, reasons)


def _measure(run: Run, condition: str, bench: Bench, views: Sequence[int], limit: int | None) -> list[Recall]:
    labels = bench.training_labels(run, condition)
    some = slice(limit)  # training sets are shuffled, so that the first images are a sample
    predictor, generator = bench.predictor(run, condition), torch.Generator().manual_seed(0)
    with forked_random_numbers(bench.device):
        torch.manual_seed(0)
        predicted = view_predictions(predictor, labels.images[some], views, generator, bench.device)
    return [
        one for k, classes in predicted.items() for one in recall(classes, labels.observed[some], labels.true[some], k)
    ]


def _plot(title: str, condition: str, found: dict[Run, list[Recall]], limit: int | None) -> Plot:
    figure = make_figure(2.9)
    panels = figure.subplots(1, len(GROUPS), sharey=True)
    ks = sorted({one.views for recalls in found.values() for one in recalls})
    rows: list[tuple[Value, ...]] = [
        (run.label, condition, one.views, one.group, one.accuracy, *one.interval, one.n)
        for run, recalls in found.items()
        for one in recalls
    ]
    for axes, group in zip(panels, GROUPS, strict=True):
        for number, (run, recalls) in enumerate(found.items()):
            own = [one for one in recalls if one.group == group]
            places = [ks.index(one.views) + 0.12 * (number - (len(found) - 1) / 2) for one in own]
            errors = [[one.accuracy - one.interval[0] for one in own], [one.interval[1] - one.accuracy for one in own]]
            axes.errorbar(places, [one.accuracy for one in own], yerr=errors, fmt=MARKERS[number], ls=":",
                          color=COLOURS[number], label=run.label, clip_on=False)  # fmt: skip
        axes.set_xticks(range(len(ks)), [str(k) if k else "image" for k in ks])
        axes.set_xlabel("views K")
        axes.set_title(f"{group}, n = {own[0].n:,}")
        axes.set_xlim(-0.5, len(ks) - 0.5)
    in_percent(panels[0], "accuracy against\nthe true labels (%)")
    if len(found) > 1:
        legend_outside(figure, panels[0], "lower")
    first = next(iter(found.values()))
    total, wrong = first[2].n, first[1].n / first[2].n
    part = f"on the first {total:,} of the shuffled training images" if limit else f"on all {total:,} training images"
    return Plot(
        f"memorisation-{condition}",
        f"{title}, trained under {plain(condition)}",
        figure,
        f"Accuracy against the true labels {part}, of which {percent(wrong)} % are mislabelled, with 95 % intervals "
        f"(Wilson): of the image as it is, and of the mean softmax output over K views (AutoAugment, random erasing). "
        f"What is right on mislabelled images was corrected, what is wrong there may be remembered; overall = "
        f"E' mislabelled + (1 \N{MINUS SIGN} E') clean-labelled (Shon et al. 2024, Table 1).",
        Table(("run", "condition", "views", "images", "accuracy", "ci_low", "ci_high", "n"), tuple(rows)),
    )
