"""Parts of a folder of runs as bytes, for machines that share no disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kdbench.files import of_one_moment, stamp, write_atomically, writing
from kdbench.sealed import LAST, SUMS, DamagedError, Sealed, Sums, mend, parse_sums

Files = dict[str, bytes]
"""Path in the folder of runs to content."""


def read(root: Path, folders: Iterable[str]) -> Files:
    """What is in some folders of ``root``."""
    changes = Changes(root, folders, since_now=False)
    while (found := changes.take()) is None:
        pass
    return found[0]


def lay(root: Path, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
    """Write files, each whole or not at all, and in an order in which nothing looks finished before it is; then delete
    others.

    ``SHA256SUMS`` of a folder admits what is here and what comes before any file of it changes, and in the end is as it
    came. Raises ``DamagedError``, and writes nothing, where a file is not what the list that came with it says.
    """
    gone = tuple(gone)
    for name, sums in _checked(files).items():
        folder = root / name
        mend(folder)
        Sealed(folder).admit(sums, {place.removeprefix(name) for place in gone if place.startswith(name)})
    lists = [name for name in files if _base(name) == SUMS]
    others = [name for name in files if _base(name) != SUMS]
    for name in sorted(others, key=lambda name: LAST.index(_base(name)) if _base(name) in LAST else -1):
        write_atomically(root / name, files[name])
    for name in gone:
        with writing(root / name):
            (root / name).unlink(missing_ok=True)
    for name in lists:
        write_atomically(root / name, files[name])


def _checked(files: Mapping[str, bytes]) -> dict[str, Sums]:
    """The folders with what their files may hold, which those that came do."""
    found = {}
    for place, content in files.items():
        if _base(place) != SUMS:
            continue
        folder = place.removesuffix(SUMS)
        found[folder] = parse_sums(content, Path(place))
        for name, admitted in found[folder].items():
            came = files.get(f"{folder}{name}")
            if came is not None and hashlib.sha256(came).hexdigest() not in admitted:
                raise DamagedError(
                    f"{folder}{name} is not the file that was sent", "is the network or a disk at fault?"
                )
    return found


class Changes:
    """What has changed in some folders since it was last asked for. Hidden files are unfinished ones, and left out."""

    def __init__(self, root: Path, folders: Iterable[str], *, since_now: bool = True) -> None:
        self._root, self._folders = root, tuple(folders)
        self._known = dict(self._stamps()) if since_now else {}

    def take(self) -> tuple[Files, tuple[str, ...]] | None:
        """The files that are new or were replaced, and the names of those that are no more, all of one moment: the list
        of a folder fits its files. None while they change faster than they are read: the next time has it all."""
        taken = of_one_moment(lambda: dict(self._stamps()), self._new)
        if taken is None:
            return None
        stamps, found = taken
        gone = tuple(sorted(self._known.keys() - stamps.keys()))
        self._known = stamps
        return found, gone

    def _new(self, stamps: Mapping[str, tuple[int, int]]) -> Files:
        found = dict[str, bytes]()
        for name, now in stamps.items():
            if self._known.get(name) != now:
                with contextlib.suppress(FileNotFoundError):  # its worker has just deleted it
                    found[name] = (self._root / name).read_bytes()
        return found

    def _stamps(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for folder in self._folders:
            for path in sorted((self._root / folder).rglob("*")):
                name = path.relative_to(self._root)
                if any(part.startswith(".") for part in name.parts):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    now = stamp(path)
                    if path.is_file():
                        yield name.as_posix(), now


def _base(name: str) -> str:
    return name.rpartition("/")[2]
