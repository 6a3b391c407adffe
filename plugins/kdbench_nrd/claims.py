"""What Shon et al. 2024 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

import kdbench

PAPER = "Shon et al. 2024, Neural Vicinal Risk Minimization"
STRONG = {"view": "strong"}
"""The paper gives the strong view to NRD and to its rivals."""
NRD = kdbench.MethodConfig("nrd", STRONG)
RIVALS = [kdbench.MethodConfig(name, STRONG) for name in ("ce", "gjs")]


def comparisons(condition: str) -> list[kdbench.Comparison]:
    """More accurate and better calibrated than each rival."""
    accuracy = kdbench.Measure(condition, "noisy_label", "accuracy")
    calibration = kdbench.Measure(condition, "calibration", "ece", {"bins": 15})
    return [
        *(kdbench.Comparison(NRD, rival, accuracy, "higher") for rival in RIVALS),
        *(kdbench.Comparison(NRD, rival, calibration, "lower") for rival in RIVALS),
    ]


CLAIMS = [
    kdbench.Claim(
        "nrd-at-40",
        PAPER,
        "NRD beats cross-entropy and GJS at 40 % symmetric noise and is better calibrated (Table 2, Fig. 5). All see "
        "the strong view, as in the paper. Here 40 % of the labels are wrong, in the paper 36 %.",
        comparisons("sym-40"),
        suite="cifar10-claims",
    ),
    kdbench.Claim(
        "nrd-at-80",
        PAPER,
        "NRD beats cross-entropy and GJS at 80 % symmetric noise and is better calibrated (Table 2, Fig. 5). All see "
        "the strong view and 72 % of the labels are wrong, as in the paper.",
        comparisons("sym-80"),
        suite="cifar10-claims",
    ),
]
