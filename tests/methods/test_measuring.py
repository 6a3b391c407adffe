"""Parameters that only matter when a network is measured: one training serves all their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench.data import DataPlace
from kdbench.plugin.loader import load_plugins
from kdbench.running.graph import RunGraph
from kdbench.running.runner import record_path, run
from kdbench.training.checkpoint import load_checkpoint
from tests.commands import kdbench as kdbench_command
from tests.plugins.helpers import digits_graph

OTHER: dict[str, dict[str, Any]] = {
    "cni": {"smoothing": "votes", "draws": 3, "input_sigma": 0.1},
    "nrd": {"evaluated": "ema"},
    **{
        name: {"evaluate": "peer"}
        for name in ("co-teaching", "co-teaching-plus", "s2e", "s2e-candidate", "mkd", "kdcl", "smkd-s", "smkd-p")
    },
    **{name: {"evaluate": "student"} for name in ("dividemix", "elr-plus")},
}
"""Values other than the defaults."""


@pytest.fixture
def graph(tmp_path: Path) -> RunGraph:
    return digits_graph(tmp_path)


def test_every_parameter_of_that_kind_is_tried_here() -> None:
    methods = load_plugins().methods
    marked = {name: methods.get(name).measuring for name in methods.names() if methods.get(name).measuring}
    assert marked == {name: set(values) for name, values in OTHER.items()}


@pytest.mark.parametrize("name", OTHER)
def test_what_is_measured_is_no_part_of_a_trainings_digest(name: str, graph: RunGraph) -> None:
    """``evaluate=peer`` trained everything again, needed networks too."""
    usual, other = (graph.student("sym-40", name, params, 0) for params in ({}, OTHER[name]))
    assert usual.digest() == other.digest()
    assert usual.needs == other.needs
    assert (usual.measured, other.measured) == ({}, OTHER[name])
    assert not set(OTHER[name]) & set(usual.params)
    assert usual.predictor_digest() == usual.digest() != other.predictor_digest()


def test_what_learns_from_a_network_depends_on_how_it_is_measured(graph: RunGraph) -> None:
    graph.plugins = load_plugins.__wrapped__()

    def teaches(evaluate: str) -> kdbench.MethodSpec:
        @kdbench.method(f"from-{evaluate}", needs={"t": kdbench.Network(method="mkd", params={"evaluate": evaluate})})
        def learns(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
            return kdbench.losses.kl_divergence(ctx.networks["t"](batch.images), ctx.student(batch.images)).mean()

        return learns

    for evaluate in ("student", "peer"):
        graph.plugins.methods.add(f"from-{evaluate}", teaches(evaluate), "test")
    student, peer = (graph.student("clean", f"from-{evaluate}", {}, 0) for evaluate in ("student", "peer"))
    assert student.needs != peer.needs
    (first,), (second,) = (graph.own(spec).values() for spec in (student, peer))
    assert first.digest() == second.digest(), "it is trained once"


def test_both_networks_and_their_mean_come_from_one_checkpoint(tiny_suite: Path, tmp_path: Path) -> None:
    """Li et al. 2023 tabulate the mean accuracy of the two peers."""
    options: dict[str, Any] = {"conditions": ["sym-40"], "out": tmp_path / "runs"}
    values, digests = {}, set()
    for evaluate in ("student", "peer", "ensemble"):
        record = run(str(tiny_suite), "mkd", params={"evaluate": evaluate}, tasks=["noisy_label"], **options)
        assert record.hashes.students["sym-40"].reused == (evaluate != "student")
        assert record.spec.params["sym-40"]["evaluate"] == evaluate
        digests.add(record.spec.trainings["sym-40/student"])
        file = record_path(record, tmp_path / "runs").with_name("checkpoint-sym-40.safetensors")
        network = kdbench.load_predictor(file)
        digits = kdbench.data.digits.load(DataPlace.default())
        correct = network(digits.test.images.float() / 255).argmax(1) == digits.test.labels
        (score,) = record.select("noisy_label", "accuracy")
        assert score.value == correct.double().mean().item(), "the run's own copy answers like the run"
        values[evaluate] = score.value
        tensors, _ = load_checkpoint(file)
        if evaluate != "ensemble":
            for key, tensor in network.state_dict().items():
                assert torch.equal(tensor, tensors[f"{evaluate}.{key}"])
    assert len(digests) == 1
    assert values["student"] != values["peer"]
    both = run(str(tiny_suite), "mkd", tasks=["peers"], **options)
    assert both.select("peers", "mean_accuracy")[0].value == pytest.approx((values["student"] + values["peer"]) / 2)
    found = {score.setting["network"]: score.value for score in both.select("peers", "accuracy")}
    assert found == {name: values[name] for name in ("student", "peer")}
    # The same from the command line, of the checkpoint that was kept as the student's.
    file = record_path(both, tmp_path / "runs").with_name("checkpoint-sym-40.safetensors")
    command = ["evaluate", file, "--suite", tiny_suite, "--json"]
    done = kdbench_command(*command, "--tasks", "noisy_label", "--set", "evaluate=peer")
    assert json.loads(done.stdout)["scores"][0]["value"] == values["peer"]
    done = kdbench_command(*command, "--set", "epsilon=0.2")
    assert done.returncode == 2
    assert "parameter 'epsilon' of method 'mkd' belongs to its training" in done.stderr


def test_a_finished_random_network_is_measured_with_other_draws(tiny_suite: Path, tmp_path: Path) -> None:
    """M, what becomes of the draws and the noise on the pixels are no part of a CNI network's training."""
    options: dict[str, Any] = {"conditions": ["clean"], "tasks": ["clean"], "out": tmp_path / "runs"}
    one, two = (
        run(str(tiny_suite), "cni", params={"steps": 1, "draws": draws}, **options).hashes.students["clean"]
        for draws in (1, 2)
    )
    assert (one.training, one.reused) == (two.training, False)
    assert two.reused
    (file,) = (tmp_path / "runs/tiny/trainings").glob("cni-*/checkpoint.safetensors")
    many = kdbench.load_predictor(file, params={"draws": 12, "smoothing": "votes", "input_sigma": 0.1})
    usual = kdbench.load_predictor(file)
    for key, tensor in usual.state_dict().items():
        assert torch.equal(many.state_dict()[key], tensor)
    images = kdbench.data.digits.load(DataPlace.default()).test.images[:16]
    with torch.no_grad():
        votes = 13 * many(images.float() / 255).softmax(1) - 0.1  # each class has a tenth of a vote from the start
    torch.testing.assert_close(votes, votes.round(), rtol=0, atol=1e-4)
    # Only images that are right are attacked, and which are hangs on the draws.
    examples = kdbench.attacks.pgd_best_iterate(many, images, votes.argmax(1), steps=1)
    assert not torch.equal(examples, images.float() / 255), "more draws than one chunk have a gradient"
    for wrong, message in (({"steps": 3}, "belongs to its training"), ({"drawz": 3}, "did you mean 'draws'")):
        with pytest.raises(kdbench.KdbenchError, match=message):
            kdbench.load_predictor(file, params=wrong)


def test_a_method_of_one_network_has_no_mean_of_two(tiny_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(kdbench.KdbenchError, match="methods that train two networks, 'ce' does not"):
        run(str(tiny_suite), "ce", tasks=["peers"], out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_training_is_the_same_whoever_asks_for_it_first(tiny_suite: Path, tmp_path: Path) -> None:
    files = []
    for out, params in (("a", {}), ("b", {"evaluated": "ema"})):
        run(str(tiny_suite), "nrd", params=params, conditions=["clean"], tasks=["clean"], out=tmp_path / out)
        files += (tmp_path / out).glob("tiny/trainings/nrd-*/checkpoint.safetensors")
    assert files[0].parent.name == files[1].parent.name
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_kit_finds_a_parameter_that_is_wrongly_marked() -> None:
    @kdbench.method("liar")
    def liar(
        batch: kdbench.Batch,
        ctx: kdbench.Context,
        *,
        weight: Annotated[float, Field(gt=0), kdbench.MeasuredOnly()] = 1.0,
    ) -> Tensor:
        return weight * kdbench.losses.cross_entropy(ctx.student(batch.images), batch.labels).mean()

    kdbench.testing.check_method(liar, num_classes=(10,))
    with pytest.raises(
        AssertionError, match="'liar': weight is marked as for measuring alone and changes the training"
    ):
        kdbench.testing.check_method(liar, params={"weight": 2.0}, num_classes=(10,))
