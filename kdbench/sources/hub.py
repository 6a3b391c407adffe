"""Models of the Hugging Face hub: ``hf:USER/REPO[/FILE][@REVISION]``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kdbench import packages
from kdbench.checkpoints import read_weights
from kdbench.errors import KdbenchError, first_line
from kdbench.files import file_sha256
from kdbench.models.imagenet import TIMM
from kdbench.models.preprocess import Preprocessing
from kdbench.running.loading import load_weights
from kdbench.sources import timm_models
from kdbench.sources.classes import by_number
from kdbench.sources.file import open_weights
from kdbench.sources.spec import ModelRequest, OpenedModel

WHAT = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?P<file>(/[\w.-]+)+)?(@(?P<revision>[\w./-]+))?")
WEIGHTS = "model.safetensors"
USER, HUB = "source 'hf'", packages.extra("hub")


def open_hub(what: str, request: ModelRequest) -> OpenedModel:
    """The model of a repository, whose ``config.json`` says what it is: timm's or transformers'; else ``--model`` does.

    A branch or tag is recorded as the commit that it was.
    """
    asked = WHAT.fullmatch(what)
    if asked is None:
        raise KdbenchError(f"'{what}' names no repository of the hub", "write hf:USER/REPO or hf:USER/REPO@REVISION")
    repository, revision = asked["repository"], asked["revision"]
    name = (asked["file"] or "").lstrip("/") or WEIGHTS
    config = fetch(repository, "config.json", revision, request)
    weights = fetch(repository, name, _commit(config) or revision, request)
    if weights is None:
        raise KdbenchError(f"repository {repository} has no {name}", "name its file with weights: hf:USER/REPO/FILE")
    commit = _commit(weights)
    source = f"hf:{repository}{asked['file'] or ''}@{commit or revision}"
    facts = _json(config) if config is not None else {}
    if request.model is not None or not {"architecture", "model_type"} & facts.keys():
        return open_weights(weights, source, request)
    if request.weights:
        raise KdbenchError(f"{source} holds one set of weights", "omit --weights")
    if "architecture" in facts:
        return _of_timm(facts, weights, source)
    if name != WEIGHTS:
        raise KdbenchError(f"{source}: transformers reads {WEIGHTS} alone", f"omit /{name}, or name --model")
    return _of_transformers(facts, weights, source, fetch(repository, "preprocessor_config.json", commit, request))


def fetch(repository: str, name: str, revision: str | None, request: ModelRequest) -> Path | None:
    """A file of a repository, from the hub's cache or the hub; None where the repository has no such file."""
    hub, errors = (packages.load(USER, part, HUB) for part in ("huggingface_hub", "huggingface_hub.errors"))
    try:
        return Path(
            hub.hf_hub_download(repository, name, revision=revision, local_files_only=not request.place.download)
        )
    except errors.LocalEntryNotFoundError as error:
        if request.place.download:
            raise _failed(repository, name, revision, error, "are you offline? HF_ENDPOINT names a mirror") from None
        if name != "config.json" and not name.startswith("preprocessor"):
            raise _failed(repository, name, revision, "it is not in the cache, and downloads are off", "") from None
        return None
    except errors.EntryNotFoundError:
        return None
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise _failed(
            repository, name, revision, error, "check its name, and `hf auth login` for a gated one"
        ) from None


def _failed(repository: str, name: str, revision: str | None, reason: object, hint: str) -> KdbenchError:
    at = f"@{revision}" if revision else ""
    lines = [line for line in str(reason).splitlines() if line.strip()] or [type(reason).__name__]
    return KdbenchError(f"{name} of {repository}{at} can't be had from the hub: {lines[0]}", hint)


def _commit(file: Path | None) -> str | None:
    """The commit that a file in the hub's cache is of."""
    found = re.search(r"/snapshots/([0-9a-f]{40})/", file.as_posix()) if file is not None else None
    return found[1] if found else None


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise KdbenchError(f"{file} is no JSON: {error}", "delete it and fetch it again") from None
    return read if isinstance(read, dict) else {}


def _of_timm(facts: Mapping[str, Any], weights: Path, source: str) -> OpenedModel:
    timm = packages.load(USER, "timm", TIMM)
    name = str(facts["architecture"])
    if not timm.is_model(name):
        raise KdbenchError(f"{source} is of architecture '{name}', which timm has not", "upgrade timm, or name --model")
    cfg = {**facts.get("pretrained_cfg", {}), "num_classes": facts.get("num_classes", 1000)}
    cfg["label_names"] = facts.get("label_names") or cfg.get("label_names")
    network = timm.create_model(name, pretrained=False, num_classes=cfg["num_classes"], **facts.get("model_args", {}))
    found = read_weights(weights)
    load_weights(network, found.state, weights)
    return OpenedModel(network, source, found.sha256, preprocessing=timm_models.expected(cfg))


def _of_transformers(facts: Mapping[str, Any], weights: Path, source: str, preprocessor: Path | None) -> OpenedModel:
    transformers = packages.load(USER, "transformers", "`pip install transformers`")
    try:
        network = transformers.AutoModelForImageClassification.from_pretrained(
            weights.parent, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise KdbenchError(
            f"{source} is no image classifier of transformers: {first_line(error)}", "name --model"
        ) from None
    known = None
    names = tuple(by_number(facts["id2label"])) if facts.get("id2label") else None
    if preprocessor is not None:
        known = _expected(_json(preprocessor), names)
    return OpenedModel(_Logits(network), source, file_sha256(weights), preprocessing=known)


def _expected(given: Mapping[str, Any], classes: tuple[str, ...] | None) -> Preprocessing:
    """What transformers' image processor does, on square images."""
    mean = std = None
    if given.get("do_normalize", True) and given.get("image_mean") and given.get("image_std"):
        mean, std = tuple(given["image_mean"]), tuple(given["image_std"])
    size = given.get("crop_size") if given.get("do_center_crop") else given.get("size")
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    return Preprocessing(mean, std, int(size) if size and given.get("do_resize", True) else None, classes)


class _Logits(nn.Module):
    """A classifier of transformers, whose logits are one of its outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixels).logits
        return logits
