"""The base of methods of two networks: what it makes, what it measures, which parameters it offers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.testing import check_method
from tests.plugins.helpers import Legible, image_of, make_context, with_peer


class Together(kdbench.TwoNetworks):
    """Both learn from the labels."""

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return sum(nn.functional.cross_entropy(net(batch.images), batch.labels) for net in (ctx.student, self.peer))  # type: ignore[return-value]  # never empty


class OfOneArchitecture(Together):
    """Offers one of the two parameters, and a default of its own."""

    def __init__(self, *, weight: float = 1.0, evaluate: kdbench.TwoNetworks.Evaluated = "ensemble") -> None:
        super().__init__(evaluate=evaluate)
        self.weight = weight


@pytest.mark.parametrize("evaluate", ["student", "peer", "ensemble"])
def test_what_is_measured_is_one_of_the_two_or_their_mean(evaluate: str) -> None:
    ours, theirs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    ctx = with_peer(make_context(Legible(3)), Legible(3, start=3))
    method = Together(evaluate=evaluate)
    method.setup(ctx)
    assert method.networks() == {"peer": method.peer}
    expected = {"student": ours, "peer": theirs, "ensemble": (ours + theirs) / 2}[evaluate]
    torch.testing.assert_close(method.predictor(ctx)(image_of(torch.cat([ours, theirs], 1))), expected)


def test_the_second_networks_architecture_is_looked_up_and_asked_for() -> None:
    asked: list[str | None] = []
    ctx = make_context(Legible(3))

    def make(name: str, *, model: str | None, dropout: float) -> nn.Module:
        asked.append(model)
        return Legible(3)

    ctx._make = make
    for peer, architectures in (("", []), ("shufflenet-v2", ["shufflenet-v2"])):
        method = Together(peer=peer)
        assert list(method.architectures()) == architectures
        method.setup(ctx)
    assert asked == [None, "shufflenet-v2"]


def test_a_method_offers_the_parameters_it_names() -> None:
    spec = kdbench.method("one")(OfOneArchitecture)
    assert spec.validate({}) == {"weight": 1.0, "evaluate": "ensemble"}
    with pytest.raises(kdbench.KdbenchError, match="evaluate: input should be 'student', 'peer' or 'ensemble'"):
        spec.validate({"evaluate": "both"})
    assert kdbench.method("two")(Together).validate({}) == {"peer": "", "evaluate": "student"}


@pytest.mark.parametrize("evaluate", ["peer", "ensemble"])
def test_it_conforms(evaluate: str) -> None:
    check_method(kdbench.method("together")(Together), params={"evaluate": evaluate}, num_classes=(10,))
