"""All 95 variants of the corruptions, batched, against the same definition one image at a time."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from kdbench.corruptions import DETERMINISTIC, NAMES, SEVERITIES, corrupt
from kdbench.inference.prediction import predict
from tests.corruptions import oracle
from tests.corruptions.conftest import channels_first, channels_last, fixed_model, read_photographs

VARIANTS = [(name, severity) for name in NAMES for severity in SEVERITIES]
PER_CLASS = 500
TIMED = slice(None, None, 5)
"""1,000 of the 5,000 photographs."""
PEERS = slice(None, None, 50)
"""100 of them."""


def corrupted(images: Tensor, name: str, severity: int) -> Tensor:
    """As the corruption task asks for them: draws from a CPU generator, wherever the images are."""
    return corrupt(images, name, severity, generator=torch.Generator().manual_seed(severity))


def test_all_variants(side_by_side: Callable[..., float], data_dir: Path, device: torch.device) -> None:
    facts = agreement(data_dir)
    photographs, _ = read_photographs(data_dir, PER_CLASS)
    images, few = photographs[TIMED].to(device), channels_last(photographs[PEERS])

    def ours() -> None:
        for name, severity in VARIANTS:
            corrupted(images, name, severity)

    def one_by_one() -> None:
        for name, severity in VARIANTS:
            oracle.corrupt_all(few, name, severity, severity)

    ours()  # builds the matrices that stay
    side_by_side(
        "all 95 corruption variants of one image set", ours, one_by_one,
        peer_name="one image at a time (NumPy, SciPy, scikit-image, OpenCV, Pillow)", n=len(images),
        reach="at least 10x", device=device, per=len(few) / len(images), warm_up=False, facts=facts,
    )  # fmt: skip


@lru_cache
def agreement(data_dir: Path) -> dict[str, float | int | str]:
    """How far ours are from the reference on 5,000 photographs, each with random draws of its own."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        cells = [cell for found in pool.map(disagreements, repeat(data_dir), NAMES) for cell in found]
    difference = max(mean for _, mean, _ in cells)
    gap, worst = max((gap, where) for where, _, gap in cells)
    assert difference <= 1
    assert gap <= 2.5
    return {
        "largest mean difference of a deterministic one, levels of 255": round(difference, 3),
        "largest accuracy gap, points": round(gap, 2),
        "where": worst,
        "mean accuracy gap, points": round(statistics.mean(gap for _, _, gap in cells), 2),
        "accuracies are over": 10 * PER_CLASS,
    }


def disagreements(data_dir: Path, name: str) -> list[tuple[str, float, float]]:
    """By severity: which one, the pixels' mean difference (of a deterministic one) and the accuracies', in points."""
    torch.set_num_threads(1)
    images, labels = read_photographs(data_dir, PER_CLASS)
    if name in DETERMINISTIC:  # hardly a pixel differs: a tenth will do
        images, labels = images[::10], labels[::10]
    model, found = fixed_model(), []
    for severity in SEVERITIES:
        ours = corrupted(images, name, severity)
        theirs = channels_first(oracle.corrupt_all(channels_last(images), name, severity, seed=7))
        right = [predict(model, kind, device=labels.device).argmax(1) == labels for kind in (ours, theirs)]
        difference = (ours.double() - theirs.double()).abs().mean().item() if name in DETERMINISTIC else 0.0
        gap = abs(right[0].double().mean() - right[1].double().mean()).item()
        found.append((f"{name} {severity}", difference, 100 * gap))
    return found
