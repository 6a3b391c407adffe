"""A tensor of the pretend accelerator: it wraps one of the CPU, and every operation on it passes here."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing

from kdbench.pretend import reads
from kdbench.pretend.generators import check_generator, drawing

NAME = "accel"
CPU = torch.device("cpu")
COPIES = ("aten::copy_", "aten::_to_copy")
INDEXED = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_", "aten::_unsafe_index")
TAKES_NUMBERS = ("aten::fill", "aten::fill_", "aten::masked_fill", "aten::masked_fill_", "aten::where")
"""Beside pointwise operations, those that take a number that lies on the CPU, as a GPU's do."""


@dataclass
class Limits:
    """What the accelerator has not."""

    float64: bool = True
    largest_bytes: int | None = None

    def check(self, held: Tensor, device: torch.device) -> None:
        """Raise what a device without it raises for a tensor that lies on it."""
        if held.dtype == torch.float64 and not self.float64:
            raise TypeError(f"Cannot convert a tensor to float64: {device} doesn't support it. Use float32 instead.")
        if self.largest_bytes is not None and held.nbytes > self.largest_bytes:
            raise torch.OutOfMemoryError(f"{device} out of memory. Tried to allocate {held.nbytes} bytes.")


limits = Limits()


class AccelTensor(Tensor):
    """A tensor on the pretend accelerator, whose values lie in ``held``, a tensor of the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> AccelTensor:
        limits.check(held, device)
        made: AccelTensor = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch's docs say

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is a class method too
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return compute(func, args, kwargs or {})

    def __repr__(self) -> str:  # type: ignore[override]  # torch's takes the contents
        return f"AccelTensor({self.held}, device='{self.device}')"

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        self._refuse_numpy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse_numpy()

    def _refuse_numpy(self) -> NoReturn:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def tolist(self) -> Any:
        reads.note("tolist")
        return self.held.tolist()

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, AccelTensor):
            raise RuntimeError(f"data of a tensor on {self.device} can't be set to a tensor on {new.device}")
        vars(torch._C.TensorBase)["data"].__set__(self, new)
        self.held = new.held

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            copied: Tensor = memo[id(self)]
            return copied
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol")
        copied = AccelTensor(_copied(self.held), self.device).requires_grad_(self.requires_grad)
        copied.__dict__.update({name: value for name, value in self.__dict__.items() if name != "held"})
        if self.grad is not None:
            copied.grad = copy.deepcopy(self.grad, memo)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        # torch.load reads this with weights_only as well, and respects map_location.
        reads.note("save")
        made = torch._utils._rebuild_device_tensor_from_cpu_tensor
        return made, (self.held, self.dtype, str(self.device), self.requires_grad)


def _copied(held: Tensor) -> Tensor:
    return torch.empty_like(held).copy_(held)


def compute(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives on the accelerator, computed on the CPU; an error where a GPU would raise one."""
    name = func._schema.name
    leaves: list[Any] = []
    _map(leaves.append, (args, tuple(kwargs.values())))
    tensors = [one for one in leaves if isinstance(one, Tensor)]
    accelerated = [one for one in tensors if isinstance(one, AccelTensor)]
    asked = kwargs.get("device")
    here = accelerated[0].device if accelerated else torch.device(asked or NAME)
    where = here if asked is None else torch.device(asked)
    if where.type == NAME and where.index is None:
        where = torch.device(NAME, 0)
    if name not in COPIES:
        _check_devices(func, name, args, tensors, here)
    if accelerated:
        _count(func, name, args, where)
    for one in leaves:
        if isinstance(one, torch.Generator):
            check_generator(one, where)
    with drawing(func, where):
        found = func(*_map(_held, args), **{key: _map(_held, value) for key, value in kwargs.items()})
    if torch.Tag.inplace_view in func.tags and name != "aten::resize_":
        return return_and_correct_aliasing(func, args, kwargs, args[0])  # type: ignore[no-untyped-call]
    if any(one.held.shape != one.shape for one in accelerated):
        raise NotImplementedError(f"{name} resized a tensor in place, which the pretend accelerator can't")
    known = {id(one.held): one for one in accelerated}

    def given(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        if id(one) in known:
            return known[id(one)]
        mine = next((tensor for tensor in tensors if tensor is one), None)  # a CPU tensor that was written into
        return one if mine is not None or where.type != NAME else AccelTensor(one, where)

    return _map(given, found)


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """``function`` of everything in nested lists and tuples; torch's own, for any container, takes as long as an
    operation."""
    if isinstance(value, list | tuple):
        return type(value)([_map(function, one) for one in value])
    return function(value)


def _held(one: Any) -> Any:
    if isinstance(one, AccelTensor):
        return one.held
    return CPU if isinstance(one, torch.device) and one.type == NAME else one


def _check_devices(func: Any, name: str, args: tuple[Any, ...], tensors: Sequence[Tensor], here: torch.device) -> None:
    """Raise where a GPU would: for tensors of two devices, but for numbers and indices that lie on the CPU."""
    numbers = torch.Tag.pointwise in func.tags or name in (*TAKES_NUMBERS, *INDEXED)
    indices = set()
    if name in INDEXED and isinstance(args[0], AccelTensor):
        indices = {id(one) for one in args[1] if isinstance(one, Tensor) and one.device == CPU}
    for one in tensors:
        fits = one.device == here or id(one) in indices or (numbers and one.device == CPU and one.ndim == 0)
        if not fits:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {here} and "
                f"{one.device}! (when calling {name})"
            )


def _count(func: Any, name: str, args: tuple[Any, ...], where: torch.device) -> None:
    """Note an operation that makes the host wait."""
    if name in COPIES:
        to_host = where == CPU if name == "aten::_to_copy" else args[0].device == CPU
        if to_host:
            reads.note("copy to the CPU")
    elif name in INDEXED:
        masks = [one for one in args[1] if isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8)]
        filled = len(args) > 2 and args[2].numel() == 1 and len(masks) == len(args[1])  # a fill, which needs no places
        if masks and not filled:
            reads.note("boolean indexing")
    elif torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        reads.note("item" if name == "aten::_local_scalar_dense" else name.removeprefix("aten::"))
