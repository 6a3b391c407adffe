"""What Katz & Reches 2022 claim, as comparisons whose settings were fixed before they were made."""

from __future__ import annotations

from typing import Literal

import kdbench
from kdbench_smoothing.smoothed_teacher import PAPER
from kdbench_smoothing.teacher_transfer import TeacherTransfer
from kdbench_smoothing.transfer_matrix import TransferMatrix

SUITE = "digits-claims"
MATRIX = {TransferMatrix.name: {"subset": None}}
NOBODY, TEACHER, STUDENT = "none", "cni", "student"
"""Sources and targets of the transfer matrix."""
HERE = (
    "Here on digits, with a teacher whose noise starts smaller than published and which is smoothed over 8 draws for "
    "its student, in the paper over 512"
)
ADVERSARIAL, CLEAN = (
    {smoothing: kdbench.MethodConfig(method, {"smoothing": smoothing, "draws": 8}) for smoothing in ("votes", "soft")}
    for method in ("kd-smoothed-adversarial", "kd-smoothed")
)
"""Students by how their teacher is smoothed."""
TRANSFERRED = kdbench.MethodConfig("kd-smoothed-adversarial", {"draws": 8})
ON_STUDENT = kdbench.Measure("clean", TeacherTransfer.name, "accuracy", {"source": "student"})


def within(
    student: kdbench.MethodConfig,
    first: tuple[str, str],
    relation: Literal["higher", "lower"],
    second: tuple[str, str],
) -> kdbench.Comparison:
    """Two cells of one student's transfer matrix, source and target each."""
    ours, theirs = ({"source": source, "target": target} for source, target in (first, second))
    measure = kdbench.Measure("clean", TransferMatrix.name, "accuracy", ours)
    return kdbench.Comparison(student, student, measure, relation, second_setting=theirs)


CLAIMS = [
    kdbench.Claim(
        "smoothed-teacher-clean",
        PAPER,
        "A plain student distilled on clean images is more accurate than the smoothed random teacher that it learned "
        f"from (Table 1: 91.21 to 88.68 with votes, 91.22 to 88.53 with soft smoothing). {HERE}; the teacher itself is "
        "judged by votes.",
        [within(student, (NOBODY, STUDENT), "higher", (NOBODY, TEACHER)) for student in CLEAN.values()],
        suite=SUITE,
        settings=MATRIX,
    ),
    kdbench.Claim(
        "smoothed-teacher-robustness",
        PAPER,
        "Adversarial distillation does not carry the teacher's robustness over: under a white-box attack the student "
        "is far less accurate than its smoothed random teacher (Table 2: 46.0 to 63.67 with votes, 45.83 to 63.48 with "
        f"soft smoothing). {HERE}; the attack averages its gradients over draws of the teacher, that of the paper did "
        "not, and the paper's student came of a code with slips.",
        [within(student, (STUDENT, STUDENT), "lower", (TEACHER, TEACHER)) for student in ADVERSARIAL.values()],
        suite=SUITE,
        settings=MATRIX,
    ),
    kdbench.Claim(
        "transfer-to-cni",
        PAPER,
        "Adversarial examples made on the distilled student, which is not random, fool the random CNI teacher nearly "
        "as well as those made on the teacher itself (Table 3), and fool it at all. Here on digits, with a teacher "
        "whose noise starts smaller than published; near means within 5 points of the white-box attack, which averages "
        "its gradients over draws; the teacher is smoothed over 8 draws, in the paper over 512.",
        [
            kdbench.Comparison(
                TRANSFERRED, TRANSFERRED, ON_STUDENT, "equal", margin=0.05, second_setting={"source": "teacher"}
            ),
            kdbench.Comparison(TRANSFERRED, TRANSFERRED, ON_STUDENT, "lower", second_setting={"source": "none"}),
        ],
        suite=SUITE,
        settings={TeacherTransfer.name: {"subset": None}},
    ),
]
