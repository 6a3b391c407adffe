"""What Li et al. 2023 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

import kdbench
from kdbench_smkd.correction import PAPER

MARGIN = 0.01
ACCURACY = kdbench.Measure("sym-40", "noisy_label", "accuracy")
PROGRESSIVE, STATIC = kdbench.MethodConfig("smkd-p"), kdbench.MethodConfig("smkd-s")
ALL, ZERO = kdbench.MethodConfig("smkd-s", {"eta": 1}), kdbench.MethodConfig("smkd-s", {"eta": "inf"})

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
    )
]
