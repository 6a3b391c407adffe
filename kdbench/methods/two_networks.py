"""What methods of two networks share: the second network, and which of the two is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kdbench.methods.method import MeasuredOnly, Method

if TYPE_CHECKING:
    from torch import nn

    from kdbench.methods.context import Context

EvaluatedNetwork = Annotated[
    Literal["student", "peer", "ensemble"],
    Field(description="what is measured: one of the two networks, or the mean of their logits"),
    MeasuredOnly(),
]
"""Of a parameter ``evaluate``. The task ``peers`` measures each of the two, and their mean accuracy."""


class TwoNetworks(Method):
    """A method that trains two networks together, from initial weights of their own: the student and ``self.peer``.

    ``peer`` is the architecture of the second; empty: that of the student. Papers report the mean accuracy of the two;
    a record measures one predictor, what ``evaluate`` says.
    """

    def __init__(self, *, peer: str = "", evaluate: EvaluatedNetwork = "student") -> None:
        self.peer_model, self.evaluate = peer or None, evaluate

    def architectures(self) -> list[str]:
        return [self.peer_model] if self.peer_model else []

    def setup(self, ctx: Context) -> None:
        self.peer: nn.Module = ctx.new_network("peer", model=self.peer_model)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def predictor(self, ctx: Context) -> nn.Module:
        if self.evaluate == "ensemble":
            from kdbench.models import MeanLogits

            return MeanLogits(ctx.student, self.peer)
        return self.peer if self.evaluate == "peer" else ctx.student
