"""A network that follows another as the moving average of its weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kdbench.errors import KdbenchError


@torch.no_grad()
def update_average(
    average: nn.Module, current: nn.Module, decay: float, *, buffers: Literal["copy", "average", "keep"] = "copy"
) -> None:
    """One step of an exponential moving average, in place: theta' <- decay theta' + (1 - decay) theta.

    Over all parameters at once. ``buffers``, batch norm's statistics, are copied, although they are of other weights
    than the average's; averaged likewise (integers copied); or kept, for an average that is run in train mode and takes
    its own. ``average`` is usually ``copy.deepcopy(current).requires_grad_(False)``. Source: Tarvainen & Valpola 2017,
    mean teacher, equation 1; in their code the teacher has statistics of its own. Raises ``KdbenchError`` for a decay
    outside [0, 1] and networks of different shapes.

    >>> average, current = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> _ = nn.init.constant_(average.weight, 1.0), nn.init.constant_(current.weight, 2.0)
    >>> update_average(average, current, 0.75)
    >>> average.weight.item()
    1.25
    """
    if not 0.0 <= decay <= 1.0:
        raise KdbenchError(f"update_average found decay={decay}, expected a number in [0, 1]", "0 copies, 1 keeps")
    averaged: tuple[list[Tensor], list[Tensor]] = [*average.parameters()], [*current.parameters()]
    noted = list(average.buffers()), list(current.buffers())
    if any([t.shape for t in ours] != [t.shape for t in theirs] for ours, theirs in (averaged, noted)):
        raise KdbenchError("update_average found two different architectures", "average a copy of the network itself")
    if buffers == "average":
        averaged = averaged[0] + _floats(noted[0]), averaged[1] + _floats(noted[1])
    if averaged[0]:
        get_ema_multi_avg_fn(decay)(*averaged, 0)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if buffers == "keep":
        return
    for kind in {tensor.dtype for tensor in noted[0]}:  # one kernel copies many tensors of one kind
        if buffers == "copy" or not kind.is_floating_point:
            copied, source = ([tensor for tensor in group if tensor.dtype == kind] for group in noted)
            torch._foreach_copy_(copied, source)


def _floats(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]
