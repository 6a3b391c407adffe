"""What torch is told of the pretend accelerator, and the context in which it is there."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from kdbench.pretend import autocast, generators
from kdbench.pretend.tensor import NAME, compute, limits

MADE_AND_RESIZED = ("arange", "arange.start", "arange.start_step", "eye", "eye.m")
"""What torch makes by resizing an empty tensor, which a tensor subclass can't follow."""
_open = 0
_libraries: list[torch.library.Library] = []


@contextlib.contextmanager
def pretend_accelerator(*, float64: bool = True, largest_bytes: int | None = None) -> Iterator[torch.device]:
    """Have an accelerator of one device, ``accel:0``, which is yielded.

    Without ``float64`` a tensor of that type can't be had on it, as on Apple's GPUs; a tensor of more than
    ``largest_bytes`` is out of memory.

    While it is open it is torch's accelerator: ``torch.accelerator`` names it, and `--device auto` chooses it. Torch
    can't be told to forget it: afterwards it is merely not available.

    Torch counts devices at the first backward pass of a process: open this once before it, as in ``pytest_configure``
    of a ``conftest.py``.

    Raises:
        RuntimeError: torch has a backend of this kind already, or there was a backward pass before.
    """
    global _open
    first = not _libraries
    if first:
        _register()
    before, limits_before = torch.Generator, limits.__dict__.copy()
    limits.float64, limits.largest_bytes = float64, largest_bytes
    _open += 1
    torch.Generator = generators.Generator  # type: ignore[assignment,misc]  # torch's own can't be told of a device
    try:
        with generators.CheckedGenerators():
            if first:
                _try_backward()
            yield torch.device(NAME, 0)
    finally:
        _open -= 1
        limits.__dict__.update(limits_before)
        torch.Generator = before  # type: ignore[misc]


def _try_backward() -> None:
    try:
        torch.zeros(1, device=NAME, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    except RuntimeError as error:
        raise RuntimeError(
            "torch's autograd has begun in this process without the pretend accelerator: open it once before the first "
            "backward pass, as in pytest_configure of your conftest.py"
        ) from error


def _register() -> None:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as setup

    if torch._C._get_privateuse1_backend_name() != "privateuseone":
        taken = torch._C._get_privateuse1_backend_name()
        raise RuntimeError(f"torch has the backend '{taken}' already, so that there is no place for a pretend one")
    setup(NAME, backend_module=_module(), hook=_hooks(), device_guard=_guard())
    library: Any = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]  # torch leaves it untyped
    library.fallback(_without_tensors, "PrivateUse1")
    library.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    single: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]  # torch leaves it untyped
    single.impl("_copy_from", _copy_from, "PrivateUse1")
    for name in MADE_AND_RESIZED:
        packet, _, overload = name.partition(".")
        operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
        single.impl(name, functools.partial(_without_tensors, operation), "PrivateUse1")
    _libraries.extend((library, single))
    autocast.register()


def _module() -> types.ModuleType:
    module = types.ModuleType(f"torch.{NAME}")
    functions: dict[str, Any] = {
        "is_available": lambda: _open > 0,
        "is_initialized": lambda: _open > 0,
        "device_count": lambda: 1 if _open else 0,
        "current_device": lambda: 0,
        "_is_in_bad_fork": lambda: False,
        "manual_seed_all": generators.manual_seed_all,
        "get_rng_state": generators.get_state,
        "set_rng_state": generators.set_state,
        "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
        "synchronize": lambda device=None: None,
        "get_device_name": lambda device=None: "pretend accelerator",
    }
    for name, function in functions.items():
        setattr(module, name, function)
    return module


def _hooks() -> Any:
    class Hooks(torch._C._acc.PrivateUse1Hooks):
        def is_available(self) -> bool:
            return _open > 0

        def has_primary_context(self, device: int) -> bool:
            return True

        def is_built(self) -> bool:
            return True

    return Hooks()


def _guard() -> Any:
    class Guard(torch._C._acc.DeviceGuard):
        def type_(self) -> Any:
            return torch._C._autograd.DeviceType.PrivateUse1

    return Guard()


def _without_tensors(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation that makes a tensor on the device out of none."""
    return compute(operation, args, kwargs)


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """A copy that torch makes with tensor subclasses switched off, as in ``torch.tensor``."""
    copied: Tensor = compute(torch.ops.aten.copy_.default, (target, source), {})
    return copied
