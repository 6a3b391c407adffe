"""The run graph: what decides a training, what is trained before it, and what is found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.methods.source import source_hash
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running import graph as module
from kdbench.running.graph import RunGraph
from kdbench.sealed import SUMS
from kdbench.specs import Training
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.log import read_log
from tests.running.conftest import MakeGraph


def ce(graph: RunGraph, condition: str = "clean", seed: int = 0) -> Training:
    return graph.student(condition, "ce", {}, seed)


def never(*arguments: Any, **options: Any) -> None:
    raise AssertionError("trained")


def test_a_training_is_found_again_by_its_digest(make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph()
    first = graph.ensure(ce(graph), "clean", "ce")
    assert not first.reused
    assert first.folder == graph.options.out / "tiny/trainings" / f"ce-wrn-10-1-{ce(graph).digest()}"
    described = first.describe()
    assert described.training == ce(graph).digest()
    assert described.sha256 == hashlib.sha256(first.checkpoint.read_bytes()).hexdigest()
    log = [json.loads(line) for line in (first.folder / "log.jsonl").read_text().splitlines()]
    assert described.seconds == round(sum(entry["seconds"] for entry in log), 3)
    assert log[0]["test_n"] == 500, "all of the test set, where it is small"
    monkeypatch.setattr(module, "fit", never)
    again = make_graph()
    found = again.ensure(ce(again), "clean", "ce")
    assert found.reused
    assert found.describe() == described.model_copy(update={"reused": True})


EDITS = {
    "recipe": ("lr = 0.03", "lr = 0.04"),
    "precision": ("[recipe]", '[recipe]\nprecision = "bfloat16"'),
    "model": ('student = "wrn-10-1"', 'student = "wrn-16-2"'),
    "flip": ("flip = false", "flip = true"),
    "normalisation": ("flip = false", "flip = false\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]"),
    "size": ("[conditions.clean]\ntrain_size = 200", "[conditions.clean]\ntrain_size = 190"),
    "noise": ("[conditions.clean]", '[conditions.clean]\nnoise = { kind = "symmetric", rate = 0.1 }'),
    "suite": ('name = "tiny"', 'name = "tinier"'),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_what_decides_a_network_decides_its_digest(make_graph: MakeGraph, edit: tuple[str, str]) -> None:
    assert ce(make_graph(edit)).digest() != ce(make_graph()).digest()


def test_method_parameters_seed_and_condition_decide_it_too_and_prose_does_not(make_graph: MakeGraph) -> None:
    graph = make_graph()
    digests = [
        ce(graph).digest(), ce(graph, seed=1).digest(), ce(graph, "sym-40").digest(),
        graph.student("clean", "label-smoothing", {}, 0).digest(),
        graph.student("clean", "label-smoothing", {"epsilon": 0.2}, 0).digest(),
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)
    assert ce(make_graph(("title = ", 'title = "Other words. " #'), out=Path("elsewhere"))).digest() == digests[0]


def test_the_labels_in_a_training_are_the_observed_ones(make_graph: MakeGraph) -> None:
    graph = make_graph()
    for condition in ("clean", "sym-40"):
        labels = graph.train_set(condition)[0].labels
        observed = hashlib.sha256(labels.numpy().astype("<i8").tobytes()).hexdigest()
        assert ce(graph, condition).labels_sha256 == observed
        assert graph.network(condition, "teacher").labels_sha256 == observed


def test_the_source_of_a_peers_architecture_decides_what_is_trained(
    make_graph: MakeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make_graph()

    def digests() -> list[str]:
        return [graph.student("clean", "mkd", {"peer": peer}, 0).digest() for peer in ("shufflenet-v2", "")]

    other, same = digests()
    peer = graph.plugins.models.get("shufflenet-v2").build
    monkeypatch.setattr(module, "source_hash", lambda target: "edited" if target is peer else source_hash(target))
    assert digests()[0] != other
    assert digests()[1] == same


def loss(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    """Cross-entropy."""
    return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


def plugins_with(**needs: Any) -> Plugins:
    """The installed plugins, and a method of cross-entropy with each of these needs."""
    plugins = load_plugins.__wrapped__()
    for name, needed in needs.items():
        plugins.methods.add(name, kdbench.method(name, needs=needed)(loss), "test")
    return plugins


def test_own_networks_come_deepest_first_and_those_of_the_run_are_not_among_them(make_graph: MakeGraph) -> None:
    plugins = plugins_with(
        outer={"guide": "teacher", "stage": kdbench.Network("student", "middle")},
        middle={"first": kdbench.Network("student", "inner"), "help": "reference"},
        inner={"start": kdbench.Network("student", epochs_share=0.4)},
    )
    graph = make_graph(plugins=plugins)
    student = graph.student("clean", "outer", {}, 0)
    own = graph.own(student)
    assert list(own) == ["stage/first/start", "stage/first", "stage/help", "stage"]
    assert own["stage/help"] == graph.network("clean", "reference"), "of the suite, but no other part of the run has it"
    assert student.needs == {"guide": graph.network("clean", "teacher").digest(), "stage": own["stage"].digest()}
    assert own["stage"].needs == {"first": own["stage/first"].digest(), "help": own["stage/help"].digest()}
    assert graph.own(ce(graph)) == {}


def test_a_budget_is_extended_by_a_network_that_is_trained_for_the_student(
    make_graph: MakeGraph, staged: Plugins
) -> None:
    graph = make_graph(plugins=staged)
    peers, follow = (graph.student("clean", name, {}, 0) for name in ("peers", "follow"))
    assert (peers.recipe.epochs, follow.recipe.epochs) == (4, 1)
    assert graph.extended(peers, "clean")
    assert graph.extended(follow, "clean"), "its first stage is"
    assert not graph.extended(ce(graph), "clean")
    shorter = graph.student("clean", "forward", {}, 0)
    assert graph.own(shorter)
    assert not graph.extended(shorter, "clean")


def test_needs_are_trained_first_once_and_shared(make_graph: MakeGraph, staged: Plugins) -> None:
    graph = make_graph(("[conditions.clean]\ntrain_size = 200", "[conditions.clean]\ntrain_size = 40"), plugins=staged)
    student = graph.student("clean", "follow", {}, 0)
    own = graph.own(student)
    trained = graph.ensure(student, "clean", "follow")
    assert not trained.reused
    folders = {path.parent for path in graph.folder.glob("*/checkpoint.safetensors")}
    needed = [*own.values(), graph.network("clean", "teacher")]
    assert folders == {trained.folder, *(graph.path(training) for training in needed)}
    assert all(graph.ensure(training, "clean", "again").reused for training in needed)
    assert list(graph.shared("clean", ["teacher", "teacher"])) == ["teacher"]
    # What its checkpoint says of its needs is how they were trained.
    _, metadata = load_checkpoint(trained.checkpoint)
    peers = metadata["needs"]["peers"]
    assert Training.model_validate(peers["training"]) == own["peers"]
    assert Training.model_validate(peers["needs"]["start"]["training"]) == own["peers/start"]
    assert metadata["needs"]["guide"]["needs"] == {}


def test_a_damaged_checkpoint_is_trained_again_with_a_warning(make_graph: MakeGraph) -> None:
    graph = make_graph()
    first = graph.ensure(ce(graph), "clean", "ce")
    whole = first.checkpoint.read_bytes()
    first.checkpoint.write_bytes(whole[:1000])
    with pytest.warns(UserWarning, match=r"checkpoint\.safetensors is damaged.*made again"):
        second = graph.ensure(ce(graph), "clean", "ce")
    assert not second.reused
    assert second.checkpoint.read_bytes() == whole


def test_of_an_earlier_version_what_can_be_checked_is_checked(make_graph: MakeGraph) -> None:
    graph = make_graph()
    first = graph.ensure(ce(graph), "clean", "ce")
    (first.folder / SUMS).unlink()
    assert graph.ensure(ce(graph), "clean", "ce").reused
    for name, said in (("checkpoint.safetensors", "is damaged"), ("log.jsonl", "has 0 epochs, the recipe has 1"),
                       ("softmax.npz", "a file in .* is damaged")):  # fmt: skip
        (first.folder / SUMS).unlink(missing_ok=True)
        file = first.folder / name
        file.write_bytes(b"" if name == "log.jsonl" else file.read_bytes()[:-200])
        with pytest.warns(UserWarning, match=f"{said}.*: it is trained again"):
            assert not graph.ensure(ce(graph), "clean", "ce").reused


def test_fresh_trains_one_network_again_and_none_that_it_needs(make_graph: MakeGraph) -> None:
    graph = make_graph()
    student = graph.student("clean", "kd", {}, 0)
    first = graph.ensure(student, "clean", "kd")
    whole = first.checkpoint.read_bytes()
    (first.folder / "stale").touch()
    teacher = graph.path(graph.network("clean", "teacher")) / "checkpoint.safetensors"
    before = teacher.stat().st_mtime_ns
    second = graph.ensure(student, "clean", "kd", fresh=True)
    assert not second.reused
    assert not (second.folder / "stale").exists()
    assert second.checkpoint.read_bytes() == whole
    assert teacher.stat().st_mtime_ns == before


def test_whoever_follows_a_training_finds_each_epoch_in_its_log(make_graph: MakeGraph) -> None:
    graph = make_graph(("epochs = 1", "epochs = 3"))
    spec, seen = ce(graph), list[int]()
    graph.ensure(spec, "clean", "ce", on_epoch=lambda: seen.append(len(read_log(graph.path(spec)))))
    assert seen == [1, 2, 3]


def test_a_loaded_network_is_frozen_and_has_the_trained_weights(make_graph: MakeGraph) -> None:
    graph = make_graph()
    trained = graph.ensure(ce(graph), "clean", "ce")
    network = graph.load(trained)
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    tensors, _ = load_checkpoint(trained.checkpoint)
    state = network.state_dict()
    assert {f"student.{name}" for name in state} == set(tensors)
    assert all(torch.equal(tensor, tensors[f"student.{name}"]) for name, tensor in state.items())


def test_a_suite_without_that_network_or_condition_is_an_error(make_graph: MakeGraph) -> None:
    graph = make_graph()
    with pytest.raises(KdbenchError, match="no network role named 'techer' .did you mean 'teacher'"):
        graph.network("clean", "techer")
    with pytest.raises(KdbenchError, match="no condition named 'claen' .did you mean 'clean'"):
        graph.network("claen", "teacher")


def test_a_suite_that_watches_an_attack_asks_for_another_training_of_students_alone(make_graph: MakeGraph) -> None:
    plain, watching = make_graph(), make_graph(("[recipe]", "[watch]\neps = 0.02\nimages = 5\nsteps = 1\n[recipe]"))
    assert ce(plain).digest() != ce(watching).digest()
    assert plain.network("clean", "teacher").digest() == watching.network("clean", "teacher").digest()
    log = read_log(watching.ensure(ce(watching), "clean", "ce").folder)
    assert [entry["test_pgd_n"] for entry in log] == [5] * len(log)
