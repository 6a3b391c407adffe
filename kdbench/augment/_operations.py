"""One drawn operation for each image: draws become kernels and parameters, and a kernel runs once on all its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Levels (n,3,H,W) and parameters (n,6) to levels: see ``_levels`` and ``_geometry``."""


@dataclass(frozen=True)
class Draw:
    """What chance decided, for all steps (S) and images (N) at once."""

    amount: Tensor
    """Strength in the unit of the policy, float32 (S,N)."""
    sign: Tensor
    """-1 or 1, float32 (S,N)."""
    place: Tensor
    """Two uniform numbers on [0,1), float32 (S,N,2)."""
    height: int
    width: int


@dataclass(frozen=True)
class Operation:
    """A named entry of a policy's list."""

    name: str
    kernel: Kernel
    parameters: Callable[[Draw], Tensor]
    """From the draws to the kernel's parameters, float32 (S,N,6)."""


def scalar(value: Tensor) -> Tensor:
    """The parameters of a kernel that reads one number; (...) to (...,6)."""
    return torch.nn.functional.pad(value.unsqueeze(-1), (0, 5))


def nothing(draw: Draw) -> Tensor:
    """The parameters of a kernel that reads none."""
    return scalar(torch.zeros_like(draw.amount))


def apply_operations(levels: Tensor, operations: Sequence[Operation], chosen: Tensor, draw: Draw) -> Tensor:
    """Apply S steps of operations to N images: ``chosen`` is int64 (S,N), an index into ``operations``, or
    ``len(operations)`` for none.

    The images of a step are sorted by kernel, so that each kernel runs once on one slice; the host waits for the
    device once, for the sizes of all slices.
    """
    steps, batch = chosen.shape
    kernels = list(dict.fromkeys(operation.kernel for operation in operations))
    kernel_of = [kernels.index(operation.kernel) for operation in operations] + [len(kernels)]
    kernel_ids = torch.tensor(kernel_of, device=chosen.device)[chosen]
    order = kernel_ids.argsort(dim=1, stable=True)
    counts = (kernel_ids.unsqueeze(-1) == torch.arange(len(kernels), device=chosen.device)).sum(dim=1).tolist()
    candidates = torch.stack([operation.parameters(draw) for operation in operations])
    which = chosen.clamp(max=len(operations) - 1).view(1, steps, batch, 1).expand(1, -1, -1, 6)
    parameters = candidates.gather(0, which)[0]
    for step in range(steps):
        levels = _run_step(levels, kernels, counts[step], order[step], parameters[step])
    return levels


def _run_step(levels: Tensor, kernels: list[Kernel], counts: list[int], order: Tensor, parameters: Tensor) -> Tensor:
    result = levels.clone()
    start = 0
    for kernel, count in zip(kernels, counts, strict=True):
        if count:
            members = order[start : start + count]
            result[members] = kernel(levels[members], parameters[members])
        start += count
    return result
