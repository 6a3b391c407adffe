"""Which device computes, in what precision, and what torch can say of it; through ``torch.accelerator``."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from kdbench.errors import KdbenchError

Function = TypeVar("Function", bound=Callable[..., Tensor])
CPU = torch.device("cpu")
TYPES = ("cuda", "mps", "xpu")
"""Accelerators by torch's names: NVIDIA's and AMD's GPUs, Apple's, Intel's. Whatever else torch has goes by its own."""
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps", "xpu")
"""What ``--device`` takes."""


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first accelerator that torch sees, else the CPU.

    A type alone is its first device. An accelerator that is not there is an error, never the CPU.
    """
    there = available_devices()
    if name == "auto":
        return there[0]
    kind, _, number = name.partition(":")
    known = {"cpu", *TYPES, *(device.type for device in there)}
    if kind not in known or not re.fullmatch(r"cpu|(?!cpu)[a-z]+(:\d+)?", name):
        raise KdbenchError(f"no device named '{name}'", f"one of: {', '.join(DEVICES)}; there is {_listed(there)}")
    wanted = CPU if kind == "cpu" else torch.device(kind, int(number or 0))
    if wanted not in there:
        raise KdbenchError(f"device {name} was asked for and torch does not see it", f"there is {_listed(there)}; "
                           "`kdbench doctor` says more")  # fmt: skip
    return wanted


def available_devices() -> list[torch.device]:
    """All devices that torch can compute on, accelerators first, the CPU last."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return [CPU]
    return [*(torch.device(accelerator.type, number) for number in range(torch.accelerator.device_count())), CPU]


def _listed(devices: list[torch.device]) -> str:
    return ", ".join(str(device) for device in devices)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "xpu":
        return torch.xpu.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":  # nothing says so of others; on Apple's, torch computes in it at float32's speed at best
        return False
    capabilities = torch.backends.cpu.get_cpu_capability()
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return capabilities != "DEFAULT" and bool(native())


def resolve_precision(precision: str, device: torch.device) -> str:
    """``float32`` or ``bfloat16`` for a recipe's ``precision`` on this device."""
    if precision == "auto":
        return "bfloat16" if computes_bfloat16(device) else "float32"
    return precision


def device_name(device: torch.device) -> str | None:
    """Model of an accelerator as its driver says it; None where nothing does."""
    if device.type == "mps":
        return torch.backends.mps.get_name()
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return None if named is None else str(named(device))


def memory(device: torch.device) -> tuple[int, int] | None:
    """Free and total bytes of an accelerator, what torch holds and doesn't use counted as free; None where torch can't
    say, as on the CPU."""
    if device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return max(0, total - torch.mps.current_allocated_memory()), total
    ask = _module(device, "mem_get_info")
    if ask is None:
        return None
    free, total = ask.mem_get_info(device)
    return free + ask.memory_reserved(device) - ask.memory_allocated(device), total


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that tensors of this process took on an accelerator since ``reset_peak_memory``; None where torch
    doesn't count them: on the CPU and on Apple's."""
    ask = _module(device, "max_memory_allocated")
    return None if ask is None else int(ask.max_memory_allocated(device))


def reset_peak_memory(device: torch.device) -> None:
    """Count ``peak_memory`` from here."""
    ask = _module(device, "reset_peak_memory_stats")
    if ask is not None:
        ask.reset_peak_memory_stats(device)


def release_memory() -> None:
    """Give back what torch holds of the accelerator's memory and does not use."""
    ask = _module(available_devices()[0], "empty_cache")
    if ask is not None:
        ask.empty_cache()


def _module(device: torch.device, function: str) -> Any:
    """torch's module of an accelerator, if it has such a function. ``torch.accelerator`` has them all, and raises where
    a device keeps no count of its memory."""
    module = None if device.type == "cpu" else torch.get_device_module(device)
    return module if hasattr(module, function) else None


@contextlib.contextmanager
def forked_random_numbers(device: torch.device) -> Iterator[None]:
    """Restore torch's global random numbers afterwards: the CPU's and, unless ``device`` is it, the accelerators' too,
    as ``torch.manual_seed`` seeds them all."""
    if device.type == "cpu":
        with torch.random.fork_rng([]):
            yield
    else:
        with torch.random.fork_rng(range(torch.accelerator.device_count()), device_type=device.type):
            yield


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64: Apple's and some of Intel's don't."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type in ("cpu", "cuda") or (device.type != "mps" and _makes_float64(device))


def _makes_float64(device: torch.device) -> bool:
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def float64(tensor: Tensor) -> Tensor:
    """``tensor`` in float64, on the CPU where its device has none."""
    return tensor.double() if has_float64(tensor.device) else tensor.cpu().double()


def widest(tensor: Tensor) -> Tensor:
    """``tensor`` where it is, in float64; in float32 where its device has none, which is what it computed in."""
    return tensor.double() if has_float64(tensor.device) else tensor.float()


def cpu_without_float64(function: Function) -> Function:
    """Have a function of images, and of generators, computed on the CPU where the images' device has no float64.

    It says so once. Generators on that device are replaced by one on the CPU that is seeded by a draw from them.
    """

    @functools.wraps(function)
    def computed(images: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(images, Tensor) or has_float64(images.device):
            return function(images, *args, **kwargs)
        warnings.warn(f"{images.device.type} has no float64: {function.__name__} runs on the CPU", stacklevel=2)
        given = [_drawing_on_the_cpu(one) for one in args]
        named = {name: _drawing_on_the_cpu(one) for name, one in kwargs.items()}
        return function(images.cpu(), *given, **named).to(images.device)

    return cast(Function, computed)


def _drawing_on_the_cpu(argument: object) -> object:
    if not isinstance(argument, torch.Generator) or argument.device.type == "cpu":
        return argument
    seed = torch.randint(2**31 - 1, (), generator=argument, device=argument.device)
    return torch.Generator().manual_seed(int(seed))
