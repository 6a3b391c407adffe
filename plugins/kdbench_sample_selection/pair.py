"""What methods of two networks share: the second network, and which of the two is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

import kdbench

Evaluated = Annotated[
    Literal["student", "peer", "ensemble"],
    Field(description="what is measured: one of the two networks, or the mean of their logits"),
]


class Pair(kdbench.Method):
    """Two networks of one architecture, trained together from initial weights of their own: student and ``peer``.

    Some papers report the mean accuracy of the two; a record measures one predictor.
    """

    def __init__(self, *, evaluate: Evaluated = "student") -> None:
        self.evaluate = evaluate

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer: nn.Module = ctx.new_network("peer")

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        if self.evaluate == "ensemble":
            return kdbench.models.MeanLogits(ctx.student, self.peer)
        return self.peer if self.evaluate == "peer" else ctx.student
