"""Methods with networks and stages of their own, for the tests of what is trained before what."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import kdbench


class Peers(kdbench.Method):
    """Two networks, a network trained before them, and their mean as predictor."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer")
        self.prior = torch.zeros(ctx.num_classes, device=ctx.device)

    def networks(self) -> dict[str, nn.Module]:
        return {"peer": self.peer}

    def state(self) -> dict[str, Tensor]:
        return {"prior": self.prior}

    def load_state(self, state: Any) -> None:
        self.prior = state["prior"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            self.prior = ctx.predict(ctx.networks["start"]).softmax(1).mean(0)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        both = (ctx.student(batch.images), self.peer(batch.images))
        losses = [nn.functional.cross_entropy(logits + self.prior.log(), batch.labels) for logits in both]
        return losses[0] + losses[1]

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Mean(ctx.student, self.peer)


class Mean(nn.Module):
    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        return sum(member(pixels) for member in self.members) / len(self.members)  # type: ignore[return-value]  # never empty


def follow(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    """Follows the peers of an earlier stage."""
    targets = ctx.networks["peers"](batch.images).softmax(1)
    return nn.functional.cross_entropy(ctx.student(batch.images), targets)


class Copies(kdbench.Method):
    """Goes on from the first of two trained peers, and is evaluated as a copy of it."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.copy = copy.deepcopy(ctx.networks["pair"].members[0]).requires_grad_(True)  # type: ignore[operator,index,union-attr]  # torch leaves modules untyped

    def networks(self) -> dict[str, nn.Module]:
        return {"copy": self.copy}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return sum(nn.functional.cross_entropy(net(batch.images), batch.labels) for net in (ctx.student, self.copy))  # type: ignore[return-value]  # never empty

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return self.copy
