"""RobustBench's zoo (Croce et al. 2021), read as its authors read it."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from kdbench import packages
from kdbench.attacks.libraries import installation
from kdbench.checkpoints.formats import kind_of
from kdbench.checkpoints.pickles import load_pickled
from kdbench.errors import KdbenchError, named, unknown_name
from kdbench.files import file_sha256
from kdbench.hashes import state_sha256
from kdbench.models.preprocess import Preprocessing
from kdbench.sources import timm_models
from kdbench.sources.spec import ModelRequest, OpenedModel
from kdbench.torch_state import exclusive

MIRROR = "KDBENCH_ROBUSTBENCH_URL"
"""Environment variable: address of a copy of the zoo, with the folders <data set>/<threat model>/ of robustbench."""
SIDES = {"Res256Crop224": 224, "Crop288": 288, "Res224": 224, "BicubicRes256Crop224": 224}
"""robustbench's preprocessing of ImageNet to the side that its networks see."""


@dataclass(frozen=True)
class _Entry:
    """A model of the zoo."""

    dataset: str
    threat: str
    name: str
    facts: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.threat}/{self.name}"

    @property
    def timm_name(self) -> str:
        return f"{self.name.lower().replace('-', '_')}_{self.dataset}_{self.threat.lower()}"

    @property
    def drive_ids(self) -> dict[str, str]:
        """Files below the zoo's folder to their numbers at Google Drive; none where it comes from elsewhere."""
        found = self.facts["gdrive_id"]
        if isinstance(found, list):
            return {f"{self.path}.pt_m{number}.pt": one for number, one in enumerate(found)}
        return {f"{self.path}.pt": found} if found else {}


def open_robustbench(what: str, request: ModelRequest) -> OpenedModel:
    """``NAME``, or ``DATASET/THREAT/NAME`` where the zoo has several of that name.

    Files are looked for in kdbench's cache, else fetched from ``KDBENCH_ROBUSTBENCH_URL`` or from where their authors
    keep them; robustbench puts them into its network. They are read as tensors alone, never run.
    """
    installation.robustbench()
    dataset = request.setting().dataset if request.suite else None
    entry = _entry(what, dataset)
    request.check(entry.dataset)
    folder = request.folder("robustbench")
    timm = packages.load(installation.ZOO, "timm", installation.ROBUSTBENCH)
    if timm.is_model(entry.timm_name):
        url = timm.get_pretrained_cfg(entry.timm_name).url
        files = [_fetched(f"{entry.path}.pt", url, folder, request)]
        network = timm_models.filled(entry.timm_name, files[0])
        side = timm.get_pretrained_cfg(entry.timm_name).input_size[-1]
    else:
        files = [_fetched(name, number, folder, request) for name, number in entry.drive_ids.items()]
        network = _read(entry, folder)
        side = SIDES.get(entry.facts.get("preprocessing", ""))
    hashes = [file_sha256(file) for file in files]
    return OpenedModel(
        network,
        f"robustbench:{entry.path}",
        _together(hashes) if hashes else state_sha256(network.state_dict()),
        dataset=entry.dataset,
        preprocessing=Preprocessing(resize=side),
        complete=True,
    )


def _together(hashes: Sequence[str]) -> str:
    """One file's hash, or that of several files' hashes, a line each."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


class _SafeTorch:
    """The module torch, but for ``load``, which runs nothing and admits what training scripts save beside weights."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def load(self, path: str | Path, **_: Any) -> Any:
        return load_pickled(Path(path), kind_of(Path(path)))[0]


def _entries() -> list[_Entry]:
    zoo = importlib.import_module("robustbench.model_zoo.models").model_dicts
    return [
        _Entry(dataset.value, threat.value, name, facts)
        for dataset, threats in zoo.items()
        for threat, models in threats.items()
        for name, facts in models.items()
    ]


def _entry(what: str, dataset: str | None) -> _Entry:
    """The one model of that name; of the data set that it is measured on, where the zoo has several."""
    entries = _entries()
    found = [entry for entry in entries if what in (entry.name, entry.path)]
    found = [entry for entry in found if entry.dataset == dataset] or found
    if not found:
        known = [entry.path for entry in entries] if "/" in what else [entry.name for entry in entries]
        raise unknown_name("model of RobustBench", what, set(known), "robustbench.org lists them")
    if len({(entry.dataset, str(entry.facts["gdrive_id"])) for entry in found}) > 1:
        raise KdbenchError(
            f"RobustBench has {len(found)} models named '{what}'",
            f"write one of {', '.join(f'robustbench:{entry.path}' for entry in found)}",
        )
    return found[0]


def _fetched(name: str, place: str, folder: Path, request: ModelRequest) -> Path:
    """A file of the zoo. ``place``: its number at Google Drive, or its address."""
    target = folder / name
    mirror = os.environ.get(MIRROR)
    if mirror:
        return request.download(f"{mirror.rstrip('/')}/{name}", target, "the file with the weights")
    if place.startswith("https://") or target.is_file() or not request.place.download:
        url = place if place.startswith("https://") else f"https://drive.google.com/uc?id={place}"
        return request.download(url, target, "the file with the weights")
    gdown = packages.load(installation.ZOO, "gdown", installation.ROBUSTBENCH)
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        gdown.download(id=place, output=str(part), quiet=not request.place.progress)
    except Exception as error:  # gdown raises what requests raises, and errors of its own that share no class
        reason = (str(error).split("\n")[0] or type(error).__name__).strip()
        raise KdbenchError(
            f"'{target.name}' could not be downloaded from Google Drive ({place}): {reason}",
            f"are you offline? else download it by hand to '{target}', or name a mirror in {MIRROR}",
        ) from None
    if not part.is_file():
        raise KdbenchError(f"Google Drive gave no file for {place}", f"download it by hand to '{target}'")
    os.replace(part, target)
    return target


def _read(entry: _Entry, folder: Path) -> nn.Module:
    """robustbench's own way from its files to the network."""
    utils = importlib.import_module("robustbench.utils")
    try:
        with exclusive(), installation.quiet(), mock.patch.object(utils, "torch", _SafeTorch()):
            network: nn.Module = utils.load_model(
                entry.name, model_dir=folder, dataset=entry.dataset, threat_model=entry.threat
            )
    except MemoryError:
        raise
    except Exception as error:  # the library is not ours, and neither is the choice of what it raises
        raise KdbenchError(
            f"robustbench can't read {entry.path}: {named(error)}",
            f"delete {folder / entry.dataset / entry.threat / entry.name}.pt and fetch it again",
        ) from error
    return network
