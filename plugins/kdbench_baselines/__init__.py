"""Baselines: what every other method is compared with."""

from __future__ import annotations

import kdbench
from kdbench_baselines.cross_entropy import ce


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [ce]
