"""What Arani et al. 2021 claim, as comparisons. The attack is the suite's; the rest was fixed before they were made."""

from __future__ import annotations

import kdbench
from kdbench_noisy_collaboration.common import PAPER

AUTOATTACK = {"attack": {"attacks": ["autoattack"], "eps": 2 / 255, "subset": 200}}
"""With the budget of the suite's PGD; see there why it is smaller than the paper's."""

CLEAN = kdbench.Measure("clean", "clean", "accuracy")
UNDER_PGD = kdbench.Measure("clean", "pgd", "robust_accuracy", {"variant": "pgd-std", "steps": 20, "rule": "worst"})
UNDER_AUTOATTACK = kdbench.Measure("clean", "attack", "robust_accuracy", {"attack": "autoattack"})

DISTILLED = kdbench.MethodConfig("kd")
SOFT_RANDOMIZATION = kdbench.MethodConfig("soft-randomization")
GAUSSIAN = kdbench.MethodConfig("gaussian-augmentation")
CORRUPTED = [kdbench.MethodConfig("messy-collaboration", {"variant": variant}) for variant in ("T", "TS")]

CLAIMS = [
    kdbench.Claim(
        "soft-randomization",
        PAPER,
        "Soft randomization beats Gaussian augmentation under PGD at equal clean accuracy (Fig. 4, sigma .05). Here "
        "under the suite's PGD-20 with eps 2/255; equal means within 2 points.",
        [
            kdbench.Comparison(SOFT_RANDOMIZATION, GAUSSIAN, UNDER_PGD, "higher"),
            kdbench.Comparison(SOFT_RANDOMIZATION, GAUSSIAN, CLEAN, "equal", margin=0.02),
        ],
    ),
    kdbench.Claim(
        "corrupted-teacher-pgd",
        PAPER,
        "A teacher trained on labels corrupted anew at each visit raises its student's accuracy under PGD over plain "
        "distillation (Fig. 7; variants T and TS, rate .5). Here under the suite's PGD-20 with eps 2/255.",
        [kdbench.Comparison(student, DISTILLED, UNDER_PGD, "higher") for student in CORRUPTED],
    ),
    kdbench.Claim(
        "corrupted-teacher-autoattack",
        PAPER,
        "AutoAttack agrees that a corrupted teacher makes its student robust. The paper does not say so: flattened "
        "logits can mislead PGD on cross-entropy alone. AutoAttack (standard) with eps 2/255.",
        [kdbench.Comparison(student, DISTILLED, UNDER_AUTOATTACK, "higher") for student in CORRUPTED],
        settings=AUTOATTACK,
    ),
    kdbench.Claim(
        "kd-label-noise",
        PAPER,
        "Distillation beats training without a teacher under label noise, though its teacher learned from the same "
        "wrong labels (Fig. 10). Here at 40 % symmetric noise.",
        [
            kdbench.Comparison(
                DISTILLED, kdbench.MethodConfig("ce"), kdbench.Measure("sym-40", "noisy_label", "accuracy"), "higher"
            )
        ],
    ),
]
