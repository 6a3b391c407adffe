"""torchvision's classifiers with their published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kdbench import packages
from kdbench.errors import KdbenchError, unknown_name
from kdbench.files import file_sha256
from kdbench.models.imagenet import TORCHVISION, downloaded
from kdbench.models.preprocess import Preprocessing
from kdbench.sources.spec import ModelRequest, OpenedModel


def open_torchvision(what: str, request: ModelRequest) -> OpenedModel:
    """``resnet50`` with torchvision's default weights, or ``resnet50.IMAGENET1K_V2`` with those of that name."""
    models = packages.load("source 'torchvision'", "torchvision.models", TORCHVISION)
    name, _, tag = what.partition(".")
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("model of torchvision", name, known)
    published = models.get_model_weights(name)
    if tag and tag not in published.__members__:
        raise unknown_name(f"weights of torchvision's {name}", tag, published.__members__)
    weights: Any = published[tag] if tag else published.DEFAULT
    classes = tuple(weights.meta["categories"])
    request.check("imagenet", classes)
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not request.place.download and not file.is_file():
        raise KdbenchError(
            f"the weights of {what} are not at {file}, and downloads are off", f"put {weights.url} there"
        )
    downloaded(weights)  # with its errors, and read without running code
    network = models.get_model(name, weights=weights, progress=False)
    given = weights.transforms()
    return OpenedModel(
        network,
        f"torchvision:{name}.{weights.name}",
        file_sha256(file),
        dataset="imagenet",
        preprocessing=Preprocessing(tuple(given.mean), tuple(given.std), given.crop_size[0], classes),
    )
