"""Cross-entropy on the labels as observed."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

import kdbench


@kdbench.method("ce", recipes=Path(__file__).with_name("recipes.toml"))
def ce(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    """Cross-entropy on the observed labels: no teacher, no defence."""
    return kdbench.losses.cross_entropy(ctx.student(batch.images), batch.labels).mean()
