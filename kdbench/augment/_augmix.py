"""AugMix (Hendrycks et al. 2020): a random convex mixture of randomly chained operations with the image itself.

The nine operations share nothing with the corruptions of CIFAR-C. Levels, rounding and resampling are those of
google-research/augmix; the consistency loss of the paper isn't part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.augment import _geometry as geometry
from kdbench.augment import _levels as levels
from kdbench.augment._crop import check_images
from kdbench.augment._operations import (
    Draw,
    Operation,
    PolicyPlan,
    apply_operations,
    nothing,
    parts,
    plan_operations,
    scalar,
)
from kdbench.augment._random import dirichlet, integers, signs, uniform
from kdbench.devices import cpu_without_float64
from kdbench.errors import KdbenchError

MAX_DEPTH = 3


def _whole(draw: Draw, maximum: float) -> Tensor:
    """The level (0..10) on a scale to ``maximum``, cut to a whole number."""
    return (draw.amount * maximum / 10.0).floor()


OPERATIONS = (
    Operation("autocontrast", levels.autocontrast, nothing),
    Operation("equalize", levels.equalize, nothing),
    Operation("posterize", levels.posterize, lambda draw: scalar((4 - _whole(draw, 4)).clamp(min=1))),
    Operation(
        "rotate",
        geometry.warp_bilinear,
        lambda draw: geometry.rotation(draw.sign * _whole(draw, 30), draw.height, draw.width),
    ),
    Operation("solarize", levels.solarize, lambda draw: scalar(256 - _whole(draw, 256))),
    Operation("shear_x", geometry.warp_bilinear, lambda draw: geometry.shear_x(draw.sign * draw.amount * 0.03)),
    Operation("shear_y", geometry.warp_bilinear, lambda draw: geometry.shear_y(draw.sign * draw.amount * 0.03)),
    Operation(
        "translate_x",
        geometry.warp_bilinear,
        lambda draw: geometry.translate_x(draw.sign * _whole(draw, draw.width / 3)),
    ),
    Operation(
        "translate_y",
        geometry.warp_bilinear,
        lambda draw: geometry.translate_y(draw.sign * _whole(draw, draw.height / 3)),
    ),
)
"""In the order of the original list; a draw picks one of the nine with equal probability."""


@cpu_without_float64
def augmix(
    images: Tensor,
    generator: torch.Generator,
    *,
    severity: float = 3.0,
    width: int = 3,
    depth: int | None = None,
    alpha: float = 1.0,
) -> Tensor:
    """``(1 - m) * image + m * sum_i w_i chain_i(image)``, drawn for each image; float (B,3,H,W) in [0,1] in and out.

    ``w`` ~ Dirichlet(alpha) over ``width`` chains, ``m`` ~ Beta(alpha, alpha). A chain is ``depth`` operations, or a
    number drawn from 1..3 for None; each has a level of its own, uniform on [0.1, severity], of 10. Chains work
    on 8-bit levels (other values are rounded to them); the mixture isn't rounded.
    Raises ``KdbenchError`` for a severity outside [0.1, 10], or a width, depth or alpha that isn't positive.
    """
    batch, _, image_height, image_width = check_images(images)
    _check(severity, width, depth, alpha)
    chains, steps, device = width * batch, MAX_DEPTH if depth is None else depth, images.device
    draw = Draw(
        amount=0.1 + (severity - 0.1) * uniform((steps, chains), generator, device),
        sign=signs((steps, chains), generator, device),
        place=torch.zeros(steps, chains, 2, device=device),
        height=image_height,
        width=image_width,
    )
    chosen = integers(0, len(OPERATIONS), (steps, chains), generator, device)
    if depth is None:
        depths = integers(1, MAX_DEPTH + 1, (chains,), generator, device)
        beyond = torch.arange(steps, device=device).unsqueeze(1) >= depths
        chosen = chosen.masked_fill(beyond, len(OPERATIONS))
    chain_weights = dirichlet((batch, width), alpha, generator, device)
    mixing = dirichlet((batch, 2), alpha, generator, device)[:, 0]

    plan = plan_operations(OPERATIONS, chosen, draw)
    columns = torch.arange(chains, device=device).view(width, batch)
    mixed = torch.empty_like(images, memory_format=torch.contiguous_format)
    for part in parts(images, copies=width):
        chains_of_part = plan.part(columns[:, part].flatten())
        mixed[part] = _mixture(images[part], chains_of_part, chain_weights[part], mixing[part])
    return mixed


def _mixture(images: Tensor, plan: PolicyPlan, chain_weights: Tensor, mixing: Tensor) -> Tensor:
    """Images (n,3,H,W), the plan of their chains (width*n, chain by chain), weights (n,width) and shares (n)."""
    width = chain_weights.shape[1]
    chained = apply_operations(levels.to_levels(images).repeat(width, 1, 1, 1), plan)
    chained = levels.from_levels(chained).view(width, *images.shape)
    mixture = torch.zeros_like(chained[0])
    for chain in range(width):
        mixture += chain_weights[:, chain].view(-1, 1, 1, 1) * chained[chain]
    # lerp may overshoot by one unit in the last place.
    return torch.lerp(images.float(), mixture, mixing.view(-1, 1, 1, 1)).clamp_(0.0, 1.0)


def _check(severity: float, width: int, depth: int | None, alpha: float) -> None:
    if not 0.1 <= severity <= 10 or width < 1 or (depth is not None and depth < 1) or not alpha > 0:
        raise KdbenchError(
            f"augmix found severity={severity}, width={width}, depth={depth}, alpha={alpha}, "
            "expected severity in [0.1, 10], width and depth >= 1, alpha > 0",
            "severity=3, width=3, depth=None and alpha=1 are the paper's",
        )
