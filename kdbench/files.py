"""Files that are whole or not there: written in one piece, hashed; and the folder for those that can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from torch import Tensor


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a whole file or nothing: a temporary file in the same folder, flushed, then renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes as a whole file, or nothing."""
    with replacing(path) as file:
        file.write(content)


def save_arrays(path: Path, values: Mapping[str, Tensor]) -> None:
    """Write tensors as one compressed .npz file."""
    import numpy as np

    arrays = {name: tensor.numpy() for name, tensor in values.items()}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy types the keywords as its options


def check_writable(*folders: Path) -> None:
    """Raise ``KdbenchError`` when one of the folders cannot be made and written to."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise KdbenchError(
                f"cannot write to {folder}: {error.strerror}", "name another folder with --out"
            ) from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_path(function: str, path: object) -> Path:
    """The path, where it is one or text.

    Raises:
        KdbenchError: it is something else.
    """
    if not isinstance(path, str | Path):
        raise KdbenchError(f"{function} got a {type(path).__name__}, expected a path", "give a folder or a file")
    return Path(path)


def cache_folder() -> Path:
    """KDBENCH_CACHE_DIR, else the user's cache folder."""
    return Path(os.environ.get("KDBENCH_CACHE_DIR") or user_cache_dir()).expanduser()


def user_cache_dir(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The platform's folder for caches of this user (XDG base directories on Linux).

    >>> user_cache_dir({"XDG_CACHE_HOME": "/var/c"}, "linux").as_posix()
    '/var/c/kdbench'
    """
    env = os.environ if environ is None else environ
    if platform == "win32" and env.get("LOCALAPPDATA"):
        return Path(env["LOCALAPPDATA"]) / "kdbench" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "kdbench"
    xdg = env.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path there is invalid and to be ignored.
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "kdbench"
