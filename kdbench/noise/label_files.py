"""Labels of one's own from a file, .npy, .csv or .pt, and how files of labels are read: nothing in them is run."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from kdbench.data import DataFacts, DataPlace
from kdbench.data.regular import read_regular
from kdbench.data.unpickle import NUMPY_NAMES
from kdbench.errors import KdbenchError, first_line
from kdbench.noise.spec import GivenLabels, LabelNoiseSpec
from kdbench.specs import LabelNoise

NAME: Final = "file"
FOLDER: Final = "labels"
"""In the data folder: where files are looked for by their hash."""
INTEGERS: Final = [type(np.dtype(code)) for code in "bhilqBHILQ"]
"""Classes of NumPy's integer types, which pickled arrays name."""
WHOLE: Final = frozenset({
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64
})  # fmt: skip
MOST_SHOWN: Final = 40
"""Characters of a wrong label in an error."""
HINT: Final = "one whole number from 0 for each training image, in the order of the data set's official files"


def spec() -> LabelNoiseSpec:
    """Label noise "file"."""
    return LabelNoiseSpec(
        NAME,
        description="labels of your own: a .npy, .csv or .pt file, in the order of the data set's official files",
        read=read,
        files=lambda place: [root / FOLDER for root in place.roots],
    )


def read(noise: LabelNoise, data: DataFacts, place: DataPlace) -> GivenLabels:
    """The labels of a user's file, found by its path or by its hash.

    ``.npy``: integers (N,). ``.csv``: a header, then a row an example with its ``label``, a number or a class name, and
    with its place in the official order as ``index``, where the rows are in another. ``.pt``: a tensor or an array, as
    ``torch.save`` writes it.

    Raises:
        KdbenchError: it is nowhere, has another hash, or holds no labels of these classes.
    """
    path, blob = _content(noise, place)
    readers: dict[str, Callable[[bytes, Path, Sequence[str]], Tensor]] = {".npy": _npy, ".csv": _csv, ".pt": _pt}
    if path.suffix.lower() not in readers:
        raise KdbenchError(f"file of labels '{path}' ends in '{path.suffix}'", f"expected {', '.join(readers)}")
    labels = readers[path.suffix.lower()](blob, path, data.class_names)
    if data.train is not None and len(labels) != data.train:
        raise KdbenchError(
            f"file of labels '{path}' has {len(labels):,} labels, expected {data.train:,} for '{data.name}'", HINT
        )
    outside = int(((labels < 0) | (labels >= len(data.class_names))).sum())
    if outside:
        raise KdbenchError(
            f"file of labels '{path}' has {outside:,} labels outside [0, {len(data.class_names) - 1}]", HINT
        )
    return GivenLabels(labels, sha256=hashlib.sha256(blob).hexdigest())


def for_elsewhere(noises: Iterable[LabelNoise | None], place: DataPlace) -> dict[str, bytes]:
    """Users' files of labels, by the names under which another machine finds them by their hash, in its downloads.

    One that isn't here is left out: what needs it says so.
    """
    found = {}
    for noise in noises:
        if noise is not None and noise.kind == NAME:
            with contextlib.suppress(KdbenchError):
                path, blob = _content(noise, place)
                found[f"{FOLDER}/{noise.sha256}{path.suffix}"] = blob
    return found


def _content(noise: LabelNoise, place: DataPlace) -> tuple[Path, bytes]:
    """The file that is meant: the one at its path, or one with its hash in the data folder."""
    here = [Path(noise.path)] if noise.path is not None else []
    there = [file for root in place.roots for file in sorted((root / FOLDER).glob("*")) if noise.sha256 is not None]
    for path in (*here, *there):
        try:
            blob = read_regular(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if path not in here:
                continue
            raise KdbenchError(f"file of labels '{path}' {error.strerror}", HINT) from None
        if noise.sha256 in (None, hashlib.sha256(blob).hexdigest()):
            return path, blob
    wanted = "of labels" if noise.sha256 is None else f"of labels with SHA-256 {noise.sha256}"
    tried = " and ".join(os.fspath(path) for path in (*here, *(root / FOLDER for root in place.roots)))
    raise KdbenchError(
        f"the file {wanted} was not found: looked for it in {tried}",
        f"name it with noise.path, or put it into the folder {FOLDER} of the data folder",
    )


def _npy(blob: bytes, path: Path, classes: Sequence[str]) -> Tensor:
    try:
        array = np.load(io.BytesIO(blob), allow_pickle=False)
    except Exception as error:  # whatever a damaged header, or one that claims any shape, makes the reader stumble over
        raise KdbenchError(f"file of labels '{path}' is no .npy array: {first_line(error)}", HINT) from None
    return as_labels(array, path)


def _pt(blob: bytes, path: Path, classes: Sequence[str]) -> Tensor:
    return as_labels(load_pt(blob, path), path)


def _csv(blob: bytes, path: Path, classes: Sequence[str]) -> Tensor:
    try:
        rows = list(csv.DictReader(io.StringIO(blob.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise KdbenchError(f"file of labels '{path}' is no CSV in UTF-8: {first_line(error)}", HINT) from None
    columns = list(rows[0]) if rows else []
    if "label" not in columns:
        raise KdbenchError(
            f"file of labels '{path}' has no column 'label', found {', '.join(map(str, columns)) or 'no row'}",
            "its first line is label, or index,label",
        )
    known = {name: number for number, name in enumerate(classes)}
    values = [_number(row["label"], known, f"'{path}', row {place}") for place, row in enumerate(rows, 1)]
    labels = torch.tensor(values, dtype=torch.int64)
    if "index" not in columns:
        return labels
    index = [_number(row["index"], {}, f"'{path}', row {place}") for place, row in enumerate(rows, 1)]
    if sorted(index) != list(range(len(rows))):
        raise KdbenchError(
            f"file of labels '{path}': its column 'index' should have each number from 0 to {len(rows) - 1} once",
            "index is an example's place in the order of the data set's official files",
        )
    return labels[torch.tensor(index).argsort()]


def _number(text: str | None, known: Mapping[str, int], where: str) -> int:
    word = (text or "").strip()
    named = known.get(word)
    if named is not None and word.isdigit() and named != int(word):
        other = next((f"'{name}'" for name, number in known.items() if number == int(word)), "none")
        raise KdbenchError(
            f"file of labels {where}: '{word}' is the name of class {named} and the number of class {other}",
            "write numbers into a .npy file",
        )
    if named is not None:
        return named
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        found = repr(word[:MOST_SHOWN])
        raise KdbenchError(f"file of labels {where}: found {found}, expected a number or a class", HINT)
    return int(word)


def load_pt(blob: bytes, path: Path) -> Any:
    """What ``torch.save`` wrote: tensors, plain values and NumPy arrays of integers, with ``weights_only=True``.

    Raises:
        KdbenchError: it is no such file, or asks for anything else.
    """
    names = [(value, ".".join(name)) for name, value in NUMPY_NAMES.items()]
    try:
        with torch.serialization.safe_globals([*names, *INTEGERS]):
            return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    except Exception as error:  # a bad pickle may raise whatever it likes; nothing of it is run
        raise KdbenchError(
            f"'{path}' was refused: it is no .pt file of tensors, plain values and NumPy arrays of integers "
            f"({type(error).__name__})",
            HINT,
        ) from None


def as_labels(value: Any, path: Path) -> Tensor:
    """Labels int64 (N,) from integers of any width, as a tensor or an array (N,) or (N, 1).

    Raises:
        KdbenchError: it is something else.
    """
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.dtype in WHOLE
    array = value.numpy() if plain else value
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu" or array.size != len(np.atleast_1d(array)):
        shown = isinstance(value, np.ndarray | Tensor)
        found = f"{value.dtype} {tuple(value.shape)}" if shown else type(value).__name__
        raise KdbenchError(f"file of labels '{path}' holds {found}, expected integers (N,)", HINT)
    return torch.from_numpy(array.astype(np.int64).reshape(-1))
