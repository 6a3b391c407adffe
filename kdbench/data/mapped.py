"""Image sets larger than memory: one file of pixels that the system pages in and out as they are used."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kdbench.data.base import ImageSet, content_hash
from kdbench.data.cache import FORMAT, KdbenchWarning
from kdbench.errors import KdbenchError, first_line

LARGEST_IN_MEMORY = 2 * 2**30
"""Bytes of pixels up to which a selection is an ordinary tensor."""
ROWS_AT_ONCE = 256
PIXELS, FACTS = "images.u8", "facts.safetensors"


def map_images(path: Path, shape: Sequence[int]) -> Tensor:
    """The pixels in a file, uint8 of this shape, mapped and not read: writing to them changes memory, not the file."""
    return torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=torch.uint8).view(*shape)


def take(images: Tensor, index: Tensor, folder: Path, *, limit: int = LARGEST_IN_MEMORY) -> Tensor:
    """``images[index]`` for uint8 (N, C, H, W) and int64 (n,); mapped from a file once it is larger than ``limit``.

    The file lies in ``folder`` without a name, so that it is gone when nobody uses the tensor any more. Its disk must
    have room for it: 11 GB for 75,750 images of 224x224.

    Raises:
        KdbenchError: it can't be written.
    """
    shape = (len(index), *images.shape[1:])
    if math.prod(shape) <= limit:
        return images[index]
    name = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, math.prod(shape))
        handle, name = tempfile.mkstemp(dir=folder, prefix=".images-")
        with os.fdopen(handle, "wb") as file:
            for rows in torch.split(index, ROWS_AT_ONCE):
                file.write(images[rows].numpy().data)
        return map_images(Path(name), shape)
    except OSError as error:
        raise no_room_error("the training images in their shuffled order", folder, error, "--out") from error
    finally:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def check_room(folder: Path, size: int) -> None:
    """Raise ``OSError`` when the disk of a folder has fewer free bytes than ``size``: said before it is filled."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(errno.ENOSPC, f"{size / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")


def no_room_error(what: str, folder: Path, error: OSError, where: str) -> KdbenchError:
    """The error for pixels that could not be written to a folder; ``where`` is how another one is named."""
    reason = error.strerror or str(error)
    return KdbenchError(f"can't write {what} to '{folder}': {reason}", f"name a folder on a larger disk with {where}")


def save_facts(folder: Path, images: ImageSet) -> None:
    """Write what belongs to the pixels of a stored set."""
    metadata = {
        "format": FORMAT,
        "sha256": images.sha256,
        "shape": json.dumps(list(images.images.shape)),
        "class_names": json.dumps(images.class_names),
        "source": images.source,
    }
    save_file({"labels": images.labels, "source_index": images.source_index}, folder / FACTS, metadata)


def load_mapped(folder: Path, name: str, class_names: Sequence[str]) -> ImageSet | None:
    """The image set stored in a folder; None if it isn't there or, with a warning, if it is damaged.

    Its pixels are read once and hashed, which takes some ten seconds for 11 GB, and none of them stays in memory that
    another program could use.
    """
    if not (folder / FACTS).is_file():
        return None
    try:
        return _read(folder, name, tuple(class_names))
    except (SafetensorError, OSError, RuntimeError, KeyError, ValueError) as error:
        reason = first_line(error)
        warnings.warn(f"cache folder {folder} is damaged ({reason}); rebuilding it", KdbenchWarning, stacklevel=2)
        return None


def _read(folder: Path, name: str, class_names: tuple[str, ...]) -> ImageSet:
    with safe_open(folder / FACTS, framework="pt") as file:
        metadata = file.metadata()
        labels, source_index = file.get_tensor("labels").clone(), file.get_tensor("source_index").clone()
    shape = json.loads(metadata["shape"])
    if metadata["class_names"] != json.dumps(class_names):
        raise ValueError("class names differ")
    if (folder / PIXELS).stat().st_size != math.prod(shape):
        raise ValueError(f"{PIXELS} has the wrong size")
    images = map_images(folder / PIXELS, shape)
    if content_hash(images, labels, class_names) != metadata["sha256"]:
        raise ValueError("SHA-256 of the images differs from the one it was stored with")
    return ImageSet(name, images, labels, class_names, metadata["sha256"], source_index, metadata["source"])
