"""Files that are whole or not there: written in one piece, hashed; and the folder for those that can be made again."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from torch import Tensor

Stamps = TypeVar("Stamps")
Found = TypeVar("Found")

TRIES: Final = 5
"""To read files of one moment, while another process replaces them."""
TEMPORARY: Final = ".tmp"
"""End of the name of a file that is being written; it begins with a dot. A killed process leaves it behind."""
FULL: Final = "what is there stays: free some space, and the same command goes on; or name another folder with --out"
HINTS: Final = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "`ulimit -f` and the file system say how large a file may be; what is there stays",
    errno.EROFS: "what is there stays: name another folder with --out",
}
OTHERWISE: Final = "name another folder with --out, or ask for the right to write there"


class WriteError(KdbenchError):
    """A file that can't be written: a full disk, a used up quota, no right, a limit on the size of files."""


def stamp(path: Path) -> tuple[int, int]:
    """What is another one once the file is another: files are replaced, not changed. Raises ``FileNotFoundError``."""
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns


def of_one_moment(stamps: Callable[[], Stamps], read: Callable[[Stamps], Found]) -> tuple[Stamps, Found] | None:
    """The stamps of files and what was read of them, all of one moment: a list of hashes fits what it is of. None where
    they change faster than they are read."""
    for _ in range(TRIES):
        before = stamps()
        found = read(before)
        if stamps() == before:
            return before, found
    return None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise ``WriteError`` for what the system refuses while ``path`` is written in the block."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"cannot write {path}: {reason}", HINTS.get(error.errno or 0, OTHERWISE)) from None


def sync(handle: int) -> None:
    """What was written to an open file, or renamed in an open folder, outlives a power failure."""
    os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """New names in a folder outlive a power failure, where the file system can say so."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            sync(handle)
        finally:
            os.close(handle)


def discard(path: Path) -> None:
    """Delete a file that nobody needs, where the system lets it be deleted."""
    with contextlib.suppress(OSError):
        path.unlink()


def staged(path: Path, content: bytes) -> Path:
    """A whole file beside ``path``, flushed to the disk, for ``path`` to be replaced by. The user's umask applies.

    Raises:
        WriteError: the system refuses it. Nothing is left then.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}{TEMPORARY}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                sync(file.fileno())
        except BaseException:
            discard(temporary)
            raise
    return temporary


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes as a whole file, or nothing.

    Raises:
        WriteError: the system refuses it.
    """
    temporary = staged(path, content)
    try:
        with writing(path):
            os.replace(temporary, path)
    except BaseException:
        discard(temporary)
        raise
    sync_folder(path.parent)


def arrays_bytes(values: Mapping[str, Tensor]) -> bytes:
    """Tensors as one compressed .npz file."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: tensor.numpy() for name, tensor in values.items()})  # type: ignore[arg-type]  # numpy types the keywords as its options
    return buffer.getvalue()


def new_folder(parent: Path, prefix: str) -> Path:
    """An empty folder under a name that nobody has. The user's umask applies."""
    folder = parent / f"{prefix}{os.urandom(6).hex()}"
    folder.mkdir(parents=True)
    return folder


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


def check_archive(path: Path) -> None:
    """Raise ``zipfile.BadZipFile`` where a zip file, such as .npz, does not hold what its own checksums say."""
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} has another checksum")


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


DOWNLOADS: Final = "downloads"
"""In the cache folder: where data are found that are not in the user's data folder."""


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
