"""Baselines: what every other method is compared with. Most are a loss of predictions and the labels as observed."""

from __future__ import annotations

import kdbench
from kdbench_baselines.active_passive import nce_rce
from kdbench_baselines.bootstrapping import boot_hard, boot_soft
from kdbench_baselines.confidence_penalty import cp
from kdbench_baselines.critical_parameters import cdr
from kdbench_baselines.cross_entropy import ce
from kdbench_baselines.determinant import dmi
from kdbench_baselines.early_stopping import early_stopping
from kdbench_baselines.forward import forward
from kdbench_baselines.generalized_cross_entropy import gce
from kdbench_baselines.jensen_shannon import gjs, js
from kdbench_baselines.joint_optimization import joint, joint_relabelling
from kdbench_baselines.label_smoothing import ls
from kdbench_baselines.mean_absolute_error import mae
from kdbench_baselines.symmetric_cross_entropy import sce
from kdbench_baselines.t_revision import t_revision


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    losses = [ce, ls, cp, boot_soft, boot_hard, mae, gce, sce, nce_rce, js, gjs]
    return [*losses, early_stopping, forward, t_revision, dmi, cdr, joint_relabelling, joint]
