"""What a student trained on noisy labels remembers and corrects (Shon et al. 2024, Table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from kdbench.devices import forked_random_numbers
from kdbench.report.bench import Bench
from kdbench.report.collect import collect, conditions_of
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import (
    COLOURS,
    MARKERS,
    draw_intervals,
    in_percent,
    legend_outside,
    make_figure,
    percent,
    plain,
)
from kdbench.tasks.memorisation import GROUPS, Recall, recall, view_probabilities

VIEWS = (1, 8, 32)
"""Numbers of views that are reported; the paper does not say how many it averages."""
ON_A_CPU = 2000
"""Training images that are looked at on a CPU unless more are asked for."""


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
        found = view_probabilities(predictor, labels.images[some], views, generator, bench.device)
    observed, true = labels.observed[some], labels.true[some]
    return [one for k, probabilities in found.items() for one in recall(probabilities.argmax(1), observed, true, k)]


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
            axes.plot(places, [one.accuracy for one in own], MARKERS[number], ls=":", color=COLOURS[number],
                      label=run.label, clip_on=False)  # fmt: skip
            ends = [[one.interval[side] for one in own] for side in (0, 1)]
            draw_intervals(axes, places, *ends, ecolor=COLOURS[number], clip_on=False)
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
