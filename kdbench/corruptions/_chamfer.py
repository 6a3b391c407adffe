"""Distances along steps of 5x5 pixels (Borgefors 1986), bit for bit as a float32 raster scan over them.

The scan is OpenCV's ``distanceTransform(..., DIST_L2, 5)`` on x86, where Intel's library computes it; elsewhere OpenCV
counts in units of 2^-16, which differs by up to 1e-4 and would now and then change a level of what is made of it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

_STRAIGHT = 1.0
_DIAGONAL = 1.4
_KNIGHT = 2.1969
"""Lengths of the steps to a neighbour, across a corner, and two ahead and one aside."""


def chamfer_distance(edges: Tensor, limit: float) -> Tensor:
    """How far each pixel is from the nearest edge pixel, at most ``limit``, which is also the distance from no edge.

    Takes ``edges`` bool (H, W, N) and returns float32 (H, W, N), in pixels.
    """
    distances = edges.logical_not().to(torch.float32).mul_(limit)
    for _ in range(2):  # from the upper left, then from the lower right
        distances = _scan(distances, limit).flip(0, 1)
    return distances


def _scan(distances: Tensor, limit: float) -> Tensor:
    """Passes distances on to the right and to the rows below.

    A scan pixel by pixel would also go to the right within a row that distances have reached from above. That never
    gives less: the same steps to the right can be taken before those down. Rounding could make it less, but doesn't
    for any single edge pixel of 64x64, and the minimum over edge pixels is the minimum over single ones.
    """
    height, width, count = distances.shape
    # a border of what is no nearer than anything, as far as a step reaches: two rows above, two columns at either side
    reached = distances.new_full((height + 2, width + 4, count), limit)
    rows = reached[:, 2:-2]
    rows[2:] = distances
    for column, right_of_it in pairwise(rows.unbind(1)):
        torch.minimum(right_of_it, column + _STRAIGHT, out=right_of_it)
    left, right = reached[:, 1:-3].unbind(), reached[:, 3:-1].unbind()
    far_left, far_right = reached[:, :-4].unbind(), reached[:, 4:].unbind()
    beside = torch.full_like(rows, limit).unbind()
    longer, shorter = torch.empty_like(rows[0]), torch.empty_like(rows[0])
    for row, target in enumerate(rows.unbind()):
        if row >= 2:
            torch.minimum(far_left[row - 1], far_right[row - 1], out=longer)
            torch.minimum(longer, beside[row - 2], out=longer).add_(_KNIGHT)
            torch.add(beside[row - 1], _DIAGONAL, out=shorter)
            torch.minimum(longer, shorter, out=longer)
            torch.add(rows[row - 1], _STRAIGHT, out=shorter)
            torch.minimum(longer, shorter, out=longer)
            torch.minimum(target, longer, out=target)
        torch.minimum(left[row], right[row], out=beside[row])
    return rows[2:]
