from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

import kdbench
from kdbench import devices
from kdbench.devices import available_devices, computes_bfloat16, resolve_device, resolve_precision
from kdbench.errors import KdbenchError
from kdbench.running.provenance import collect, device_name, processor
from kdbench.testing import pretend_accelerator

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def have(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int = 1) -> None:
    """Let torch see so many accelerators of a kind."""
    found = None if kind is None else torch.device(kind)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("kind", "found"), [("cuda", GPU), ("mps", torch.device("mps", 0)), ("xpu", torch.device("xpu", 0)), (None, CPU)]
)
def test_auto_is_the_accelerator_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, found: torch.device
) -> None:
    have(monkeypatch, kind)
    assert resolve_device("auto") == found
    assert resolve_device("cpu") == CPU


def test_what_is_asked_for_by_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, "cuda", 2)
    asked = {"cpu": CPU, "cuda": GPU, "cuda:0": GPU, "cuda:1": torch.device("cuda", 1)}
    assert {name: resolve_device(name) for name in asked} == asked
    assert available_devices() == [GPU, torch.device("cuda", 1), CPU]


@pytest.mark.parametrize(
    ("name", "kind", "count", "there"),
    [
        ("cuda", None, 0, "cpu"),
        ("cuda:7", "cuda", 2, "cuda:0, cuda:1, cpu"),
        ("mps", None, 0, "cpu"),
        ("mps", "cuda", 1, "cuda:0, cpu"),
        ("xpu:1", "xpu", 1, "xpu:0, cpu"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: str | None, count: int, there: str
) -> None:
    have(monkeypatch, kind, count)
    with pytest.raises(KdbenchError, match=f"device {name} was asked for and torch does not see it .there is {there};"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "cpu:1", "meta", "auto:0", " cuda"])
def test_an_unknown_device_is_named_with_the_known_ones(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    have(monkeypatch, "cuda")
    expected = f"no device named '{name}' .one of: auto, cpu, cuda, cuda:N, mps, xpu; there is cuda:0, cpu"
    with pytest.raises(KdbenchError, match=expected):
        resolve_device(name)


@pytest.mark.parametrize(("native", "found"), [(True, "bfloat16"), (False, "float32")])
def test_automatic_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch, native: bool, found: str) -> None:
    for asked in (CPU, GPU):
        answer = {asked: native}
        monkeypatch.setattr(devices, "computes_bfloat16", answer.__getitem__)
        assert resolve_precision("auto", asked) == found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_named_precision_is_taken_whatever_the_device(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    for native in (True, False):
        monkeypatch.setattr(devices, "computes_bfloat16", lambda device, native=native: native)
        assert resolve_precision(precision, CPU) == precision


@pytest.mark.parametrize(("capability", "native"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((12, 1), True)])
def test_gpus_from_ampere_on_multiply_bfloat16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], native: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert computes_bfloat16(GPU) is native


def test_other_accelerators_multiply_bfloat16_where_torch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        monkeypatch.setattr(torch.xpu, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert computes_bfloat16(torch.device("xpu", 0)) is native
    assert not computes_bfloat16(torch.device("mps", 0))


@pytest.mark.parametrize(
    ("capability", "flag", "native"),
    [("AVX512", True, True), ("AVX512", False, False), ("AVX2", False, False), ("DEFAULT", True, False)],
)
def test_a_processor_needs_the_instruction_and_a_build_that_uses_it(
    monkeypatch: pytest.MonkeyPatch, capability: str, flag: bool, native: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: flag)
    assert computes_bfloat16(CPU) is native


def counting_module() -> types.SimpleNamespace:
    """torch's module of a device that holds 3 of 8 bytes for itself and uses 1 of these."""
    return types.SimpleNamespace(
        get_device_name=lambda device: "a card",
        mem_get_info=lambda device: (5, 8),
        memory_reserved=lambda device: 3,
        memory_allocated=lambda device: 1,
        max_memory_allocated=lambda device: 2,
        reset_peak_memory_stats=lambda device: None,
        empty_cache=lambda: None,
    )


def test_memory_is_what_the_device_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda device: counting_module())
    assert devices.memory(GPU) == (7, 8)
    assert devices.peak_memory(GPU) == 2
    assert device_name(GPU) == "a card"
    devices.reset_peak_memory(GPU)
    facts = collect(plugins={}, device=GPU, started="", seconds={})
    assert (facts.device, facts.device_name, facts.peak_device_memory_bytes) == ("cuda", "a card", 2)


def test_apples_memory_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    apple = torch.device("mps", 0)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 8)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 3)
    assert devices.memory(apple) == (5, 8)
    assert devices.peak_memory(apple) is None
    assert not devices.has_float64(apple)


def test_a_device_that_counts_nothing_says_nothing() -> None:
    with pretend_accelerator() as device:
        for where in (CPU, device):
            assert devices.memory(where) is None
            assert devices.peak_memory(where) is None
            devices.reset_peak_memory(where)
        devices.release_memory()
        assert device_name(CPU) == processor()


@pytest.mark.parametrize(("float64", "dtype"), [(True, torch.float64), (False, torch.float32)])
def test_float64_is_computed_where_it_can_be(float64: bool, dtype: torch.dtype) -> None:
    with pretend_accelerator(float64=float64) as device:
        assert devices.has_float64(device) is float64
        ones = torch.ones(3, device=device)
        assert devices.widest(ones).dtype == dtype
        assert devices.widest(ones).device == device
        assert devices.float64(ones).dtype == torch.float64
        assert devices.float64(ones).device == (device if float64 else CPU)
    assert devices.widest(torch.ones(3)).dtype == torch.float64


def test_random_numbers_of_the_cpu_and_of_the_device_are_restored() -> None:
    with pretend_accelerator() as device:
        torch.manual_seed(5)
        expected = torch.rand(2), torch.rand(2, device=device).cpu()
        torch.manual_seed(5)
        with devices.forked_random_numbers(device):
            torch.manual_seed(7)
            torch.rand(9), torch.rand(9, device=device)
        assert torch.equal(torch.rand(2), expected[0])
        assert torch.equal(torch.rand(2, device=device).cpu(), expected[1])


def test_no_device_is_named_where_any_would_do() -> None:
    """Code that says .cuda() or asks for CUDA alone leaves out every other accelerator; CUDA graphs are its own."""
    root = Path(kdbench.__file__).parent
    engines = {f"studies/executors/{name}.py" for name in ("local", "ray")}
    allowed = {"devices.py", "running/provenance.py", "training/compiling.py", "training/optimisers.py", *engines}
    naming = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("torch.cuda", ".cuda(", '"cuda"', "is_cuda"))
    }
    assert naming <= allowed, sorted(naming - allowed)
