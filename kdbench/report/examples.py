"""Test images as a student sees them: plain, adversarial and corrupted, with what it says of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kdbench import corruptions
from kdbench.attacks import pgd
from kdbench.data import stratified_subset
from kdbench.errors import KdbenchError
from kdbench.inference.model import as_float
from kdbench.inference.prediction import predict
from kdbench.report.bench import Bench
from kdbench.report.parts import Part, Plot, Table, Value, missing
from kdbench.report.runs import Run
from kdbench.report.style import make_figure, plain
from kdbench.results.wording import radius

IMAGES = 6
EPS, STEP_SIZE, STEPS = 0.031, 2 / 255, 20
"""The usual attack of the standard suites' ranked column, from one start; a suite of another radius has that, and steps
in proportion."""
CORRUPTIONS = (("gaussian_noise", 3), ("defocus_blur", 5), ("fog", 5), ("pixelate", 5), ("jpeg_compression", 5))
SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class ImageColumn:
    """One variant of the images and what a student answers to it."""

    title: str
    images: Tensor
    """float32 (n, 3, H, W) in [0, 1]."""
    predicted: Tensor
    """int64 (n,)."""
    confidence: Tensor
    """Largest softmax output, (n,)."""


def examples(runs: Sequence[Run], bench: Bench) -> Iterator[Part]:
    """A grid for each run, of the student of its first condition."""
    title = "Examples"
    reasons = []
    for number, run in enumerate(runs):
        condition = run.conditions[0]
        try:
            shown, labels = _columns(run, condition, bench)
        except KdbenchError as error:
            reasons.append(error.message)
            continue
        key, heading, budget = f"examples-{number + 1}", f"{title}: {run.label}", _budget(run)
        yield _plot(key, heading, condition, budget, shown, labels, bench.class_names)
    if reasons:
        yield missing(title, reasons)


def _budget(run: Run) -> tuple[float, float]:
    """Radius and step size in [0, 1] pixels."""
    attack = run.record.spec.suite.attack
    eps = EPS if attack is None else attack.eps
    return eps, STEP_SIZE * (eps / EPS)


def _columns(run: Run, condition: str, bench: Bench) -> tuple[list[ImageColumn], Tensor]:
    test, predictor, device = bench.dataset.test, bench.predictor(run, condition), bench.device
    index = stratified_subset(test.labels, min(IMAGES, len(test)), SEED)
    images, labels = test.images[index], test.labels[index]
    eps, step_size = _budget(run)
    attacked = pgd(
        predictor, images.to(device), labels.to(device), eps=eps, step_size=step_size, steps=STEPS,
        generator=torch.Generator().manual_seed(SEED), keep_examples=True,
    ).examples  # fmt: skip
    assert attacked is not None
    variants = {
        "as it is": as_float(images),
        f"PGD-{STEPS}\n\N{GREEK SMALL LETTER EPSILON} = {radius(eps)}": attacked.cpu(),
    }
    for name, severity in CORRUPTIONS if images.shape[-1] in corruptions.SIZES else ():
        generator = torch.Generator().manual_seed(SEED)
        corrupted = corruptions.corrupt(images, name, severity, generator=generator)
        variants[f"{name.replace('_', ' ')},\nseverity {severity}"] = as_float(corrupted)
    columns = []
    for title, pixels in variants.items():
        confidence, predicted = predict(predictor, pixels, device=device).softmax(1).max(1)
        columns.append(ImageColumn(title, pixels, predicted, confidence))
    return columns, labels


def _plot(
    key: str,
    title: str,
    condition: str,
    budget: tuple[float, float],
    shown: Sequence[ImageColumn],
    labels: Tensor,
    class_names: Sequence[str],
) -> Plot:
    figure = make_figure(1.13 * len(labels) + 0.5)
    panels = figure.subplots(len(labels), len(shown), squeeze=False)
    rows: list[tuple[Value, ...]] = []
    for column, line in zip(shown, panels.T, strict=True):
        line[0].set_title(column.title, fontsize=8, fontweight="normal", loc="center")
        for image, axes in enumerate(line):
            true, said = int(labels[image]), int(column.predicted[image])
            sure = float(column.confidence[image])
            axes.imshow(column.images[image].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)
            right = said == true
            for spine in axes.spines.values():
                spine.set(visible=not right, color="#D55E00", linewidth=1.8, linestyle="--")
            axes.set_xlabel(f"{'' if right else NOT} {plain(class_names[said], 11)}\n{100 * sure:.0f} %".strip(),
                            fontsize=8, labelpad=2, color="black" if right else "#A33F00")  # fmt: skip
            variant = " ".join(column.title.split())
            rows.append((image, class_names[true], variant, class_names[said], sure, right))
    for axes, true in zip(panels[:, 0], labels.tolist(), strict=True):
        axes.set_ylabel(plain(class_names[true], 12), fontsize=8.5, fontweight="bold")
    return Plot(
        key,
        title,
        figure,
        f"{len(labels)} test images, drawn evenly over the classes with a fixed seed whatever the student makes of "
        f"them; left the true class, below each image the predicted class and its softmax output. A dashed frame and "
        f"{NOT}: wrong. Student trained under {plain(condition)}; PGD from one random start with {STEPS} steps of "
        f"{radius(budget[1])} and \N{GREEK SMALL LETTER EPSILON} = {radius(budget[0])} in pixels of [0, 1]. A few "
        f"images show, they do not measure.",
        Table(("image", "true_class", "variant", "predicted", "confidence", "right"), tuple(rows)),
    )


NOT = "\N{BALLOT X}"
