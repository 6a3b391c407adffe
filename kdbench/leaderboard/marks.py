"""Which cells of an axis a reader should look at: the best, what is surely near it, and what may be either.

best: the best mean over seeds, of the scores without a flag that are of more than one seed.
near: surely near the best: the upper end of the paired difference's 95 % interval leaves it at most ``NEAR`` behind.
unknown: no test tells it from the best, and its interval is too wide to call it near; one seed never says more.

All others are significantly worse and not surely near, or flagged. Where no two methods differ significantly there is
no best, and nothing is marked. That the best mean is partly luck makes the others look further behind, never nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kdbench.leaderboard.board import Axis, Mark, Measurement, Pairs

NEAR: Final = 0.01
"""Of a share: one point, the half width of the 95 % interval of one accuracy near 50 % on 10,000 images. Scores in
other units have no such step, and none is called near."""


def marks(axis: Axis, measured: Sequence[Measurement | None], pairs: Pairs) -> list[Mark]:
    """The mark of each method's cell, in the order in which ``measured`` and ``pairs`` have them."""
    clear = {place: one for place, one in enumerate(measured) if one is not None and not one.flags}
    several = {place: one.value for place, one in clear.items() if not one.one_seed}
    found: list[Mark] = [""] * len(measured)
    if not pairs.significant[np.ix_(list(clear), list(clear))].any():
        return found
    best = max(several, key=lambda place: axis.sign * several[place])
    for place in clear:
        behind = axis.sign * float(pairs.value[best, place])
        if place in several and behind == 0:
            found[place] = "best"
        elif place in several and axis.unit == "fraction" and behind + pairs.half_width[best, place] <= NEAR:
            found[place] = "near"
        elif not pairs.significant[best, place]:
            found[place] = "unknown"
    return found
