from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import predict
from kdbench.models import build
from kdbench.testing import TINY
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.monitor import Monitor
from kdbench.training.seeds import derive_seed
from tests.training.spies import CPU, RECIPE, Pair, Peers, Spy, make_tiny, run, train_set


def test_peers_and_other_modules_are_trained_and_kept(tmp_path: Path) -> None:
    data, peers = train_set(), Peers()
    student = run(peers, RECIPE, tmp_path, build=make_tiny, monitor=Monitor(data.images, data.labels))
    first = make_tiny(None, 0.0, derive_seed(0, "network", "peer"))
    assert all(
        not torch.equal(p, q) for p, q in zip(first.parameters(), student.parameters(), strict=True) if p.ndim > 1
    )
    assert all(not torch.equal(p, q) for p, q in zip(first.parameters(), peers.peer.parameters(), strict=True))
    tensors, metadata = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert metadata["predictor"] == "composed"
    for name, network in {"student": student, **peers.networks()}.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensors[f"{name}.{key}"], tensor)
    for name, tensor in peers.still.state_dict().items():
        assert torch.equal(tensor, build(TINY, num_classes=10, seed=1).state_dict()[name]), name
    entry = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    logits = (predict(student, data.images, device=CPU) + predict(peers.peer, data.images, device=CPU)) / 2
    assert entry["test_accuracy"] == (logits.argmax(1) == data.labels).double().mean().item()


class Owns(Spy):
    """Lists whatever it is given."""

    def __init__(self, make: Callable[[kdbench.Context], dict[str, Any]]) -> None:
        super().__init__()
        self.make = make

    def setup(self, ctx: kdbench.Context) -> None:
        self.owned = self.make(ctx)

    def networks(self) -> dict[str, nn.Module]:
        return self.owned


def tied(ctx: kdbench.Context) -> dict[str, nn.Module]:
    peer = ctx.new_network("a")
    return {"one": peer, "two": Pair(peer)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ctx: {"pair": Pair(ctx.student)}, "'pair' and 'student' share a tensor .*copy.deepcopy"),
        (tied, "'two' and 'one' share a tensor"),
        (lambda ctx: {"student": ctx.new_network("a")}, "networks.. names one 'student'"),
        (lambda ctx: {"a.b": ctx.new_network("a")}, "networks.. names one 'a.b'"),
        (lambda ctx: {"a": torch.zeros(3)}, r"networks..\['a'\] is a Tensor"),
        (lambda ctx: {"a": ctx.new_network("a"), "b": ctx.new_network("a")}, "'a'. was called twice"),
        (lambda ctx: {"a": ctx.train}, "ctx.train was used in setup.*use it in on_epoch_start"),
        (lambda ctx: {"a": ctx.predict(ctx.student)}, "ctx.predict was used in setup"),
    ],
)
def test_what_a_method_may_not_own_or_use_in_setup_is_one_line(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        run(Owns(make), RECIPE, tmp_path, build=make_tiny)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("predictor", "message"),
    [
        (
            lambda ctx: make_tiny(None, 0, 0),
            "holds 9 tensors that no checkpoint would, such as network.features.0.weight",
        ),
        (lambda ctx: lambda pixels: pixels, "returned a function"),
        (lambda ctx: nn.Flatten(), "has no parameters"),
    ],
)
def test_a_predictor_that_the_checkpoint_could_not_give_back_is_refused(
    tmp_path: Path, predictor: Any, message: str
) -> None:
    method = Spy()
    method.predictor = predictor  # type: ignore[method-assign]  # of this instance alone
    with pytest.raises(KdbenchError, match=message):
        run(method, RECIPE, tmp_path)


def test_new_networks_are_for_setup_and_need_something_to_build_with(tmp_path: Path) -> None:
    late = Spy()
    late.on_epoch_start = lambda ctx: ctx.new_network("late")  # type: ignore[method-assign,assignment,return-value]  # wrong on purpose
    with pytest.raises(KdbenchError, match="new_network.'late'. was called after setup"):
        run(late, RECIPE, tmp_path, build=make_tiny)
    with pytest.raises(KdbenchError, match="has nothing to build with"):
        run(Owns(lambda ctx: {"a": ctx.new_network("a")}), RECIPE, tmp_path)
