"""Compiled networks in long trainings on a GPU: the work of many small kernels in few, started by one call.

Measurements are not compiled. Their batches are large, so that kernels are long, and those of attacks shrink image by
image, each size another graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data import KdbenchWarning
from kdbench.errors import named
from kdbench.training.seeds import derive_seed

COMPILED_ON = ("cuda",)
ROUNDS = 3
"""A CUDA graph is warmed by its first call, recorded in its second and replayed from the third on."""
APART = {torch.float32: 0.01, torch.bfloat16: 0.1}
"""How far compiled logits and gradients may be from the others, as a share of their length: rounding stays far below,
a wrong kernel far above."""

Precision = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclasses.dataclass(frozen=True)
class Compiler:
    """How networks are compiled, and from how many steps on: the first two are arguments of ``torch.compile``."""

    backend: str = "inductor"
    mode: str | None = "reduce-overhead"
    """Fused kernels in CUDA graphs: small networks on small batches wait for the start of kernels."""
    pays_from: int = 10_000
    """Optimiser steps: compiling takes a while first. No GPU has been measured yet; tools/gpu_campaign.py does that."""


def compiler_for(device: torch.device, *, asked: bool) -> Compiler | None:
    """How networks are compiled on a device; None: they are not."""
    return Compiler() if asked and device.type in COMPILED_ON else None


@contextlib.contextmanager
def compiled(
    compiler: Compiler, trained: Sequence[nn.Module], others: Sequence[nn.Module], images: Tensor, precision: Precision
) -> Iterator[bool]:
    """Networks whose calls on whole batches run compiled, while the block lasts; yields whether they do.

    A trained network runs compiled in train mode with gradients, another in eval mode without. Every other call, of an
    incomplete batch, say, runs as it would: there is one graph a network, and nothing is compiled again in a step. All
    are compiled before the block, and tried: parameters, buffers and random numbers stay as they were. Where compiling
    fails, or another logit or gradient comes out than by more than rounding, all networks run as without it, with a
    warning that says why.

    Args:
        trained: those with an optimiser. others: those that are only asked.
        images: float32 (n, C, H, W), a batch as the steps have it: shape, layout and device count.
        precision: what a step's forward pass runs in.
    """
    roles = [(network, True) for network in trained] + [(network, False) for network in others]
    chosen = [(network, learns) for network, learns in roles if not _has_hooks(network)]
    try:
        try:
            for network, learns in chosen:
                _compile(network, compiler, images.shape, learns)
                with _left_as_it_was(network, images.device):
                    _try(network, learns, images, precision)
            works = bool(chosen)
        except Exception as error:  # a missing C compiler, an operation without a kernel: the training needs neither
            works = False
            for network, _ in chosen:
                _restore(network)
            error = getattr(error, "inner_exception", error)  # torch wraps what a backend raised
            reason = named(error)
            warnings.warn(f"networks are trained without compiling: {reason}", KdbenchWarning, stacklevel=2)
        yield works
    finally:
        for network, _ in chosen:
            _restore(network)
        torch.compiler.reset()  # graphs hold memory, and a later training's networks are others


def begin_step(optimizer: torch.optim.Optimizer) -> None:
    """What graphs must know: results of the step before, its gradients among them, are not read any more."""
    optimizer.zero_grad(set_to_none=True)
    _forget_last_step()


def _forget_last_step() -> None:
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def _has_hooks(network: nn.Module) -> bool:
    """Whether somebody looks into the network while it computes, which a graph does not show. torch has no public name
    for a module's hooks."""
    return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())


def _compile(network: nn.Module, compiler: Compiler, shape: torch.Size, learns: bool) -> None:
    fast = torch.compile(network.forward, backend=compiler.backend, mode=compiler.mode, dynamic=False)
    plain, own = network._call_impl, tuple(network.parameters())

    def call(*arguments: Any, **named: Any) -> Any:
        whole = len(arguments) == 1 and not named and getattr(arguments[0], "shape", None) == shape
        # ``functional_call`` puts other weights in their place for one call; a graph has its own.
        as_compiled = network.training == learns and all(map(operator.is_, network.parameters(), own))
        if whole and as_compiled and torch.is_grad_enabled() == learns:
            # A graph writes its next result where this one lies, and a method may keep it.
            return fast(arguments[0]).clone()
        return plain(*arguments, **named)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    # What nn.Module.compile sets: copies of the network, an average's say, are not compiled, nor is a pickle.
    network._compiled_call_impl = call


def _restore(network: nn.Module) -> None:
    network._compiled_call_impl = None


@contextlib.contextmanager
def _left_as_it_was(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Buffers, gradients, modes and random numbers are afterwards what they were before."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    gradients = [(parameter, parameter.grad) for parameter in network.parameters()]
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(buffers[name])


def _try(network: nn.Module, learns: bool, images: Tensor, precision: Precision) -> None:
    """Compile a network by using it, and compare what it computes with what it computes without.

    Raises:
        RuntimeError: logits or gradients differ by more than rounding.
    """
    network.train(learns)
    call, plain = network.__call__, network._call_impl
    expected = [_answers(network, plain, learns, images, precision, seed) for seed in range(2)]
    for seed in range(ROUNDS):
        _forget_last_step()
        found = _answers(network, call, learns, images, precision, seed)
    limit = APART[torch.bfloat16 if found[0].dtype == torch.bfloat16 else torch.float32]
    if any(_apart(first, second) > limit for first, second in zip(*expected, strict=True)):
        return  # random, as with dropout: two answers never agree
    for what, mine, theirs in zip(("logits", "gradients"), found, expected[0], strict=False):
        distance = _apart(mine, theirs)
        if not distance <= limit:
            raise RuntimeError(f"compiled {what} differ by {distance:.2g} of their length, at most {limit} is rounding")


def _answers(
    network: nn.Module, call: Callable[[Tensor], Tensor], learns: bool, images: Tensor, precision: Precision, seed: int
) -> list[Tensor]:
    """Logits (n, classes) of the images, and the gradients of all parameters (m,) where the network learns."""
    torch.manual_seed(derive_seed(seed, "compiling"))
    for parameter in network.parameters():
        parameter.grad = None
    with torch.set_grad_enabled(learns), precision():
        logits = call(images)
    if not learns:
        return [logits.clone()]
    # Any direction in which no gradient vanishes: a softmax's would in a trained network.
    generator = torch.Generator().manual_seed(0)
    (logits.float() * torch.randn(logits.shape, generator=generator).to(logits.device)).sum().backward()  # type: ignore[no-untyped-call]  # as above
    found = [p.grad.flatten().float() for p in network.parameters() if p.grad is not None]
    return [logits.detach().clone(), torch.cat(found)]


def _apart(mine: Tensor, theirs: Tensor) -> float:
    """||mine - theirs|| / ||theirs||, 0 for two zeros."""
    length = float(theirs.double().norm())
    distance = float((mine.double() - theirs.double()).norm())
    return distance / length if length else distance
