"""A network rewritten for measuring: batch norms folded into convolutions or into one scale and shift.

In eval mode with frozen weights a batch norm is a scale and a shift per channel. Behind a convolution they become part
of its weights; elsewhere the batch norm and the ReLU behind it become one operation. Weights lie in the layout that
convolutions like best. Logits and input gradients are those of the network up to float32 rounding, and a network for
which that can't be shown is left as it is.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdbench.inference.model import as_float
from kdbench.inference.order import sample
from kdbench.inference.pixels import Adapter
from kdbench.inference.randomness import varies

_RELUS = (F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_)
LOGITS, GRADIENTS = 1e-4, 1e-3
"""Largest relative difference of an image's logits, and of the median image's input gradient."""
COMPARED = 8
"""Images that both networks are compared on."""


def folded(model: nn.Module, images: Tensor) -> nn.Module:
    """``model`` in eval mode, rewritten where it answers the same on ``images``; else ``model`` itself.

    It is itself when it has no batch norm, has hooks, can't be traced symbolically or is random, and when logits or
    input gradients of the rewritten network differ: a trace doesn't see a backward pass of its own making, a
    ``no_grad`` or an ``autocast``. The rewritten network is a copy, made again at each call, as a network may be
    changed in ways that leave no trace.

    Args:
        model: in eval mode, frozen; it reads pixels in any layout (``readable``).
        images: uint8 or float, (N, C, H, W); the comparison is made on a sample.
    """
    modules = list(model.modules())
    if not any(_is_affine(module) for module in modules) or any(_has_hooks(module) for module in modules):
        return model
    few = as_float(sample(images, COMPARED)).contiguous(memory_format=torch.channels_last)
    own = _answer(model, few)
    if own is None or not bool(own[0].isfinite().all()) or varies(model, images):
        return model  # no logits, not numbers, or random: tracing may freeze a draw into a constant
    try:
        rewritten = _rewrite(model)
        other = _answer(rewritten, few)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a network may do anything in its forward: what can't be rewritten is run as it is
        return model
    return rewritten if other is not None and _alike(own, other) else model


def _answer(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Logits, and the input gradient of a weighted sum of them or None where none reaches the input; None for a model
    that does not return logits."""
    with torch.enable_grad():
        leaf = images.clone().requires_grad_(True)
        logits = model(leaf)
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            return None
        if not logits.requires_grad:
            return logits, None
        weights = torch.linspace(-1, 1, logits.shape[1], dtype=logits.dtype, device=logits.device)
        (gradient,) = torch.autograd.grad((logits * weights).sum(), leaf, allow_unused=True)
    return logits.detach(), gradient


def _alike(own: tuple[Tensor, Tensor | None], other: tuple[Tensor, Tensor | None]) -> bool:
    (logits, gradient), (other_logits, other_gradient) = own, other
    if logits.shape != other_logits.shape or bool(_apart(logits, other_logits).amax() > LOGITS):
        return False
    if gradient is None or other_gradient is None:
        return gradient is other_gradient
    # The median, as an activation that is almost 0 may be switched on by rounding.
    return bool(_apart(gradient.flatten(1), other_gradient.flatten(1)).median() <= GRADIENTS)


def _apart(own: Tensor, other: Tensor) -> Tensor:
    """Norm of the difference of each row over the norm of the row, (n,); 0 where both are 0."""
    distance: Tensor = (own - other).norm(dim=1) / own.norm(dim=1).clamp(min=torch.finfo(own.dtype).tiny)
    return distance


def _rewrite(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the network's own Python, which is traced, not run
        traced = fx.symbolic_trace(model)
    graph, targets = traced.graph, dict(traced.named_modules())
    for node in list(graph.nodes):
        if _is_plain_call(node) and _is_affine(targets[node.target]) and _called_once(graph, node):
            _fold(traced, graph, targets, node)
    last = not (isinstance(model, Adapter) and model.contiguous)
    for name, module in list(targets.items()):
        if last and isinstance(module, nn.Conv2d):  # a copy, as the model's own weights keep their layout
            _replace(traced, targets, name, copy.deepcopy(module).to(memory_format=torch.channels_last))
    traced.recompile()
    traced.delete_all_unused_submodules()
    return traced.eval().requires_grad_(False)


def _fold(traced: fx.GraphModule, graph: fx.Graph, targets: dict[str, nn.Module], node: fx.Node) -> None:
    """Replace one batch norm by what computes the same."""
    norm: Any = targets[str(node.target)]
    before = node.args[0]
    if isinstance(before, fx.Node) and _is_lone_convolution(graph, targets, before):
        convolution: Any = targets[str(before.target)]
        _replace(traced, targets, str(before.target), fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        graph.erase_node(node)
        return
    behind = list(node.users)
    with_relu = len(behind) == 1 and _is_relu(targets, behind[0])
    _replace(traced, targets, str(node.target), _ScaleShift(norm, relu=with_relu))
    if with_relu:
        behind[0].replace_all_uses_with(node)
        graph.erase_node(behind[0])


def _replace(traced: fx.GraphModule, targets: dict[str, nn.Module], name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(targets[parent], child, module)
    targets[name] = module


def _is_affine(module: Any) -> bool:
    """A batch norm that uses its running statistics: a scale and a shift."""
    return type(module) is nn.BatchNorm2d and module.running_mean is not None and not module.training


def _is_plain_call(node: fx.Node) -> bool:
    """A module called with one positional argument and nothing else."""
    return node.op == "call_module" and len(node.args) == 1 and not node.kwargs


def _is_lone_convolution(graph: fx.Graph, targets: dict[str, nn.Module], node: fx.Node) -> bool:
    """A convolution that is called once and read by one node alone."""
    if node.op != "call_module" or type(targets[str(node.target)]) is not nn.Conv2d or len(node.users) != 1:
        return False
    return _called_once(graph, node)


def _called_once(graph: fx.Graph, node: fx.Node) -> bool:
    calls = [other for other in graph.nodes if other.op == "call_module" and other.target == node.target]
    return len(calls) == 1


def _is_relu(targets: dict[str, nn.Module], node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(targets[str(node.target)]) is nn.ReLU
    return (node.op == "call_function" and node.target in _RELUS) or (
        node.op == "call_method" and node.target in ("relu", "relu_")
    )


def _has_hooks(module: nn.Module) -> bool:
    kinds = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(kinds)


class _ScaleShift(nn.Module):
    """An eval-mode batch norm, with the ReLU behind it where there is one."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d, *, relu: bool) -> None:
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None  # _is_affine
        scale = (norm.running_var + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.detach()
        shift = -norm.running_mean * scale
        shift = shift if norm.bias is None else shift + norm.bias.detach()
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        if self.relu:
            activated: Tensor = _ScaleShiftReLU.apply(x, self.scale, self.shift)
            return activated
        return torch.addcmul(self.shift, x, self.scale)


class _ScaleShiftReLU(torch.autograd.Function):
    """relu(x * scale + shift), (n, C, H, W) with (1, C, 1, 1) twice; a gradient for x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        activated = torch.addcmul(shift, x, scale).relu_()
        ctx.save_for_backward(activated, scale)
        return activated

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        activated, scale = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, activated, 0).mul_(scale), None, None
