"""Knowledge distillation from a trained teacher."""

from __future__ import annotations

import kdbench
from kdbench_distillation.hinton import kd


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [kd]
