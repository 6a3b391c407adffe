"""Neural vicinal risk minimisation (Shon et al. 2024)."""

from __future__ import annotations

from pathlib import Path

import kdbench
from kdbench_nrd.claims import CLAIMS
from kdbench_nrd.nrd import nrd


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [nrd]


@kdbench.hookimpl
def kdbench_register_claims() -> list[kdbench.Claim]:
    return CLAIMS


@kdbench.hookimpl
def kdbench_register_reproductions() -> list[Path]:
    return [Path(__file__).with_name("reproductions")]
