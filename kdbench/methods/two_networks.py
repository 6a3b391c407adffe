"""What methods of two peers share: the second network, and which of the two is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from torch import nn

from kdbench.methods.context import Context
from kdbench.methods.method import MeasuredOnly, Method
from kdbench.models.ensemble import MeanLogits

_PeerModel = Annotated[
    str, Field(description="architecture of the second network, such as shufflenet-v2; empty: that of the student")
]
_Evaluated = Annotated[
    Literal["student", "peer", "ensemble"],
    Field(description="what is measured: one of the two networks, or the mean of their logits"),
    MeasuredOnly(),
]


class TwoNetworks(Method):
    """Two networks, trained together from initial weights of their own: the student and ``self.peer``.

    A method derives from it and defines ``loss``. Papers often report the mean accuracy of the two; a record measures
    one predictor, by default the student, and task ``peers`` that mean. Both come from one training. A method with
    parameters of its own passes on those of these two that it offers, annotated as ``kdbench.TwoNetworks.PeerModel``
    and ``kdbench.TwoNetworks.Evaluated``.
    """

    PeerModel: TypeAlias = _PeerModel
    """Name of the second network's architecture; "": the student's."""
    Evaluated: TypeAlias = _Evaluated
    """``"student"``, ``"peer"`` or ``"ensemble"``, which is the mean of their logits."""

    def __init__(self, *, peer: _PeerModel = "", evaluate: _Evaluated = "student") -> None:
        self.peer_model, self.evaluate = peer or None, evaluate

    def architectures(self) -> list[str]:
        return [self.peer_model] if self.peer_model else []

    def setup(self, ctx: Context) -> None:
        self.peer: nn.Module = ctx.new_network("peer", model=self.peer_model)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"peer": self.peer}

    def predictor(self, ctx: Context) -> nn.Module:
        if self.evaluate == "ensemble":
            return MeanLogits(ctx.student, self.peer)
        return self.peer if self.evaluate == "peer" else ctx.student
