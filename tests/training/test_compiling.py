"""Compiled networks: here with backends that need no compiler, which must give the same bits."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import KdbenchWarning
from kdbench.models import build
from kdbench.running import graph
from kdbench.specs import Recipe
from kdbench.testing import TINY
from kdbench.training import compiling
from kdbench.training.compiling import Compiler, compiled, compiler_for
from kdbench.training.monitor import Monitor
from tests.training.spies import CPU, Spy, run

RECIPE = Recipe(epochs=2, batch_size=10, lr=0.1, momentum=0.9)  # 22 images: each epoch ends with an incomplete batch
TRACED = Compiler(backend="aot_eager", mode=None, pays_from=0)
EAGER = Compiler(backend="eager", mode=None, pays_from=0)


class Average(Spy):
    """Keeps an average of the student, and the last step's logits."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.average = copy.deepcopy(ctx.student).requires_grad_(False)

    def networks(self) -> dict[str, nn.Module]:
        return {"average": self.average}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        logits = ctx.student(batch.images)
        with torch.no_grad():
            target = self.average.eval()(batch.images).softmax(1)
        again = ctx.student(batch.images.flip(3))
        return nn.functional.cross_entropy(logits, batch.labels) + nn.functional.mse_loss(again.softmax(1), target)

    def after_step(self, ctx: kdbench.Context) -> None:
        for mine, theirs in zip(self.average.parameters(), ctx.student.parameters(), strict=True):
            mine.data.lerp_(theirs.data, 0.1)


def weights(folder: Path) -> bytes:
    return (folder / "checkpoint.safetensors").read_bytes()


@pytest.mark.parametrize("compiler", [EAGER, TRACED], ids=["eager", "aot_eager"])
def test_a_compiled_training_ends_with_the_same_bits(tmp_path: Path, compiler: Compiler) -> None:
    plain, fast = tmp_path / "plain", tmp_path / "fast"
    monitor = Monitor(torch.zeros(12, 3, 32, 32, dtype=torch.uint8), torch.arange(12) % 10)
    run(Average(), RECIPE, plain, monitor=monitor)
    student = run(Average(), RECIPE, fast, monitor=monitor, compiler=compiler)
    assert weights(plain) == weights(fast)
    entries = [json.loads(line) for line in (fast / "log.jsonl").read_text().splitlines()]
    assert [entry["compiled"] for entry in entries] == [True, True]
    assert '"compiled"' not in (plain / "log.jsonl").read_text()
    assert student._compiled_call_impl is None  # as torch had it


def test_a_short_training_is_not_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *a, **k: pytest.fail("compiled"))
    run(Spy(), RECIPE, tmp_path, compiler=Compiler(backend="eager", mode=None, pays_from=7))  # it has six steps


def test_a_resumed_training_counts_the_steps_that_are_left(tmp_path: Path) -> None:
    compiler = Compiler(backend="eager", mode=None, pays_from=6)
    run(Spy(), RECIPE, tmp_path, compiler=compiler, stop_after=1)
    run(Spy(), RECIPE, tmp_path, compiler=compiler)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["compiled" in entry for entry in entries] == [True, False]


def batch() -> Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def no_change() -> torch.no_grad:
    return torch.enable_grad()  # type: ignore[return-value]  # any context that does nothing


def test_only_whole_batches_in_a_steps_mode_run_compiled() -> None:
    seen: list[torch.Size] = []

    def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        def call(*arguments: Tensor) -> object:
            seen.append(arguments[-1].shape)
            return graph.forward(*arguments)

        return call

    network, images = build(TINY, num_classes=10, seed=1), batch()
    with compiled(Compiler(counting, None, 0), [network], [], images, no_change):  # type: ignore[arg-type]  # or a name
        seen.clear()
        network.train()(images)
        assert len(seen) == 1
        network(images[:4])
        network.eval()(images)
        with torch.no_grad():
            network.train()(images)
        copy.deepcopy(network)(images)
        twice = {name: 2 * parameter for name, parameter in network.named_parameters()}
        torch.func.functional_call(network, twice, (images,))
        assert len(seen) == 1
        network(images)
        assert len(seen) == 2


def test_compiling_leaves_network_and_random_numbers_as_they_were() -> None:
    network, teacher, images = build(TINY, num_classes=10, seed=1), build(TINY, num_classes=10, seed=2), batch()
    teacher.eval().requires_grad_(False)
    network(images).sum().backward()
    before = copy.deepcopy(network.state_dict()), [p.grad.clone() for p in network.parameters() if p.grad is not None]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with compiled(TRACED, [network], [teacher], images, no_change) as works:
        assert works
        assert torch.equal(torch.rand(3), expected)
        assert network.training and not teacher.training
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[0][name]), name
        found = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(torch.equal(*pair) for pair in zip(found, before[1], strict=True))


def wrong(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
    """A backend whose logits are twice as large."""
    return lambda *arguments: [2 * found for found in graph.forward(*arguments)]


def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
    raise OSError("no C compiler")


@pytest.mark.parametrize(("backend", "reason"), [(wrong, "compiled logits differ by 1"), (broken, "no C compiler")])
def test_what_compiles_wrongly_or_not_at_all_is_trained_without(backend: object, reason: str) -> None:
    network, images = build(TINY, num_classes=10, seed=1), batch()
    expected = copy.deepcopy(network)(images)
    with (
        pytest.warns(KdbenchWarning, match=f"trained without compiling: .*{reason}"),
        compiled(Compiler(backend, None, 0), [network], [], images, no_change) as works,  # type: ignore[arg-type]
    ):
        assert not works
        assert torch.equal(network(images), expected)


def test_a_network_with_hooks_is_left_alone() -> None:
    network, images, seen = build(TINY, num_classes=10, seed=1), batch(), []
    next(network.children()).register_forward_hook(lambda *a: seen.append(len(seen)))
    with compiled(EAGER, [network], [], images, no_change) as works:
        assert not works and not seen


def test_dropout_is_no_fault() -> None:
    network = nn.Sequential(build(TINY, num_classes=10, seed=1), nn.Dropout(0.5))
    with compiled(EAGER, [network], [], batch(), no_change) as works:
        assert works


def test_nothing_is_compiled_on_a_cpu_or_unasked() -> None:
    assert compiler_for(CPU, asked=True) is None
    assert compiler_for(torch.device("cuda"), asked=False) is None
    assert compiler_for(torch.device("cuda"), asked=True) == compiling.Compiler()


class Reached(Exception):
    """The training would begin now."""


@pytest.mark.parametrize("asked", [True, False])
def test_what_a_caller_says_of_compiling_reaches_the_training(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    def stops(*arguments: object, compiler: object, **options: object) -> None:
        raise Reached(compiler)

    monkeypatch.setattr(graph, "fit", stops)
    monkeypatch.setattr(graph, "compiler_for", lambda device, *, asked: asked)
    record = kdbench.run(str(tiny_suite), "ce", out=tmp_path, device="cpu", tasks=["clean"], compile=asked)
    assert record.error == f"condition clean: Reached: {asked}"


@pytest.mark.gpu
def test_on_a_gpu_graphs_train_like_kernels_one_by_one() -> None:
    device = torch.device("cuda")
    network = build(TINY, num_classes=10, seed=1).to(device, memory_format=torch.channels_last)
    images = batch().to(device).contiguous(memory_format=torch.channels_last)
    plain = copy.deepcopy(network)
    with compiled(Compiler(pays_from=0), [network], [], images, no_change) as works:
        assert works
        for _ in range(4):
            for one in (plain, network):
                torch.compiler.cudagraph_mark_step_begin()
                one.zero_grad(set_to_none=True)
                one(images).square().mean().backward()
            for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
                torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-2, atol=1e-4)
