"""Noisy collaboration (Arani et al. 2021): distillation with noise in the teacher, on images, labels or logits."""

from __future__ import annotations

from pathlib import Path

import kdbench
from kdbench_noisy_collaboration.claims import CLAIMS
from kdbench_noisy_collaboration.fickle_teacher import fickle_teacher
from kdbench_noisy_collaboration.fixed_corruption import corrupted_labels, fixed_label_corruption
from kdbench_noisy_collaboration.input_noise import gaussian_augmentation, soft_randomization
from kdbench_noisy_collaboration.signal_noise import signal_dependent_noise
from kdbench_noisy_collaboration.swapping import swap_all, swap_top2
from kdbench_noisy_collaboration.target_variability import messy_collaboration, target_variability


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [
        fickle_teacher,
        soft_randomization,
        gaussian_augmentation,
        messy_collaboration,
        target_variability,
        fixed_label_corruption,
        corrupted_labels,
        signal_dependent_noise,
        swap_top2,
        swap_all,
    ]


@kdbench.hookimpl
def kdbench_register_claims() -> list[kdbench.Claim]:
    return CLAIMS


@kdbench.hookimpl
def kdbench_register_reproductions() -> list[Path]:
    return [Path(__file__).with_name("reproductions")]
