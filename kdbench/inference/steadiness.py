"""Whether a network is made of nothing that could be random, which its parts show without a pass over images."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

LAYERS = (
    nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.BatchNorm2d, nn.Conv2d, nn.Dropout, nn.Flatten, nn.Identity, nn.Linear,
    nn.MaxPool2d, nn.ReLU, nn.Sequential,
)  # fmt: skip
"""Of torch, which draw nothing in eval mode; a subclass may."""
OWN = (
    "kdbench.inference.folding", "kdbench.models.normalise", "kdbench.models.preact_resnet", "kdbench.models.resnet",
    "kdbench.models.shufflenet", "kdbench.running.trial",
)  # fmt: skip
"""Files of ours whose modules draw nothing but through their parts."""
FUNCTIONS = (
    F.adaptive_avg_pool2d, F.channel_shuffle, F.relu, operator.add, operator.getitem, operator.sub, operator.truediv,
    torch.add, torch.cat, torch.flatten, torch.relu,
)  # fmt: skip
METHODS = ("chunk", "flatten", "mean", "relu", "relu_", "view")
"""What nodes of a traced network call that is no module."""


def draws_nothing(model: object) -> bool:
    """Whether a model can't be random: kdbench's own networks of torch's layers, and what folding makes of them.

    In eval mode, and as their classes have them: without hooks and without a ``forward`` of a single module. False says
    nothing: what is made of anything else has to be tried.
    """
    if not isinstance(model, nn.Module):
        return False
    if isinstance(model, fx.GraphModule):
        return _plain(model) and all(_is_steady(node, model) for node in model.graph.nodes)
    return all(_is_known(module) for module in model.modules())


def _is_steady(node: fx.Node, traced: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return all(_is_known(module) for module in traced.get_submodule(str(node.target)).modules())
    if node.op == "call_function":
        return node.target in FUNCTIONS or _is_own(node.target)
    return node.target in METHODS if node.op == "call_method" else True


def _is_known(module: nn.Module) -> bool:
    return _plain(module) and (type(module) in LAYERS or _is_own(type(module)))


def _plain(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return not module.training and not any(hooks) and "forward" not in vars(module)


def _is_own(thing: Any) -> bool:
    return getattr(thing, "__module__", "") in OWN
