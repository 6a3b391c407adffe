"""What methods of two peers share: the second network, and which of the two is measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

import kdbench

RECIPES = Path(__file__).with_name("recipes.toml")

PeerModel = Annotated[
    str, Field(description="architecture of the second network, such as shufflenet-v2; empty: that of the student")
]
Evaluated = Annotated[
    Literal["student", "peer", "ensemble"],
    Field(description="what is measured: one of the two networks, or the mean of their logits"),
]


class Peers(kdbench.Method):
    """Two networks, trained together from initial weights of their own: the student and ``self.peer``.

    Papers report the mean accuracy of the two; a record measures one predictor, by default the student.
    """

    def __init__(self, *, peer: PeerModel = "", evaluate: Evaluated = "student") -> None:
        self.peer_model, self.evaluate = peer or None, evaluate

    def architectures(self) -> list[str]:
        return [self.peer_model] if self.peer_model else []

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer: nn.Module = ctx.new_network("peer", model=self.peer_model)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        if self.evaluate == "ensemble":
            return kdbench.models.MeanLogits(ctx.student, self.peer)
        return self.peer if self.evaluate == "peer" else ctx.student
