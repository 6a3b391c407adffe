"""One vocabulary for the tensors of residual networks, whatever their authors call them.

It knows the names of kdbench's networks; of torchvision's and timm's ResNets; of kuangliu/pytorch-cifar and
weiaicunzai/pytorch-cifar100; of xternalz/WideResNet-pytorch, from which TRADES, AugMix and most of RobustBench's wide
networks descend; of szagoruyko/wide-residual-networks and hysts/pytorch_image_classification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_LEAVES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}

_TOP = {
    "stem": re.compile(r"conv_?[01]?|stem|stem\.conv|(?:conv1|pre)\.0"),
    "norm": re.compile(r"bn_?1?|norm1?|bn_last|last_bn|(?:conv1|pre)\.1"),
    "classifier": re.compile(r"fc|linear|classifier|head|head\.fc|output|last_linear"),
}
_BLOCK = re.compile(r"(?:blocks|(?:layer|block|group|stage|conv)(\d+)(?:_x)?(?:\.layer)?)\.(?:block)?(\d+)\.(.+)")
_PARTS = {
    "conv": re.compile(r"conv_?(\d)"),
    "norm": re.compile(r"(?:bn|norm)_?(\d)"),
    "place": re.compile(r"residual_function\.(\d)"),
    "shortcut": re.compile(r"(?:shortcut|downsample|skip)(?:\.0|\.conv)?|convShortcut|convdim()"),
    "shortcut norm": re.compile(r"(?:shortcut|downsample|skip)\.(?:1|bn)()"),
}


class _Place(NamedTuple):
    """Where a tensor belongs."""

    block: tuple[int, ...]
    """Stage and number in it; () outside of blocks."""
    layer: str
    number: int
    """Of the layer among those of its kind in the block."""
    leaf: str
    """``weight``, ``bias``, ..."""


def common_names(names: Iterable[str]) -> dict[str, str] | None:
    """Each name in the common vocabulary, as ``block 3 conv 1 weight``; None where one is unknown or two mean the same.

    Blocks, and the convolutions and batch norms of a block, are counted from 0 in the order of their numbers.

    >>> common_names(["conv1.weight", "layer2.1.bn1.bias"])
    {'conv1.weight': 'stem weight', 'layer2.1.bn1.bias': 'block 0 norm 0 bias'}
    >>> common_names(["features.denseblock1.weight"]) is None
    True
    """
    places = {name: _place(name) for name in names}
    known = [place for place in places.values() if place is not None]
    if len(known) < len(places):
        return None
    blocks = sorted({place.block for place in known if place.block})
    numbers = {
        layer: sorted({place.number for place in known if place.block and place.layer == layer})
        for layer in ("conv", "norm")
    }
    common = {}
    for name, place in zip(places, known, strict=True):
        words = [place.layer, place.leaf]
        if place.block:
            words = [f"block {blocks.index(place.block)}", *words]
            if place.layer in numbers:
                words.insert(2, str(numbers[place.layer].index(place.number)))
        common[name] = " ".join(words)
    return common if len({*common.values()}) == len(common) else None


def without_unused(state: Mapping[str, T]) -> dict[str, T]:
    """Without the block that TRADES builds and never runs, as do many who came after."""
    return {name: value for name, value in state.items() if not name.startswith("sub_block1.")}


def _place(name: str) -> _Place | None:
    path, _, leaf = name.rpartition(".")
    if leaf not in _LEAVES:  # szagoruyko's convolutions have no attribute
        path, leaf = name, "weight"
    for layer, pattern in _TOP.items():
        if pattern.fullmatch(path):
            return _Place((), layer, 0, leaf)
    inside = _BLOCK.fullmatch(path)
    if inside is None:
        return None
    block = int(inside[1] or 0), int(inside[2])
    for layer, pattern in _PARTS.items():
        if found := pattern.fullmatch(inside[3]):
            number = int(found[1] or 0)
            if layer == "place":  # of a sequence: convolution, batch norm, ReLU, convolution, ...
                layer, number = "norm" if number % 3 else "conv", number // 3
            return _Place(block, layer, number, leaf)
    return None
