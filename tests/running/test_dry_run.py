"""The dry run: what only networks show of a mistake is an error before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.running import dry_run as module
from kdbench.running.dry_run import dry_run
from kdbench.running.runner import run
from tests.running.conftest import MakeGraph


@pytest.mark.parametrize(
    ("edit", "method", "params", "message"),
    [
        (("batch_size = 20", "batch_size = 1"), "kd", {}, "batch_size found 1, expected at least 2"),
        (
            ("[conditions.sym-40]", "[conditions.sym-40]\nrecipe = { batch_size = 1 }"),
            "kd",
            {},
            "sym-40: teacher: batch_size",
        ),
        (None, "forward", {"percentile": 50}, "percentile is 50.0, expected above 90.00"),
    ],
)
def test_a_run_begins_with_it(
    tiny_suite: Path, tmp_path: Path, edit: tuple[str, str] | None, method: str, params: dict[str, Any], message: str
) -> None:
    if edit:
        assert edit[0] in tiny_suite.read_text()
        tiny_suite.write_text(tiny_suite.read_text().replace(*edit))
    with pytest.raises(KdbenchError, match=message):
        run(str(tiny_suite), method, params=params, out=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("log.jsonl"))


def test_a_need_of_another_class_count_is_named(make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph()
    teacher, build = graph.network("clean", "teacher"), module.build_network
    monkeypatch.setattr(
        module, "build_network", lambda plugins, spec, classes: build(plugins, spec, 7 if spec == teacher else classes)
    )
    with pytest.raises(KdbenchError, match=r"^clean: teacher: network 'student' \(wrn-10-1\) gives \(2, 7\)"):
        dry_run(graph, graph.student("clean", "kd", {}, 0), "clean")


class LooksTooEarly(kdbench.Method):
    """Looks at the training set where there may be none."""

    def setup(self, ctx: kdbench.Context) -> None:
        ctx.train  # noqa: B018  # asking is the mistake

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        raise AssertionError("trained")


def test_the_message_names_every_role_on_the_way_and_keeps_its_hint(make_graph: MakeGraph, staged: Plugins) -> None:
    staged.methods.add("early", kdbench.method("early")(LooksTooEarly), "test")
    needs = {"stage": kdbench.Network("student", "early")}
    staged.methods.add("middle", kdbench.method("middle", needs=needs)(LooksTooEarly), "test")
    needs = {"first": kdbench.Network("student", "middle")}
    staged.methods.add("outer", kdbench.method("outer", needs=needs)(LooksTooEarly), "test")
    graph = make_graph(plugins=staged)
    for name, way in (("early", "clean"), ("middle", "clean: stage"), ("outer", "clean: first: stage")):
        with pytest.raises(KdbenchError) as caught:
            dry_run(graph, graph.student("clean", name, {}, 0), "clean")
        assert caught.value.message.startswith(f"{way}: ctx.train was used in setup")
        assert "on_epoch_start" in (caught.value.hint or "")


class Probable(nn.Module):
    """A network with its softmax inside."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        probabilities: Tensor = self.network(pixels).softmax(1)
        return probabilities


class MeasuredByProbabilities(kdbench.Method):
    """Trains on logits and has probabilities measured."""

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        raise AssertionError("trained")

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Probable(ctx.student)


def test_probabilities_are_refused_before_training(make_graph: MakeGraph, staged: Plugins) -> None:
    """An attack refuses them too, hours later."""
    staged.methods.add("probable", kdbench.method("probable")(MeasuredByProbabilities), "test")
    graph = make_graph(plugins=staged)
    with pytest.raises(KdbenchError, match="^clean: the model returned probabilities") as caught:
        dry_run(graph, graph.student("clean", "probable", {}, 0), "clean")
    assert caught.value.hint == "leave the softmax out of the model; 'digits' has 32x32 RGB images of 10 classes"


def test_it_leaves_no_trace(make_graph: MakeGraph, staged: Plugins) -> None:
    graph = make_graph(plugins=staged)
    state = torch.get_rng_state()
    for name in ("ce", "kd", "follow", "copies", "smkd-p"):
        dry_run(graph, graph.student("sym-40", name, {}, 0), "sym-40")
    assert torch.equal(torch.get_rng_state(), state)
    assert not graph.folder.exists()


def test_what_is_trained_already_is_not_set_up_again(make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph()
    spec = graph.student("clean", "ce", {}, 0)
    graph.ensure(spec, "clean", "ce")

    def never(*arguments: Any) -> None:
        raise AssertionError("set up")

    monkeypatch.setattr(module, "TrainingRun", never)
    dry_run(graph, spec, "clean")
    with pytest.raises(AssertionError, match="set up"):
        dry_run(graph, graph.student("clean", "ce", {}, 1), "clean")
