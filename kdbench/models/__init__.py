"""The built-in networks and the one way to build any registered one."""

from __future__ import annotations

from kdbench.models.normalise import Normalisation, Normalize, PixelModel
from kdbench.models.preact_resnet import PreActResNet, preact34_gjs
from kdbench.models.spec import ModelSpec, build, builtin_specs, create
from kdbench.models.wide_resnet import wide_resnet

__all__ = [
    "ModelSpec",
    "Normalisation",
    "Normalize",
    "PixelModel",
    "PreActResNet",
    "build",
    "builtin_specs",
    "create",
    "preact34_gjs",
    "wide_resnet",
]
