"""Files of labels that a suite names: what is in them is part of the setting, where they lie is not."""

from __future__ import annotations

import os
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.specs import LabelNoise, Suite


def with_hashes(suite: Suite, what: str, folder: Path | None = None) -> Suite:
    """The suite with the place and the SHA-256 of every file of labels that it names by a path.

    Args:
        suite: as it was read; one without paths comes back as it is.
        what: what an error calls it.
        folder: where relative paths start; None: the working folder.

    Raises:
        KdbenchError: a file whose hash is not stated is not there, or one has another hash than is stated.
    """
    named = {name: one for name, one in suite.conditions.items() if one.noise is not None and one.noise.path}
    if not named:
        return suite
    found = {
        name: one.model_copy(update={"noise": _located(one.noise, f"{what}: conditions.{name}.noise.path", folder)})
        for name, one in named.items()
        if one.noise is not None
    }
    return suite.model_copy(update={"conditions": {**suite.conditions, **found}})


def _located(noise: LabelNoise, where: str, folder: Path | None) -> LabelNoise:
    path = os.path.abspath((folder or Path()) / Path(noise.path or "").expanduser())
    if not os.path.isfile(path):
        if noise.sha256 is None:
            raise KdbenchError(f"{where}: there is no file '{path}'", "name a .npy, .csv or .pt file of labels")
        return noise.model_copy(update={"path": path})  # it may be needed no more, or lie in the data folder
    sha256 = file_sha256(Path(path))
    if noise.sha256 not in (None, sha256):
        raise KdbenchError(
            f"{where}: the file '{path}' has SHA-256 {sha256}, expected {noise.sha256}",
            "restore it; other labels are another setting, with another hash",
        )
    return noise.model_copy(update={"path": path, "sha256": sha256})
