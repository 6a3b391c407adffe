"""Which wrong classes are nearest, by the model's gradients: the order in which targeted attacks try them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.inference.model import Model

CANDIDATES = 100
"""Classes of the largest logits whose gradients are taken, where there are more (Melamed et al. 2024 take as many)."""


def nearest_targets(model: Model, images: Tensor, labels: Tensor, count: int) -> Tensor:
    """Int64 (n, min(count, classes - 1)): wrong classes, the nearest first to first order.

    Class t is (z_y - z_t) / ||d(z_y - z_t)/dx||_1 away, in pixels of an L-infinity ball, if logits z are linear in the
    image x; the L1 norm is the dual of L-infinity. Ordering targets so, and not by logits, is MALT (Melamed, Yehudai &
    Shamir 2024, arXiv 2407.02240). A target without a gradient comes last.

    Args:
        model: frozen, in eval mode.
        images: float32 (n, C, H, W) in [0, 1].
        labels: int64 (n,).
        count: at least 1.
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_(True)
        logits = model(leaf)
        wrong = logits.detach().scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True)
        wrong = wrong[:, : min(CANDIDATES, logits.shape[1] - 1)]
        distances = []
        for targets in wrong.T:
            gap = logits.gather(1, labels[:, None]) - logits.gather(1, targets[:, None])
            (gradient,) = torch.autograd.grad(gap.sum(), leaf, retain_graph=True)
            distances.append(gap.detach()[:, 0] / gradient.abs().sum(dim=(1, 2, 3)))
    order = torch.stack(distances, dim=1).nan_to_num(nan=torch.inf).argsort(dim=1, stable=True)
    return wrong.gather(1, order)[:, :count]
