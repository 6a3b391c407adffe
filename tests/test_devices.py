from __future__ import annotations

import pytest
import torch

from kdbench import devices
from kdbench.devices import computes_bfloat16, resolve_device, resolve_precision
from kdbench.errors import KdbenchError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("there", "found"), [(True, GPU), (False, CPU)])
def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool, found: torch.device) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve_device("auto") == found


def test_what_is_asked_for_by_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("cpu") == CPU
    assert resolve_device("cuda") == GPU


def test_cuda_without_a_gpu_is_an_error_and_never_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(KdbenchError, match="cuda was asked for and torch sees no GPU .use --device cpu"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:1", "CPU", ""])
def test_an_unknown_device_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(KdbenchError, match=f"no device named '{name}' .one of: auto, cpu, cuda"):
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
