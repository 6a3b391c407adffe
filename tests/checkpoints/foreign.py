"""Residual networks with the names and the forward passes of the usual repositories, small and written for these tests.

Each is an independent computation: what ours answers with its weights must be what it answers itself.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def library(name: str) -> Any:
    """A library, deaf to its own deprecations; the test is skipped where it isn't installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def torchvision_resnet(depth: int) -> nn.Module:
    """torchvision's, with the stem that people give it for small images; timm's has the same names."""
    network: Any = getattr(library("torchvision.models"), f"resnet{depth}")(num_classes=10)
    network.conv1, network.maxpool = conv(3, 64), nn.Identity()
    return network  # type: ignore[no-any-return]


class KuangliuBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width), nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Kuangliu(nn.Module):
    """ResNet-18 of kuangliu/pytorch-cifar."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64), nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for stage in (1, 2, 3, 4):
            before, width = widths[stage - 1 : stage + 1]
            blocks = KuangliuBlock(before, width, 1 + (stage > 1)), KuangliuBlock(width, width, 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class WeiaicunzaiBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(
            conv(inputs, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU(), conv(width, width), nn.BatchNorm2d(width)
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual_function(x) + self.shortcut(x))


class Weiaicunzai(nn.Module):
    """ResNet-18 of weiaicunzai/pytorch-cifar100."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, 64), nn.BatchNorm2d(64), nn.ReLU())
        widths = (64, 64, 128, 256, 512)
        for stage in (1, 2, 3, 4):
            before, width = widths[stage - 1 : stage + 1]
            blocks = WeiaicunzaiBlock(before, width, 1 + (stage > 1)), WeiaicunzaiBlock(width, width, 1)
            setattr(self, f"conv{stage + 1}_x", nn.Sequential(*blocks))
        self.fc = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in (2, 3, 4, 5):
            x = getattr(self, f"conv{stage}_x")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class XternalzBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.convShortcut = None if inputs == width else conv(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(activated)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return shortcut + residual


class XternalzStage(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(XternalzBlock(inputs, width, stride), XternalzBlock(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        stage: Tensor = self.layer(x)
        return stage


class Xternalz(nn.Module):
    """WRN-16-2 of xternalz/WideResNet-pytorch; with ``unused``, the one of TRADES."""

    def __init__(self, *, unused: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(3, 16)
        self.block1 = XternalzStage(16, 32, 1)
        if unused:
            self.sub_block1 = XternalzStage(16, 32, 1)
        self.block2, self.block3 = XternalzStage(32, 64, 2), XternalzStage(64, 128, 2)
        self.bn1, self.fc = nn.BatchNorm2d(128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        logits: Tensor = self.fc(F.relu(self.bn1(x)).mean((2, 3)))
        return logits


class HystsShortcut(nn.Sequential):
    """Named convolution, as in the stages of hysts/pytorch_image_classification."""


class HystsBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.shortcut = HystsShortcut(
            OrderedDict(conv=conv(inputs, width, 1, stride)) if inputs != width else OrderedDict()
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        shortcut: Tensor = self.shortcut(activated) if len(self.shortcut) else x
        return shortcut + residual


class Hysts(nn.Module):
    """WRN-16-2 of hysts/pytorch_image_classification, whose blocks are counted from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 16)
        for stage, (before, width) in enumerate(((16, 32), (32, 64), (64, 128)), 1):
            blocks = HystsBlock(before, width, 1 + (stage > 1)), HystsBlock(width, width, 1)
            setattr(self, f"stage{stage}", nn.Sequential(OrderedDict(block1=blocks[0], block2=blocks[1])))
        self.bn, self.fc = nn.BatchNorm2d(128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for stage in (1, 2, 3):
            x = getattr(self, f"stage{stage}")(x)
        logits: Tensor = self.fc(F.relu(self.bn(x)).mean((2, 3)))
        return logits


class Szagoruyko(nn.Module):
    """WRN-16-2 of szagoruyko/wide-residual-networks: a function of tensors in a dict, named without ``.weight``."""

    def __init__(self, source: Xternalz) -> None:
        super().__init__()
        state = source.state_dict()
        self.tensors = {"conv0": state["conv1.weight"], "fc.weight": state["fc.weight"], "fc.bias": state["fc.bias"]}
        leaves = ("weight", "bias", "running_mean", "running_var")
        self.tensors |= {f"bn.{leaf}": state[f"bn1.{leaf}"] for leaf in leaves}
        for stage in range(3):
            for block in range(2):
                here, there = f"group{stage}.block{block}", f"block{stage + 1}.layer.{block}"
                for number in range(2):
                    self.tensors[f"{here}.conv{number}"] = state[f"{there}.conv{number + 1}.weight"]
                    for leaf in leaves:
                        self.tensors[f"{here}.bn{number}.{leaf}"] = state[f"{there}.bn{number + 1}.{leaf}"]
            self.tensors[f"group{stage}.block0.convdim"] = state[f"block{stage + 1}.layer.0.convShortcut.weight"]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return dict(self.tensors)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.tensors["conv0"], padding=1)
        for stage in range(3):
            for block in range(2):
                x = self._block(x, f"group{stage}.block{block}", 2 if stage > 0 and block == 0 else 1)
        return F.linear(self._bn(x, "bn").mean((2, 3)), self.tensors["fc.weight"], self.tensors["fc.bias"])

    def _bn(self, x: Tensor, name: str) -> Tensor:
        parts = (self.tensors[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
        return F.relu(F.batch_norm(x, *parts))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        activated = self._bn(x, f"{name}.bn0")
        residual = F.conv2d(activated, self.tensors[f"{name}.conv0"], stride=stride, padding=1)
        residual = F.conv2d(self._bn(residual, f"{name}.bn1"), self.tensors[f"{name}.conv1"], padding=1)
        dimension = self.tensors.get(f"{name}.convdim")
        return residual + (x if dimension is None else F.conv2d(activated, dimension, stride=stride))


class KuangliuPreActBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, shortcut_bn: bool) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        if stride > 1:
            layers = [conv(inputs, width, 1, stride), nn.BatchNorm2d(width)]
            self.shortcut = nn.Sequential(*layers[: 1 + shortcut_bn])

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        shortcut = self.shortcut(activated) if hasattr(self, "shortcut") else x
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return shortcut + residual


class KuangliuPreAct(nn.Module):
    """PreActResNet-18 of kuangliu/pytorch-cifar, as it is changed by some: batch norm in shortcuts and at the end."""

    def __init__(self, *, shortcut_bn: bool = True, last_bn: bool = True) -> None:
        super().__init__()
        self.conv1 = conv(3, 64)
        widths = (64, 64, 128, 256, 512)
        for stage in (1, 2, 3, 4):
            before, width = widths[stage - 1 : stage + 1]
            first = KuangliuPreActBlock(before, width, 1 + (stage > 1), shortcut_bn)
            setattr(self, f"layer{stage}", nn.Sequential(first, KuangliuPreActBlock(width, width, 1, shortcut_bn)))
        self.bn = nn.BatchNorm2d(512) if last_bn else nn.Identity()
        self.linear = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        logits: Tensor = self.linear(F.relu(self.bn(x)).mean((2, 3)))
        return logits


def trained(network: nn.Module) -> nn.Module:
    """In eval mode, every tensor of every batch norm away from where it begins."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0.0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0.0, 0.1, generator=generator)
    return network.eval()
