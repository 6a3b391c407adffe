"""The plots of a method's page, as SVG, from the arrays that reports draw too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from kdbench.leaderboard.site.svg import SERIES, Frame, legend, ticks
from kdbench.results.figures import Reliability, StepCurve, TrainingCurves

MOST_POINTS: Final = 1000
"""Of a curve: more than a plot has pixels."""


def step_chart(by_seed: Mapping[int, Sequence[StepCurve]]) -> Markup:
    """Accuracy against the number of attack steps: one line per attack, thin ones for its seeds."""
    lines = [line for of_seed in by_seed.values() for line in of_seed]
    labels = list(dict.fromkeys(line.label for line in lines))[:SERIES]
    last = max(float(line.x.max()) for line in lines)
    top = min(1.0, 1.08 * max(float(line.ci_high.max()) for line in lines))
    frame = Frame((0, last), (0, top), "attack steps k", "accuracy (%)")
    for number, label in enumerate(labels):
        group = [line for line in lines if line.label == label]
        kind = f"s{number}"
        if len(group) == 1:
            only = group[0]
            frame.band(only.x.tolist(), only.ci_low.tolist(), only.ci_high.tolist(), kind)
        for line in group:
            frame.line(line.x, line.value, f"{kind} thin" if len(group) > 1 else kind)
        if len(group) > 1 and len({line.x.tobytes() for line in group}) == 1:
            frame.line(group[0].x, np.mean([line.value for line in group], axis=0), kind)
    svg = frame.svg(f"Accuracy against attack steps for {', '.join(labels)}; the values are among all scores below.")
    return svg + legend(labels)


def reliability_chart(by_seed: Mapping[int, Reliability]) -> Markup:
    """Accuracy by bins of confidence, pooled over seeds, with a dot for each seed; the diagonal is perfect."""
    first = next(iter(by_seed.values()))
    frame = Frame((0, 1), (0, 1), "confidence (%)", "accuracy (%)", width=320, height=300, x_percent=True)
    count = np.sum([diagram.count for diagram in by_seed.values()], axis=0)
    hits = np.sum([np.nan_to_num(d.accuracy) * d.count for d in by_seed.values()], axis=0)
    mass = np.sum([np.nan_to_num(d.confidence) * d.count for d in by_seed.values()], axis=0)
    for low, high, n, hit, confident in zip(first.lower, first.upper, count, hits, mass, strict=True):
        if n:
            frame.bar(low, high, 0, hit / n, "bar")
            frame.bar(low, high, hit / n, confident / n, "gap")
    frame.line((0, 1), (0, 1), "ideal")
    for one in by_seed.values():
        middle = (one.lower + one.upper) / 2
        for x, y, low, high in zip(middle, one.accuracy, one.ci_low, one.ci_high, strict=True):
            if math.isfinite(y):
                frame.point(x, y, "dot")
                if len(by_seed) == 1:
                    frame.line((x, x), (low, high), "whisker")
    diagram = frame.svg("Reliability diagram: accuracy in each bin of confidence; the table below has its numbers.")
    most, total = int(count.max()), int(count.sum())
    counts = Frame((0, 1), (0, max(most, 1) / max(total, 1)), "", "images (%)", width=320, height=110, x_percent=True)
    for low, high, n in zip(first.lower, first.upper, count, strict=True):
        counts.bar(low, high, 0, float(n) / max(total, 1), "count")
    return diagram + counts.svg(f"Share of images in each bin of confidence: {total:,} in all, at most {most:,}.")


def curve_chart(curves: Mapping[int, TrainingCurves], name: str, title: str, *, percent: bool = False) -> Markup:
    """One number of the training log against the epoch, one line per seed; of a test accuracy also peak and end."""
    lines = {seed: (curve.epoch, curve.series[name]) for seed, curve in curves.items() if name in curve.series}
    known = np.concatenate([values[np.isfinite(values)] for _, values in lines.values()])
    if not len(known):
        return Markup("")
    low, high = (0.0, min(1.0, 1.1 * float(known.max()))) if percent else _padded(known)
    last = max(int(epochs[-1]) for epochs, _ in lines.values())
    whole = [tick for tick in ticks(1, max(last, 2)) if tick == int(tick)]
    frame = Frame((1, max(last, 2)), (low, high or 1.0), "epoch", title, percent=percent, x_ticks=[1, *whole])
    for number, (seed, (epochs, values)) in enumerate(lines.items()):
        every = 1 + len(epochs) // MOST_POINTS
        frame.line(epochs[::every], values[::every], f"s{number % SERIES}")
        fall = curves[seed].overfitting() if percent else None
        if fall:
            note = (
                f"seed {seed}: {100 * fall.peak:.1f} % at epoch {fall.peak_epoch}, {100 * fall.last:.1f} % at the end"
            )
            frame.point(fall.peak_epoch, fall.peak, f"peak p{number % SERIES}", note)
            frame.point(fall.last_epoch, fall.last, f"end p{number % SERIES}", note)
    svg = frame.svg(f"{title} against epoch, {len(lines)} seed(s), from {known.min():.3g} to {known.max():.3g}.")
    return svg + legend([f"seed {seed}" for seed in lines])


def _padded(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.4 * high else low - room), high + room


def bulk(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale for most of the values: those within one and a half interquartile ranges of the middle half
    (Tukey 1977), so that one far away does not press all others together.

    >>> bulk([1.0, 2.0, 3.0, 4.0, 100.0])
    (1.0, 4.0)
    """
    if not values:
        return 0.0, 1.0
    first, third = np.quantile(values, (0.25, 0.75))
    reach = 1.5 * (third - first)
    within = [value for value in values if first - reach <= value <= third + reach]
    return min(within), max(within)


def seed_strip(
    values: Sequence[float], low: float, high: float, mean: float, scale: tuple[float, float],
    others: Sequence[float] = (),
) -> Markup:  # fmt: skip
    """Seeds as dots over the interval of their mean, 120 x 16, on the scale of its axis; dashed for one seed.

    What is beyond the scale stands at its end. ``others``: scores of other methods, faint.
    """
    left, right = scale

    def at(value: float) -> str:
        return f"{6 + 108 * min(1.0, max(0.0, (value - left) / ((right - left) or 1))):.1f}"

    far = "".join(f'<circle class="othersone" cx="{at(value)}" cy="8" r="1.5"/>' for value in others)
    dots = "".join(f'<circle class="seed" cx="{at(value)}" cy="8" r="3"/>' for value in values)
    return Markup(  # numbers alone
        '<svg class="strip" viewBox="0 0 120 16" aria-hidden="true">'
        f'{far}<path class="whisker{" dashed" * (len(values) == 1)}" d="M{at(low)} 8H{at(high)}"/>{dots}'
        f'<path class="mean" d="M{at(mean)} 2v12"/></svg>'
    )
