from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from kdbench.results.confusion import Confusion, confusion_of, pooled


def test_counts_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label, answer = rng.integers(0, 7, 300).astype(np.int16), rng.integers(0, 7, 300).astype(np.int16)
    predictions = {"clean/clean/answer": answer, "clean/clean/label": label, "sym-40/noisy/answer": label}
    found = confusion_of(predictions, "clean")
    assert found is not None
    assert found.counts.tolist() == confusion_matrix(label, answer).tolist()
    assert found.n == 300
    assert found.shares().diagonal() == pytest.approx(
        confusion_matrix(label, answer, normalize="true").diagonal(), abs=1e-12
    )
    assert confusion_of(predictions, "sym-40") is None, "labels are lacking"


def test_a_wide_product_of_small_types_does_not_overflow() -> None:
    label = np.array([999, 0], dtype=np.int16)
    found = confusion_of({"c/t/answer": label, "c/t/label": label}, "c")
    assert found is not None
    assert found.counts.diagonal().nonzero()[0].tolist() == [0, 999]


@pytest.mark.parametrize(
    "answer",
    [
        np.array([0, -1]),
        np.array([0, 10**9]),
        np.array([0.0, 1.0]),
        np.zeros((2, 2), dtype=int),
        np.zeros(3, dtype=int),
    ],
)
def test_what_a_file_may_hold_instead_of_classes_is_no_table(answer: np.ndarray) -> None:
    assert confusion_of({"c/t/answer": answer, "c/t/label": np.array([0, 1])}, "c") is None


def test_only_the_test_images_count_not_those_of_another_set() -> None:
    classes = np.array([0, 1])
    assert confusion_of({"clean/ood/fonts/answer": classes, "clean/ood/fonts/label": classes}, "clean") is None


def test_seeds_are_added_up_though_one_never_answers_the_last_class() -> None:
    found = pooled([Confusion(np.array([[1, 0], [2, 3]])), Confusion(np.array([[4]]))])
    assert found is not None
    assert found.counts.tolist() == [[5, 0], [2, 3]]
    assert pooled([]) is None
