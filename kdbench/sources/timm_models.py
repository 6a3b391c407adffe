"""timm's classifiers with their published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kdbench import packages
from kdbench.checkpoints import read_weights
from kdbench.errors import KdbenchError, unknown_name
from kdbench.files import file_sha256
from kdbench.models.imagenet import TIMM
from kdbench.models.preprocess import Preprocessing
from kdbench.sources import hub
from kdbench.sources.spec import ModelRequest, OpenedModel

FILES = ("model.safetensors", "pytorch_model.bin")
"""Where timm keeps weights on the hub, the best first."""
ILSVRC = 1000


def open_timm(what: str, request: ModelRequest) -> OpenedModel:
    """``resnet18`` with timm's default weights, or ``resnet18.a1_in1k`` with those of that tag."""
    timm = packages.load("source 'timm'", "timm", TIMM)
    if what.startswith(("hf-hub:", "hf_hub:")):
        raise KdbenchError(f"timm:{what} is a repository of the hub", f"write hf:{what.partition(':')[2]}")
    published = timm.list_pretrained()
    if what not in published and ("." in what or not timm.is_model(what)):
        raise unknown_name("model of timm", what, published)
    cfg = timm.get_pretrained_cfg(what)
    if cfg is None or not cfg.has_weights:
        raise KdbenchError(f"timm has no weights of {what}", "`timm.list_pretrained()` lists those that it has")
    name = f"{cfg.architecture}.{cfg.tag}" if cfg.tag else cfg.architecture
    request.check("imagenet" if cfg.num_classes == ILSVRC else None)
    file = _file(cfg, request)
    return OpenedModel(
        filled(name, file, num_classes=cfg.num_classes),
        f"timm:{name}",
        file_sha256(file),
        dataset="imagenet" if cfg.num_classes == ILSVRC else None,
        preprocessing=expected(cfg.to_dict()),
    )


def filled(name: str, file: Path, **arguments: Any) -> nn.Module:
    """timm's network of that name with the weights of a file, named as timm or its authors name them."""
    state = read_weights(file).state
    network: nn.Module = packages.load("source 'timm'", "timm", TIMM).create_model(
        name, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state), "source": ""}, **arguments
    )
    return network


def expected(cfg: Mapping[str, Any]) -> Preprocessing:
    """What timm's configuration of a model says that it expects."""
    side = cfg.get("test_input_size") or cfg.get("input_size") or (3, None, None)
    names = cfg.get("label_names")
    classes = tuple(names) if names and len(names) == cfg.get("num_classes") else None
    mean, std = cfg.get("mean"), cfg.get("std")
    return Preprocessing(tuple(mean) if mean else None, tuple(std) if std else None, side[1], classes)


def _file(cfg: Any, request: ModelRequest) -> Path:
    """The file with the weights, from the hub or from where its authors keep it."""
    if cfg.hf_hub_id:
        repository, _, revision = cfg.hf_hub_id.partition("@")
        for name in [cfg.hf_hub_filename] if cfg.hf_hub_filename else FILES:
            file = hub.fetch(repository, name, revision or None, request)
            if file is not None:
                return file
        raise KdbenchError(f"repository {repository} has no weights", "upgrade timm: they may have been moved")
    url = str(cfg.url)
    return request.download(url, request.folder("timm") / url.rpartition("/")[2], "the file with the weights")
