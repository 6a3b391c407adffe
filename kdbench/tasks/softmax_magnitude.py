"""T12: how large softmax outputs are, of the student and of networks of the suite beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from kdbench.metrics import wilson_interval
from kdbench.results.figures import MAGNITUDES, magnitudes
from kdbench.results.record import Score
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard
from kdbench.tasks.settings import TaskSettings

STUDENT = "student"


class SoftmaxMagnitude(Task):
    """Shares of softmax outputs in bins of equal width on [0, 1], at temperature 1 (Arani et al. 2021, Fig. 8).

    ``output_share`` with ``outputs`` all: of the C N outputs on N test images; with largest: of each image's largest
    one. The last bin holds 1. The interval is Wilson's for N images, whose outputs go together: for all outputs it is
    wider than it need be. A network that is random at test time is looked at in several draws.
    """

    name = "softmax_magnitude"
    other_metrics = frozenset({"output_share"})
    lower_is_better = frozenset()
    setting_keys = frozenset({"network", "outputs", "bin", "low", "high"})

    class Settings(TaskSettings):
        """Which networks, and how finely."""

        networks: tuple[str, ...] = ("teacher",)
        """Roles of the suite's networks that are looked at beside the student."""
        bins: Annotated[int, Field(ge=1, le=1000)] = MAGNITUDES
        """Bins of equal width."""

    def sources(self, settings: Any) -> Iterable[str]:
        return tuple(settings.networks)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        networks = {STUDENT: predictor, **{role: ctx.networks[role] for role in ctx.settings.networks}}
        scores: list[Score] = []
        for number, (role, network) in enumerate(networks.items()):
            scores += _scores(role, ctx.draws(network, data.test).double().softmax(2), ctx)
            ctx.advance((number + 1) / len(networks))
        return scores

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        for network in (STUDENT, *card.settings.networks):
            for outputs in ("all", "largest"):
                found = card.select("output_share", network=network, outputs=outputs)
                total = sum(score.value for score in found)
                if abs(total - 1) > 1e-6:
                    yield Objection(None, "scores", f"shares of {outputs} outputs of {network} add up to {total:.6g}")


def _scores(network: str, draws: Tensor, ctx: EvaluationContext) -> Iterator[Score]:
    """From probabilities (D, N, C)."""
    n, bins = draws.shape[1], ctx.settings.bins
    found = [magnitudes(probabilities.numpy(), bins) for probabilities in draws]
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64).tolist()
    for kind, outputs in enumerate(("all", "largest")):
        for i in range(bins):
            values = [float(shares[kind][i]) for shares in found]
            setting = {"network": network, "outputs": outputs, "bin": i, "low": edges[i], "high": edges[i + 1]}
            yield ctx.drawn("output_share", values, n, wilson_interval(values[0] * n, n), setting=setting)
