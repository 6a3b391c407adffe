"""What Katz & Reches 2022 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

import kdbench
from kdbench_smoothing.distilled import PAPER
from kdbench_smoothing.teacher_transfer import TeacherTransfer

STUDENT = kdbench.MethodConfig("kd-smoothed-adversarial", {"draws": 8})
ON_STUDENT = kdbench.Measure("clean", TeacherTransfer.name, "accuracy", {"source": "student"})

CLAIMS = [
    kdbench.Claim(
        "transfer-to-cni",
        PAPER,
        "Adversarial examples made on the distilled student, which is not random, fool the random CNI teacher nearly "
        "as well as those made on the teacher itself (Table 3), and fool it at all. Here on digits, with a teacher "
        "whose noise starts smaller than published; near means within 5 points of the white-box attack, which averages "
        "its gradients over draws; the teacher is smoothed over 8 draws, in the paper over 512.",
        [
            kdbench.Comparison(
                STUDENT, STUDENT, ON_STUDENT, "equal", margin=0.05, second_setting={"source": "teacher"}
            ),
            kdbench.Comparison(STUDENT, STUDENT, ON_STUDENT, "lower", second_setting={"source": "none"}),
        ],
        suite="digits-claims",
        settings={TeacherTransfer.name: {"subset": None}},
    )
]
