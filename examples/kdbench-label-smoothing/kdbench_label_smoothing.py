"""Label smoothing (Szegedy et al. 2016) as a kdbench method."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

import kdbench


@kdbench.method("label-smoothing", paper="https://arxiv.org/abs/1512.00567")
def label_smoothing(
    batch: kdbench.Batch,
    ctx: kdbench.Context,
    *,
    epsilon: Annotated[float, Field(ge=0, le=1, description="weight of the uniform distribution")] = 0.1,
) -> Tensor:
    """Cross-entropy with (1 - epsilon) one-hot + epsilon uniform."""
    return F.cross_entropy(ctx.student(batch.images), batch.labels, label_smoothing=epsilon)


@kdbench.hookimpl
def kdbench_register_methods() -> list[kdbench.MethodSpec]:
    return [label_smoothing]
