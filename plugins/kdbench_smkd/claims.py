"""What Li et al. 2023 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

import kdbench
from kdbench_smkd.correction import PAPER

MARGIN = 0.01
ACCURACY = kdbench.Measure("sym-40", "noisy_label", "accuracy")
PROGRESSIVE, STATIC = kdbench.MethodConfig("smkd-p"), kdbench.MethodConfig("smkd-s")
ALL, ZERO = kdbench.MethodConfig("smkd-s", {"eta": 1}), kdbench.MethodConfig("smkd-s", {"eta": "inf"})
MORE_IS_BETTER = {"ls": True, "cp": True, "proselflc": False, "mylc": False}
"""Columns of Table I: whether passing on all knowledge beats passing on none (53.63 to 51.53, 53.18 to 51.09) or the
other way round (59.26 to 64.07, 61.11 to 65.04)."""


def column(target: str) -> list[kdbench.Comparison]:
    """The order of one column of Table I, by what peers correct their labels with."""
    corrected = {"self_target": target}
    progressive, static = (kdbench.MethodConfig(name, corrected) for name in ("smkd-p", "smkd-s"))
    every, none = (kdbench.MethodConfig("smkd-s", {**corrected, "eta": eta}) for eta in (1, "inf"))
    better, worse = (every, none) if MORE_IS_BETTER[target] else (none, every)
    ordered = [(progressive, static), (static, better), (better, worse)]
    return [kdbench.Comparison(first, second, ACCURACY, "higher") for first, second in ordered]


CLAIMS = [
    kdbench.Claim(
        "smkd-order",
        PAPER,
        "SMKD-P is at least as accurate as SMKD-S, and that as passing on all knowledge or none, under label noise "
        "(Table I, 40 % symmetric). At least means by no more than a point below; one of the two peers is measured.",
        [
            kdbench.Comparison(PROGRESSIVE, STATIC, ACCURACY, "not lower", margin=MARGIN),
            kdbench.Comparison(STATIC, ALL, ACCURACY, "not lower", margin=MARGIN),
            kdbench.Comparison(STATIC, ZERO, ACCURACY, "not lower", margin=MARGIN),
        ],
    ),
    kdbench.Claim(
        "smkd-table-1",
        PAPER,
        "With each of four self-corrections SMKD-P is above SMKD-S, and that above passing on all knowledge and none, "
        "of which all is better with label smoothing and the confidence penalty, none with ProSelfLC and MyLC (Table "
        "I, CIFAR-100 with 40 % symmetric noise). Here on CIFAR-10, and one of the two peers is measured.",
        [comparison for target in MORE_IS_BETTER for comparison in column(target)],
    ),
]
