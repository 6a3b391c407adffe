"""Networks with random weights, smoothed over draws, and distilled into one that is not (Katz & Reches 2022)."""

from __future__ import annotations

import kdbench
from kdbench_smoothing.as_published import katz_as_published
from kdbench_smoothing.claims import CLAIMS
from kdbench_smoothing.coloured_noise_injection import cni
from kdbench_smoothing.distilled import kd_smoothed, kd_smoothed_adversarial
from kdbench_smoothing.teacher_transfer import TeacherTransfer
from kdbench_smoothing.transfer_matrix import TransferMatrix


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [cni, kd_smoothed, kd_smoothed_adversarial, katz_as_published]


@kdbench.hookimpl
def kdbench_register_tasks() -> list[kdbench.Task]:
    return [TeacherTransfer(), TransferMatrix()]


@kdbench.hookimpl
def kdbench_register_claims() -> list[kdbench.Claim]:
    return CLAIMS
