"""What Shon et al. 2024 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

import kdbench

PAPER = "Shon et al. 2024, Neural Vicinal Risk Minimization"
SUITE = "cifar10-claims"
STRONG = {"view": "strong"}
"""The paper gives the strong view to NRD and to its rivals."""
NRD, CE, GJS = (kdbench.MethodConfig(name, STRONG) for name in ("nrd", "ce", "gjs"))
OTHERS = [
    kdbench.MethodConfig(name, STRONG) for name in ("bootstrap-soft", "label-smoothing", "sce", "gce", "nce-rce", "js")
]
"""Of the paper's Table 2, beside cross-entropy and GJS."""


def comparisons(condition: str) -> list[kdbench.Comparison]:
    """More accurate than each rival of Table 2, and better calibrated than two of them."""
    accuracy = kdbench.Measure(condition, "noisy_label", "accuracy")
    return [
        *(kdbench.Comparison(NRD, rival, accuracy, "higher") for rival in (CE, GJS, *OTHERS)),
        *(calibrated(condition, rival) for rival in (CE, GJS)),
    ]


def calibrated(condition: str, rival: kdbench.MethodConfig) -> kdbench.Comparison:
    """Better calibrated than a rival."""
    return kdbench.Comparison(NRD, rival, kdbench.Measure(condition, "calibration", "ece", {"bins": 15}), "lower")


def at(rate: int, wrong: str) -> kdbench.Claim:
    """The claim about one rate of Table 2."""
    return kdbench.Claim(
        f"nrd-at-{rate}",
        PAPER,
        f"NRD beats all losses of Table 2 at {rate} % symmetric noise and is better calibrated than cross-entropy and "
        f"GJS (Fig. 5 has cross-entropy alone). All see the strong view, as in the paper. {wrong}",
        comparisons(f"sym-{rate}"),
        suite=SUITE,
    )


CLAIMS = [
    at(20, "18 % of the labels are wrong, as there."),
    at(40, "Here 40 % of the labels are wrong, in the paper 36 %."),
    at(60, "54 % of the labels are wrong, as there."),
    at(80, "72 % of the labels are wrong, as there."),
    kdbench.Claim(
        "nrd-calibration-at-50",
        PAPER,
        "NRD is better calibrated than cross-entropy at 50 % symmetric noise, the middle rate of Fig. 5 (.13 to .31), "
        "whose others are 20 and 80 %. Both see the strong view; 45 % of the labels are wrong, as there.",
        [calibrated("sym-50", CE)],
        suite=SUITE,
    ),
]
