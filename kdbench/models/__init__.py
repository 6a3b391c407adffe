"""The built-in networks and the one way to build any registered one."""

from __future__ import annotations

from kdbench.models.average import update_average
from kdbench.models.ensemble import MeanLogits
from kdbench.models.imagenet import inception_resnet_v2, resnet50_imagenet
from kdbench.models.normalise import Normalisation, Normalize, PixelModel
from kdbench.models.preact_resnet import PreActResNet, preact18, preact34, preact34_gjs
from kdbench.models.resnet import ResNet, resnet18, resnet34, resnet50
from kdbench.models.shufflenet import ShuffleNetV2, shufflenet_v2
from kdbench.models.spec import (
    ModelSpec,
    build,
    builtin_specs,
    check_dropout,
    check_image_size,
    check_pretrained,
    create,
)
from kdbench.models.wide_resnet import wide_resnet

__all__ = [
    "MeanLogits",
    "ModelSpec",
    "Normalisation",
    "Normalize",
    "PixelModel",
    "PreActResNet",
    "ResNet",
    "ShuffleNetV2",
    "build",
    "builtin_specs",
    "check_dropout",
    "check_image_size",
    "check_pretrained",
    "create",
    "inception_resnet_v2",
    "preact18",
    "preact34",
    "preact34_gjs",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50_imagenet",
    "shufflenet_v2",
    "update_average",
    "wide_resnet",
]
