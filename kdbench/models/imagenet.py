"""Networks for large images, taken from torchvision and, by the extra timm, from timm; imported when one is built."""

from __future__ import annotations

import http.client
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import packages
from kdbench.errors import KdbenchError
from kdbench.models.layers import zero_biases

TORCHVISION = "`pip install --upgrade torch torchvision`, both from one index in one command"
INCEPTION, TIMM = "model 'inception-resnet-v2'", packages.extra("timm")


def resnet50_imagenet(*, num_classes: int, pretrained: bool = False) -> nn.Module:
    """torchvision's ResNet-50 with the 7x7 stem (He et al. 2016): float (B,3,H,W), H and W 224 by design, to logits.

    23,714,981 parameters for 101 classes. Weights are torchvision's initialisation, He normal by fan-out, with zero
    biases. ``pretrained`` takes all but the last layer's from torchvision's ``IMAGENET1K_V1``: they are downloaded
    once, into torch's hub folder, and expect pixels normalised by ImageNet's mean and deviation,
    (.485, .456, .406) and (.229, .224, .225). Raises ``KdbenchError`` where the download fails.
    """
    models = packages.load("model 'resnet50-imagenet'", "torchvision.models", TORCHVISION)
    network: nn.Module = models.resnet50(weights=None, num_classes=num_classes)
    zero_biases(network)
    if pretrained:
        own = network.state_dict()
        weights = downloaded(models.ResNet50_Weights.IMAGENET1K_V1)
        network.load_state_dict({name: own[name] if name.startswith("fc.") else weights[name] for name in own})
    return network


def inception_resnet_v2(*, num_classes: int) -> nn.Module:
    """timm's Inception-ResNet-v2 without auxiliary head (Szegedy et al. 2017): float (B,3,H,W) to logits.

    H and W are 299 by design, at least 75; 54,383,314 parameters for 50 classes. Weights are drawn as PyTorch does by
    default, biases are zero. Raises ``KdbenchError`` where timm is not installed.
    """
    timm = packages.load(INCEPTION, "timm", TIMM)
    network: nn.Module = timm.create_model("inception_resnet_v2", pretrained=False, num_classes=num_classes)
    zero_biases(network)
    return network


def timm_installed() -> None:
    """Raise ``KdbenchError`` where timm is not installed."""
    packages.require(INCEPTION, "timm", TIMM)


def downloaded(weights: Any) -> dict[str, Tensor]:
    """The state dict of a member of one of torchvision's weight enumerations, from the hub folder or the network.

    Raises ``KdbenchError`` where the download fails.
    """
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=True, check_hash=True, map_location="cpu", weights_only=True
        )
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        file = f"{torch.hub.get_dir()}/checkpoints/{weights.url.rpartition('/')[2]}"
        raise KdbenchError(
            f"pretrained weights can't be had from {weights.url}: {reason}",
            f"are you offline? else download them by hand to '{file}', over what is there, or use pretrained=False",
        ) from error
    return state
