"""Adversarial examples of the suite's networks: the same for every run, so made once and found again by a hash."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.files import WriteError
from kdbench.hashes import state_sha256
from kdbench.locks import locked
from kdbench.progress import say
from kdbench.results.machine import machine
from kdbench.running import provenance
from kdbench.running.graph import RunGraph, Trained
from kdbench.training.checkpoint import load_checkpoint, save_checkpoint

FORMAT: Final = 1
"""Of the files; another one is another hash."""
LARGEST: Final = 64 * 2**20
"""Bytes of a file, which is of 1,000 images at most: of larger images examples are made anew each time."""
LIBRARY_SETTINGS: Final = ("ONEDNN_", "DNNL_", "MKL_", "ATEN_")
"""Beginnings of environment variables by which libraries choose how they compute."""


@dataclass(frozen=True)
class KeptExamples:
    """The examples of one network, a file for each attack and part of the images.

    A file's name is the hash of all that decides the bits of what is in it. It is read only if it states the same and
    its tensors have the hash that it was written with; a damaged one is made anew. One process makes a file, and others
    that want it wait.

    Attributes:
        folder: where the files lie.
        facts: what decides examples beside the attack and the images: the network's training, code, machine.
    """

    folder: Path
    facts: Mapping[str, str]

    @classmethod
    def of(cls, graph: RunGraph, trained: Trained) -> KeptExamples:
        """Those of a finished training of a suite."""
        network = {"training": trained.spec.predictor_digest(), "checkpoint": trained.describe().sha256}
        if others := graph.plugins.others():  # what they make is for runs that share a process with them as well
            network["plugins"] = ", ".join(sorted(others))
        return cls(graph.options.examples(graph.suite), {**network, **deciding(graph)})

    def __call__(self, decisive: Mapping[str, object], make: Callable[[], Tensor]) -> Tensor:
        """The examples that ``decisive`` and the facts decide, found or made: as ``kdbench.attacks.transfer.Keep``."""
        identity = json.dumps({"format": FORMAT, **self.facts, **decisive}, sort_keys=True)
        path = self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.safetensors"
        try:
            with locked(path.with_suffix(".lease"), _waiting):
                found = _read(path, identity)
                return _write(path, identity, make()) if found is None else found
        except WriteError as error:
            warnings.warn(f"can't keep adversarial examples: {error.message}", stacklevel=2)
            return make()


def _waiting(holder: str) -> None:
    say([f"adversarial examples are being made by {holder}: waiting for them"])


def deciding(graph: RunGraph) -> dict[str, str]:
    """What gives one computation other bits: device, processor, threads, versions, and what libraries are told."""
    made = provenance.collect(plugins=graph.plugins.loaded, device=graph.device, started="", seconds={})
    told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(LIBRARY_SETTINGS)}
    return {
        **machine(made),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "oneDNN": str(torch._C._get_mkldnn_enabled()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "library settings": json.dumps(told),
    }


def _read(path: Path, identity: str) -> Tensor | None:
    """None where there is no such file, or, with a warning, where it is not what was written."""
    if not path.is_file():
        return None
    try:
        tensors, metadata = load_checkpoint(path)
        if metadata.get("identity") == identity and metadata.get("sha256") == state_sha256(tensors):
            return tensors["examples"]
        problem = "another content than was written"
    except KdbenchError as error:
        problem = error.message
    warnings.warn(f"adversarial examples in {path} are made again: {problem}", stacklevel=4)
    return None


def damage(path: Path) -> str:
    """What is wrong with a file of examples, in words; "" where nothing is."""
    try:
        tensors, metadata = load_checkpoint(path)
    except KdbenchError as error:
        return f"is damaged ({error.message})"
    return "" if metadata.get("sha256") == state_sha256(tensors) else "is damaged: it has another hash than it states"


def _write(path: Path, identity: str, examples: Tensor) -> Tensor:
    if examples.nbytes <= LARGEST:
        tensors: dict[str, Any] = {"examples": examples}
        save_checkpoint(path, tensors, {"identity": identity, "sha256": state_sha256(tensors)})
    return examples
