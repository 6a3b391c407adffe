"""Decoded images, kept once as safetensors under a hash of what they were decoded from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from kdbench.data.base import ImageSet, content_hash
from kdbench.hashes import integers_sha256

FORMAT = "1"
"""Changed whenever decoding or the file layout changes, so that old files are not found any more."""

# A file changed again within one tick of the file system's clock keeps its times, so a listing as young as
# this is not trusted to stand for contents (the "racy" problem that git's index has).
RACY_NS = 2_000_000_000


class KdbenchWarning(UserWarning):
    """Something went differently from the plan, without harm to any result; one line."""


FileStat = tuple[str, int, int, int]
"""Path relative to the root, size in bytes, mtime and ctime in ns."""


def stat_key(root: Path, listing: Sequence[FileStat], config: str) -> str | None:
    """A key that changes when any file of the listing does; None while the listing is too young to trust."""
    newest = max((max(mtime, ctime) for _, _, mtime, ctime in listing), default=0)
    if time.time_ns() - newest < RACY_NS:
        return None
    text = json.dumps([FORMAT, str(root.resolve()), config, listing])
    return hashlib.sha256(text.encode()).hexdigest()


def content_key(config: str, class_of_file: Sequence[str], digests: Sequence[str]) -> str:
    """SHA-256 of what the source files hold: their classes and bytes in the source's order, and no path.

    Args:
        config: whatever else decides the decoded tensors (class names, image size).
        class_of_file: one class name a file.
        digests: SHA-256 of each file's bytes, as hex.
    """
    text = json.dumps([FORMAT, config, list(class_of_file), list(digests)])
    return hashlib.sha256(text.encode()).hexdigest()


class ImageCache:
    """Image sets by content key, and a memo from file listings to content keys.

    Nothing in it is needed: a folder that can't be written costs time and one warning, a damaged file is rebuilt.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.images = cache_dir / "images"
        self.index = cache_dir / "index"

    def recall(self, key: str | None) -> str | None:
        """The content key that was remembered for a stat key."""
        if key is None:
            return None
        try:
            text = (self.index / key).read_text()
        except (OSError, UnicodeDecodeError):
            return None
        return text if len(text) == 64 else None

    def remember(self, key: str | None, content: str) -> None:
        """Spare the next load of the same listing from reading every file."""
        if key is not None:
            self._write(self.index / key, lambda temp: temp.write_text(content))

    def load(self, key: str, name: str, class_names: Sequence[str]) -> ImageSet | None:
        """The image set of a content key; None if it isn't there or, with a warning, if it is damaged."""
        path = self.images / f"{key}.safetensors"
        if not path.is_file():
            return None
        try:
            return _read(path, name, tuple(class_names))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(f"cache file {path} is damaged ({reason}); rebuilding it", KdbenchWarning, stacklevel=2)
            return None

    def store(self, key: str, images: ImageSet) -> None:
        """Write an image set, so that nobody ever sees half a file."""
        tensors = {"images": images.images, "labels": images.labels, "source_index": images.source_index}
        metadata = {
            "format": FORMAT,
            "sha256": images.sha256,
            "source_index_sha256": integers_sha256(images.source_index),
            "class_names": json.dumps(images.class_names),
            "source": images.source,
        }
        self._write(self.images / f"{key}.safetensors", lambda temp: save_file(tensors, temp, metadata))

    def _write(self, path: Path, write: Callable[[Path], object]) -> None:
        # Not tempfile, whose files only their owner may read: a cache folder may be shared.
        temp = path.with_name(f".part-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temp)
            os.replace(temp, path)
        except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in an error of its own
            self._say_unwritable(path, error)
        finally:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)

    def _say_unwritable(self, path: Path, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"can't write to the cache folder {path.parent.parent} ({reason}); going on without a cache",
            KdbenchWarning,
            stacklevel=4,
        )


def _read(path: Path, name: str, class_names: tuple[str, ...]) -> ImageSet:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        # Cloned, because the tensors may be views of the mapped file, which a caller could overwrite in place.
        images, labels, source_index = (
            file.get_tensor(tensor).clone() for tensor in ("images", "labels", "source_index")
        )
    found = ImageSet(name, images, labels, class_names, metadata["sha256"], source_index, metadata["source"])
    if metadata["class_names"] != json.dumps(class_names):
        raise ValueError("class names differ")
    if content_hash(images, labels, class_names) != found.sha256:
        raise ValueError("SHA-256 of the images differs from the one it was stored with")
    if integers_sha256(found.source_index) != metadata["source_index_sha256"]:
        raise ValueError("SHA-256 of the source order differs from the one it was stored with")
    return found
