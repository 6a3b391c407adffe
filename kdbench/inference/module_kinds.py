"""Modules as people have them: the network inside a wrapper, and the logits among what it returns.

A wrapper for several devices or for compilation computes what the network inside computes, which alone can be folded.
Outputs are found by their name or by their shape; where either leaves a choice, the model is refused.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdbench.errors import KdbenchError, first_line
from kdbench.inference.prediction import frozen, refuse_probabilities

NAME = "logits"
"""What an output of several is called that is taken whatever the others are."""
TRIED = (8, 1)
"""Numbers of images that a model is tried on: measurements have batches of any size, to the last image."""


def as_network(model: object) -> nn.Module:
    """The module that is measured for ``model``: itself, or the network inside a wrapper.

    Raises:
        KdbenchError: it is no module, or one whose weights are not there or not of full precision.
    """
    if not isinstance(model, nn.Module):
        found, more = _no_module(model)
        raise KdbenchError(f"the model is {found}", f"give a torch.nn.Module from pixels to logits{more}")
    network = _unwrapped(model)
    _check_weights(network)
    return OneMode(network) if _has_one_mode(network) else network


def logits_of(model: nn.Module, images: Tensor, classes: int) -> nn.Module:
    """``model``, with the logits taken out of what it returns where that is more than logits.

    It is tried on the images: whatever it can't read, and whatever cannot be logits, is an error of one line.

    Args:
        model: on the device of the images; its mode is left as it was.
        images: float32 (n, 3, H, W) in [0, 1], at least 1.
        classes: of the data set.

    Raises:
        KdbenchError: it fails, or returns no logits, NaN or probabilities.
    """
    measured = model
    for count in dict.fromkeys(min(number, len(images)) for number in TRIED):
        few = images[:count]
        output = _answer(measured, few)
        if measured is model and not isinstance(output, Tensor):
            measured = _Output(model, _place(output, count, classes))
            output = _answer(measured, few)
        _check_logits(output, count, classes)
    return measured


def _no_module(model: object) -> tuple[str, str]:
    """What it is, and what else to do than to give a module."""
    name = type(model).__name__
    if isinstance(model, type):
        return f"the class {model.__name__}", f": {model.__name__}(...)"
    if isinstance(model, torch.export.ExportedProgram):
        return f"an {name}", ": its .module()"
    if isinstance(model, Mapping):
        return f"a {name}", ": build the network and call its load_state_dict"
    if isinstance(model, str | os.PathLike):
        return f"a {name}", ": `kdbench evaluate` reads files, and so does kdbench.load_predictor"
    return f"a {name}", ""


def _unwrapped(model: nn.Module) -> nn.Module:
    inner: object = model
    if isinstance(model, nn.DataParallel | DistributedDataParallel):
        inner = model.module
    elif "_orig_mod" in model._modules:  # of torch.compile, whose class takes a second to import
        inner = model._orig_mod
    elif model._compiled_call_impl is not None and not isinstance(model, torch.jit.ScriptModule):
        inner = copy.copy(model)  # shares everything but the compiled call, which copies go without
    hooked = model._forward_hooks or model._forward_pre_hooks
    return _unwrapped(inner) if isinstance(inner, nn.Module) and inner is not model and not hooked else model


def _check_weights(network: nn.Module) -> None:
    """Raise for weights that are not there, and for those whose products are not float32."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, tensor in tensors.items():
        if nn.parameter.is_lazy(tensor):
            raise KdbenchError(
                f"the model's weights {name} have no values yet: it has lazy layers",
                "run it on a batch of images and load its weights first",
            )
        if tensor.is_meta:
            raise KdbenchError(
                f"the model's weights {name} are on the device 'meta', without values", "load its weights first"
            )
        if tensor.is_floating_point() and tensor.dtype.itemsize < 4:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise KdbenchError(
                f"the model's weights {name} are {kind}, expected float32: rounded products change answers and the "
                "signs of gradients",
                "call .float() on the model",
            )


def _has_one_mode(network: nn.Module) -> bool:
    """Whether it is the module of an exported program, which refuses to be put in eval mode."""
    return isinstance(network, torch.fx.GraphModule) and "eval" in vars(network)


class OneMode(nn.Module):
    """An exported program's module, which stays in the mode that it was exported in."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def train(self, mode: bool = True) -> OneMode:
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Any:
        return self.module(images)


class _Output(nn.Module):
    """A model that returns one of the outputs of another."""

    def __init__(self, model: nn.Module, key: str | int) -> None:
        super().__init__()
        self.model, self.key = model, key

    def forward(self, images: Tensor) -> Any:
        output = self.model(images)
        named = isinstance(self.key, str) and not isinstance(output, Mapping)
        return getattr(output, str(self.key)) if named else output[self.key]


def _answer(model: nn.Module, images: Tensor) -> Any:
    """What it returns; whatever its own code raises is the user's to fix."""
    try:
        with frozen(model, images, fold=False) as ready, torch.no_grad():
            return ready(images)
    except (torch.OutOfMemoryError, KdbenchError):
        raise
    except Exception as error:
        what = f"the model cannot read images of shape {tuple(images.shape)}: {first_line(error)}"
        raise KdbenchError(what, _what_to_do(model, images)) from error


def _what_to_do(model: nn.Module, images: Tensor) -> str:
    size = f"{images.shape[2]}x{images.shape[3]}"
    if isinstance(model, OneMode):
        return f"export it for RGB images of {size} with a dynamic number of images: torch.export.Dim('batch', min=1)"
    return f"its forward gets RGB images of {size}, any number of them, and nothing else"


def _place(output: object, count: int, classes: int) -> str | int:
    """Where the logits are among several outputs."""
    found = dict(_outputs(output))
    fitting = [key for key, one in found.items() if _fits(one, count, classes)]
    if isinstance(found.get(NAME), Tensor):
        return NAME  # and if that cannot be logits, nothing else is taken for them
    if len(fitting) == 1:
        return fitting[0]
    kind = type(output).__name__
    if fitting:
        raise KdbenchError(
            f"the model returned a {kind} with {len(fitting)} outputs of shape ({count}, {classes}): "
            f"{', '.join(map(str, fitting))}",
            f"wrap it in a module that returns the logits alone, or under the name '{NAME}'",
        )
    parts = ", ".join(f"{key}: {_shape(one)}" for key, one in list(found.items())[:6])
    raise KdbenchError(
        f"the model returned {kind}{f' of {parts}' if parts else ''} for {count} images, expected ({count}, {classes}) "
        "logits",
        "wrap it in a module that returns the logits alone",
    )


def _outputs(output: object) -> Iterable[tuple[str | int, object]]:
    """The parts of what a model returns, by name or by number."""
    if isinstance(output, Mapping):
        return [(key, one) for key, one in output.items() if isinstance(key, str | int)]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return list(zip(output._fields, output, strict=True))
    if isinstance(output, Sequence) and not isinstance(output, str):
        return list(enumerate(output))
    if dataclasses.is_dataclass(output):
        return [(field.name, getattr(output, field.name)) for field in dataclasses.fields(output)]
    return []


def _fits(output: object, count: int, classes: int) -> bool:
    return isinstance(output, Tensor) and tuple(output.shape) == (count, classes) and output.is_floating_point()


def _shape(output: object) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def _check_logits(logits: Any, count: int, classes: int) -> None:
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (count, classes):
        more = ""
        if isinstance(logits, Tensor) and logits.shape[:2] == (count, classes):
            more = "flatten what it returns"
        elif isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == count:
            more = f"measure it on data of {logits.shape[1]} classes, or say which its outputs are (`--classes`)"
        raise KdbenchError(
            f"the model returned {_shape(logits)} for {count} images, expected ({count}, {classes}) logits",
            more or f"the data set has {classes} classes, and each image gets a row",
        )
    if not logits.is_floating_point():
        raise KdbenchError(
            f"the model returned {str(logits.dtype).removeprefix('torch.')}, expected float32 logits",
            "leave out what turns logits into decisions",
        )
    if not bool(logits.isfinite().all()):
        raise KdbenchError("the model's logits are not finite", "check the checkpoint for NaN weights")
    refuse_probabilities(logits)
