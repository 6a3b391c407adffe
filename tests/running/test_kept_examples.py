"""Examples of the suite's networks are made once, and decide the same scores as fresh ones."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.attacks import is_random, pgd_best_iterate, transfer
from kdbench.attacks.transfer import Keep
from kdbench.errors import KdbenchError
from kdbench.running.evaluation import TaskResult, run_task
from kdbench.running.graph import Trained
from kdbench.running.kept_examples import KeptExamples
from kdbench.tasks import EvaluationContext
from kdbench.tasks.transfer import Transfer
from tests.running.conftest import MakeGraph
from tests.tasks.helpers import CPU, TinyNet
from tests.tasks.test_pgd import random_net
from tests.tasks.test_random_predictor import OneDraw


@pytest.fixture
def keep(tmp_path: Path) -> KeptExamples:
    return KeptExamples(tmp_path / "examples", {"network": "one"})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sources that examples were made on."""
    sources: list[Any] = []

    def counting(source: Any, *arguments: Any, **options: Any) -> Tensor:
        sources.append(source)
        return pgd_best_iterate(source, *arguments, **options)

    module = sys.modules["kdbench.attacks.transfer"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "pgd_best_iterate", counting)
    return sources


def measured(kept: Keep | None, source: torch.nn.Module | None = None) -> TaskResult:
    model, data = random_net()
    task = Transfer()
    networks = {"teacher": source or TinyNet(4, seed=11)}
    ctx = EvaluationContext("clean", CPU, None, networks=networks, kept={"teacher": kept} if kept else {})
    settings = task.resolve({"sources": ["teacher"], "eps": 0.02, "step_size": 0.006, "steps": 4})
    return run_task(task, settings, model, data, ctx)


def test_scores_are_bit_for_bit_those_of_fresh_examples(keep: KeptExamples, made: list[Any]) -> None:
    fresh, first, again = measured(None), measured(keep), measured(keep)
    for one in (first, again):
        assert (one.scores, one.checks) == (fresh.scores, fresh.checks)
        assert one.correct.keys() == fresh.correct.keys()
        assert all(torch.equal(one.correct[name], fresh.correct[name]) for name in fresh.correct)
    assert len(list(keep.folder.glob("*.safetensors"))) == 1
    assert len(made) == 2 + 2 + 1, "the third time the student alone is attacked"


def problem() -> dict[str, Any]:
    _, data = random_net()
    return {
        "source": TinyNet(4, seed=3), "images": data.test.images, "labels": data.test.labels,
        "eps": 0.02, "step_size": 0.006, "steps": 2, "batch_size": 50,
    }  # fmt: skip


def kept_with(keep: Keep, **changes: Any) -> Any:
    asked = problem() | changes
    return transfer(asked.pop("source"), TinyNet(4, seed=11), asked.pop("images"), asked.pop("labels"), kept=keep,
                    **asked)  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"source": TinyNet(4, seed=4)}, {"eps": 0.03}, {"step_size": 0.005}, {"steps": 3}, {"batch_size": 49},
        {"images": problem()["images"].clone().fill_(7)}, {"images": problem()["images"].float() / 255},
        {"labels": problem()["labels"].flip(0)},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_whatever_decides_examples_is_part_of_their_name(
    keep: KeptExamples, made: list[Any], changes: dict[str, Any]
) -> None:
    kept_with(keep)
    kept_with(keep)
    assert len(made) == 1
    kept_with(keep, **changes)
    assert len(made) == 2
    kept_with(KeptExamples(keep.folder, {"network": "other"}))
    assert len(made) == 3
    assert len(list(keep.folder.glob("*.safetensors"))) == 3


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "cut off":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "a bit flipped":
        content[-5] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("kind", ["cut off", "a bit flipped", "empty"])
def test_a_damaged_file_is_made_anew(keep: KeptExamples, made: list[Any], kind: str) -> None:
    first = kept_with(keep)
    [path] = keep.folder.glob("*.safetensors")
    whole = path.read_bytes()
    damage(path, kind)
    with pytest.warns(UserWarning, match="are made again"):
        again = kept_with(keep)
    assert torch.equal(again.adversarial_correct, first.adversarial_correct)
    assert len(made) == 2
    assert path.read_bytes() == whole


def test_a_file_under_the_name_of_another_is_not_believed(keep: KeptExamples, made: list[Any]) -> None:
    kept_with(keep)
    [path] = keep.folder.glob("*.safetensors")
    kept_with(keep, eps=0.1)
    [other] = set(keep.folder.glob("*.safetensors")) - {path}
    path.write_bytes(other.read_bytes())
    with pytest.warns(UserWarning, match="another content than was written"):
        kept_with(keep)
    assert len(made) == 3


def test_of_two_at_a_time_one_makes_them(keep: KeptExamples) -> None:
    calls, both, found = [], threading.Barrier(2), []

    def make() -> Tensor:
        calls.append(1)
        return torch.full((2, 3, 4, 4), len(calls) / 4)

    def ask() -> None:
        both.wait()
        found.append(keep({"attack": "a"}, make))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert torch.equal(found[0], found[1])


def test_a_folder_that_cant_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "examples").write_text("a file")
    with pytest.warns(UserWarning, match="can't keep adversarial examples"):
        found = KeptExamples(tmp_path / "examples", {})({}, lambda: torch.ones(1, 3, 4, 4))
    assert torch.equal(found, torch.ones(1, 3, 4, 4))


def test_large_images_are_not_kept(keep: KeptExamples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.running.kept_examples.LARGEST", 191)
    assert keep({}, lambda: torch.ones(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    assert not list(keep.folder.glob("*.safetensors"))


def test_examples_of_a_random_network_are_not_kept(keep: KeptExamples) -> None:
    source = OneDraw((30, 90, 150, 210))
    assert is_random(source, random_net()[1].test.images)
    measured(keep, source)
    assert not keep.folder.exists()


def test_a_source_without_weights_is_named(keep: KeptExamples) -> None:
    model = TinyNet(4, seed=3).eval()
    with pytest.raises(KdbenchError, match="can't be kept"):
        kept_with(keep, source=lambda images: model(images))


def test_the_facts_name_the_network_and_what_computes(
    make_graph: MakeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make_graph()
    trained = Trained(graph.network("clean", "teacher"), tmp_path, reused=True)
    trained.checkpoint.write_bytes(b"weights")
    found = KeptExamples.of(graph, trained)
    assert found.folder == graph.options.out / "tiny/examples"
    assert found.facts["checkpoint"] == hashlib.sha256(b"weights").hexdigest()
    assert found.facts["training"] == trained.spec.digest()
    assert {"threads", "torch", "machine", "device", "kdbench", "instructions"} <= found.facts.keys()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert KeptExamples.of(graph, trained).facts != found.facts
