"""Which classes a student takes for which, from the per-example results of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES: Final = 1000
"""Results of more are left out: a table of them is no help, and its size comes from a file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """How often images of one class were taken for another."""

    counts: NDArray[np.int64]
    """(C, C): true classes in rows, answers in columns."""

    @property
    def n(self) -> int:
        """Images."""
        return int(self.counts.sum())

    @property
    def of_class(self) -> NDArray[np.int64]:
        """Images of each class (C,)."""
        images: NDArray[np.int64] = self.counts.sum(axis=1)
        return images

    def shares(self) -> NDArray[np.float64]:
        """Of the images of each class, the share that was taken for each (C, C); NaN in the row of a class without any.

        >>> Confusion(np.array([[3, 1], [0, 2]])).shares().tolist()
        [[0.75, 0.25], [0.0, 1.0]]
        """
        each = self.of_class[:, None]
        found: NDArray[np.float64] = np.full(self.counts.shape, np.nan)
        return np.divide(self.counts, each, out=found, where=each > 0)

    def mistakes(self, most: int) -> list[tuple[int, int, int]]:
        """The commonest: true class, answer and number of images, largest first.

        >>> Confusion(np.array([[3, 1], [4, 2]])).mistakes(1)
        [(1, 0, 4)]
        """
        wrong = self.counts * (1 - np.eye(len(self.counts), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        found = [(int(true), int(answer)) for true, answer in zip(*np.unravel_index(order, wrong.shape), strict=True)]
        return [(true, answer, int(wrong[true, answer])) for true, answer in found if wrong[true, answer]]


def confusion_of(predictions: Mapping[str, NDArray[Any]], condition: str) -> Confusion | None:
    """Of one condition's student on the test images, from a run's predictions; None where they do not hold it.

    They are the arrays ``<condition>/<any task>/answer`` and ``label``, as ``EvaluationContext.answers`` keeps them.
    """
    for name in predictions:
        own, _, kind = name.rpartition("/")
        if kind != "answer" or own.count("/") != 1 or not own.startswith(f"{condition}/"):
            continue
        answer, label = predictions[name], predictions.get(f"{own}/label")
        if label is not None and answer.shape == label.shape and _classes(answer) and _classes(label):
            size = 1 + int(max(answer.max(), label.max()))
            pairs = label.astype(np.int64) * size + answer
            return Confusion(np.bincount(pairs, minlength=size * size).reshape(size, size))
    return None


def pooled(found: Iterable[Confusion]) -> Confusion | None:
    """That of several students together, such as the seeds of a method; None for none."""
    counts = [one.counts for one in found]
    if not counts:
        return None
    size = max(len(one) for one in counts)
    return Confusion(np.sum([np.pad(one, (0, size - len(one))) for one in counts], axis=0))


def _classes(values: NDArray[Any]) -> bool:
    """Whether an untrusted array is of class numbers (n,)."""
    return values.ndim == 1 and values.dtype.kind in "iu" and len(values) > 0 and bool(
        values.min() >= 0 and values.max() < MOST_CLASSES
    )  # fmt: skip
