"""One drawn operation for each image: draws become kernels and parameters, and a kernel runs once on all its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdbench.augment._levels import from_levels, to_levels

CPU_IMAGES = 384
"""Images that the CPU works on at a time: few enough for the intermediate results to stay in its caches."""

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


@dataclass(frozen=True)
class PolicyPlan:
    """S steps for N images: what ``apply_operations`` runs on each of them."""

    kernels: list[Kernel]
    kernel_ids: Tensor
    """int64 (S,N), an index into ``kernels``, or their number for none."""
    parameters: Tensor
    """float32 (S,N,6)."""

    def part(self, images: slice | Tensor) -> PolicyPlan:
        """The plan for some of the images."""
        return replace(self, kernel_ids=self.kernel_ids[:, images], parameters=self.parameters[:, images])


def plan_operations(operations: Sequence[Operation], chosen: Tensor, draw: Draw) -> PolicyPlan:
    """From draws to kernels: ``chosen`` is int64 (S,N), an index into ``operations``, or their number for none."""
    kernels = list(dict.fromkeys(operation.kernel for operation in operations))
    kernel_of = [kernels.index(operation.kernel) for operation in operations] + [len(kernels)]
    candidates = torch.stack([operation.parameters(draw) for operation in operations])
    which = chosen.clamp(max=len(operations) - 1)[None, :, :, None].expand(1, -1, -1, 6)
    return PolicyPlan(
        kernels=kernels,
        kernel_ids=torch.tensor(kernel_of, device=chosen.device)[chosen],
        parameters=candidates.gather(0, which)[0],
    )


def parts(images: Tensor, *, copies: int = 1) -> list[slice]:
    """Slices of a batch to work on one after the other, each image in so many copies: all at once except on the CPU."""
    at_once = max(CPU_IMAGES // copies, 1) if images.device.type == "cpu" else max(len(images), 1)
    return [slice(start, start + at_once) for start in range(0, len(images), at_once)]


def augment_levels(images: Tensor, plan: PolicyPlan) -> Tensor:
    """``apply_operations`` to float images in [0,1], by way of the nearest 8-bit levels."""
    augmented = torch.empty_like(images, memory_format=torch.contiguous_format)
    for part in parts(images):
        augmented[part] = from_levels(apply_operations(to_levels(images[part]), plan.part(part)))
    return augmented


def apply_operations(levels: Tensor, plan: PolicyPlan) -> Tensor:
    """Work in ``levels``, float32 (N,3,H,W), and return it.

    The images of a step are sorted by kernel, so that each kernel runs once on one slice; the host waits for the
    device once, for the sizes of all slices.
    """
    order = plan.kernel_ids.argsort(dim=1, stable=True)
    every_kernel = torch.arange(len(plan.kernels), device=levels.device)
    counts = (plan.kernel_ids.unsqueeze(-1) == every_kernel).sum(dim=1).tolist()
    for step, sizes in enumerate(counts):
        start = 0
        for kernel, count in zip(plan.kernels, sizes, strict=True):
            if count:
                members = order[step, start : start + count]
                levels[members] = kernel(levels[members], plan.parameters[step, members])
            start += count
    return levels
