"""Self-label correction, and selective mutual distillation of peers that correct their labels (Li et al. 2023)."""

from __future__ import annotations

from pathlib import Path

import kdbench
from kdbench_smkd.claims import CLAIMS
from kdbench_smkd.mylc import mylc
from kdbench_smkd.proselflc import proselflc
from kdbench_smkd.smkd import smkd_p, smkd_s


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [proselflc, mylc, smkd_s, smkd_p]


@kdbench.hookimpl
def kdbench_register_claims() -> list[kdbench.Claim]:
    return CLAIMS


@kdbench.hookimpl
def kdbench_register_reproductions() -> list[Path]:
    return [Path(__file__).with_name("reproductions")]
