"""Random numbers of the pretend accelerator: generators of its own, and a default one for each device."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NAME = "accel"
_CPU = torch.Generator
default = torch.Generator()
"""What draws on the accelerator where no generator is given."""
_made: weakref.WeakValueDictionary[int, Generator] = weakref.WeakValueDictionary()
"""Those of the accelerator by the address of torch's part, which is all that operations get to see."""


class _AnyGenerator(type(torch.Generator)):  # type: ignore[misc]  # torch's generators have a metaclass of their own
    """What a generator is: torch's own too, which were made before."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _CPU)


class Generator(torch.Generator, metaclass=_AnyGenerator):
    """``torch.Generator``, with one more device."""

    on: torch.device | None = None

    def __new__(cls, device: torch.device | str | int = "cpu") -> Any:
        where = torch.device(device)
        if where.type != NAME:
            return _CPU(where)
        made: Any = super().__new__(cls, "cpu")  # type: ignore[call-arg]  # torch leaves it undeclared
        made.on = torch.device(NAME, where.index or 0)
        _made[made._cdata] = made
        return made

    def __init__(self, device: torch.device | str | int = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # torch's is not written either
        return self.on or torch.device("cpu")


class CheckedGenerators(TorchFunctionMode):
    """Refuses a generator of the accelerator where the CPU draws: torch's part of it is one of the CPU's, and would."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if isinstance(generator := named.get("generator"), Generator) and generator.device.type == NAME:
            drawn = next((one.device for one in args if isinstance(one, Tensor)), torch.device("cpu"))
            check_generator(generator, torch.device(named["device"]) if named.get("device") else drawn)
        return func(*args, **named)


def check_generator(generator: Any, where: torch.device) -> None:
    """Raise ``RuntimeError`` for a generator of another device, as a GPU does."""
    if generator is None:
        return
    found = _made[generator._cdata].device if generator._cdata in _made else generator.device
    if found != (torch.device(NAME, 0) if where == torch.device(NAME) else where):
        raise RuntimeError(f"Expected a '{where}' device type for generator but found '{found}'")


@contextlib.contextmanager
def drawing(func: Any, where: torch.device) -> Iterator[None]:
    """Let an operation that draws without a generator draw from the accelerator's, not from the CPU's."""
    if where.type != NAME or torch.Tag.nondeterministic_seeded not in func.tags:
        yield
        return
    before, own = torch.default_generator.get_state(), default
    torch.default_generator.set_state(own.get_state())
    try:
        yield
    finally:
        own.set_state(torch.default_generator.get_state())
        torch.default_generator.set_state(before)


def get_state(device: torch.device | int | str = 0) -> Tensor:
    return default.get_state()


def set_state(state: Tensor, device: torch.device | int | str = 0) -> None:
    default.set_state(state)


def manual_seed_all(seed: int) -> None:
    default.manual_seed(seed)
