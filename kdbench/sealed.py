"""A folder that knows its files: ``SHA256SUMS`` says what each may hold, so that damage is told from an interruption.

The order of writes, in which a process may be killed anywhere and nothing is lost or taken for damaged:

1. The new files are written under temporary names and flushed.
2. ``SHA256SUMS`` is replaced. It admits for each of them what was there before, or that it was not there, and the new.
3. The files are renamed into place in the order in which they were given, those that go are deleted, and the folder is
   flushed. Until then each file is the old or the new one, whole, and both are admitted.
4. The next change, or ``settle``, admits only what is there now.

A whole folder is exchanged the same way. The new one is made in ``again/`` within it and gets the name ``swap/`` by one
rename, when it is whole; from then on whoever works here moves what is left there. ``SHA256SUMS`` ends with a hash of
itself, and `sha256sum -c` reads it. One process at a time works in a folder, under a lock of its own; others may read
at any time. Folders without ``SHA256SUMS``, and files that it does not list, are of earlier versions and can't be
checked here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Final

from kdbench.errors import KdbenchError
from kdbench.files import TEMPORARY, discard, file_sha256, staged, sync_folder, write_atomically, writing

SUMS: Final = "SHA256SUMS"
SWAP: Final = "swap"
"""Folder within one, that takes its place."""
FRESH: Final = "again"
"""Folder within one, in which the same is made again; it becomes ``SWAP`` when it is whole."""
PARTS: Final = "partial"
"""Folder within one, whose files the outer one lists."""
DAMAGED: Final = ".damaged"
"""End of the name of what was set aside."""
LAST: Final = ("checkpoint.safetensors", "record.json")
"""That these are there says that a training or a run is finished: they come after all others, in this order."""
ABSENT: Final = "absent"
"""In place of a hash: there may be no such file."""
MISSING: Final = "is missing"
TRIES: Final = 10

Sums = dict[str, tuple[str, ...]]
"""Name to what the file may hold, the newest first: SHA-256 as hex, or ``ABSENT``."""

_LINE = re.compile(rf"(?:# or )?([0-9a-f]{{64}}|{ABSENT})  (.+)")
_SELF = "# of the lines above: "


class DamagedError(KdbenchError):
    """A file is not the one that was written."""


def read_sums(folder: Path) -> Sums | None:
    """What a folder's files may hold; None where nothing says so.

    Raises:
        DamagedError: ``SHA256SUMS`` itself is not what was written.
    """
    content = _content(folder)
    return None if content is None else parse_sums(content, folder / SUMS)


def _content(folder: Path) -> bytes | None:
    try:
        return (folder / SUMS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_sums(content: bytes, path: Path) -> Sums:
    """The same of the content of the file at ``path``, which messages name. Raises ``DamagedError``."""
    text, _, said = content.decode("utf-8", "replace").rpartition(_SELF)
    found: dict[str, list[str]] = {}
    if said == f"{hashlib.sha256(text.encode()).hexdigest()}\n":
        for line in text.split("\n")[:-1]:
            match = _LINE.fullmatch(line)
            if match is None:
                break
            found.setdefault(match[2], []).append(match[1])
        else:
            return {name: tuple(hashes) for name, hashes in found.items()}
    raise DamagedError(f"{path} is damaged, which says what the files beside it must hold", "restore that folder")


def _sums_bytes(sums: Sums) -> bytes:
    lines = [
        f"{'# or ' if place or one == ABSENT else ''}{one}  {name}\n"
        for name, hashes in sorted(sums.items())
        for place, one in enumerate(hashes)
    ]
    text = "".join(lines)
    return f"{text}{_SELF}{hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def sums_of(content: bytes, path: Path, names: Iterable[str]) -> bytes:
    """The content of ``SHA256SUMS`` at ``path`` for a copy of its folder that has these files alone. Raises
    ``DamagedError``."""
    sums = parse_sums(content, path)
    return _sums_bytes({name: sums[name] for name in names if name in sums})


def check(path: Path, name: str | None = None) -> None:
    """Raise ``DamagedError`` where a file is not what ``SHA256SUMS`` beside it says.

    ``name`` as it is listed, where the list lies further up: ``partial/a.json``.
    """
    name = name or path.name
    what = fault(path.parents[name.count("/")], name)
    if what:
        raise DamagedError(f"{path} {what}", "restore it, or let the command that made it make it again")


def fault(folder: Path, name: str) -> str:
    """What is wrong with a file of a folder, in words: "" where nothing is, or nothing says what it must hold.

    Another process may change it meanwhile: a file is damaged where the list was the same before and after.
    """
    for _ in range(TRIES):
        content = _content(folder)
        admitted = () if content is None else parse_sums(content, folder / SUMS).get(name, ())
        found = _hash(folder / name) if admitted else ABSENT
        if not admitted or found in admitted:
            return ""
        if _content(folder) == content:
            break
    return MISSING if found == ABSENT else f"is damaged: it is not the file that {SUMS} lists"


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        return ABSENT
    except OSError:  # the disk can't read it
        return "unreadable"


def faults(folder: Path) -> dict[str, str]:
    """The damaged and missing files of a folder by name, each in words."""
    try:
        listed = read_sums(folder) or {}
        found = {name: fault(folder, name) for name in listed}
    except DamagedError:
        return {SUMS: "is damaged: nothing beside it can be checked"}
    return {name: what for name, what in found.items() if what}


class Sealed:
    """A folder to write in, by one process at a time. It need not exist."""

    def __init__(self, folder: Path) -> None:
        """Raises ``DamagedError`` as ``read_sums`` does; after ``mend`` there is no cause."""
        self.folder = folder
        self._sums: Sums = {}
        for name, hashes in (read_sums(folder) or {}).items():
            found = _hash(folder / name) if len(hashes) > 1 else ""  # a writer was killed, or did not settle
            if found != ABSENT or found not in hashes:
                self._sums[name] = (found,) if found in hashes else hashes

    def write(self, files: Mapping[str, bytes], gone: Iterable[str] = ()) -> None:
        """Write whole files, which appear in this order, and then delete others.

        Raises:
            WriteError: the system refuses it.
        """
        waiting: dict[str, Path] = {}
        try:
            for name, content in files.items():
                waiting[name] = staged(self.folder / name, content)
            new = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            self._change(new, waiting, list(gone))
        except BaseException:
            for temporary in waiting.values():
                discard(temporary)
            raise

    def _change(self, new: Mapping[str, str], places: Mapping[str, Path], gone: list[str]) -> None:
        """Let files take their names; ``places``: where each lies, unless it has its name already."""
        coming = {**new, **dict.fromkeys(gone, ABSENT)}
        self._sums |= {name: _once(one, *self._before(name)) for name, one in coming.items()}
        self.settle()
        for name, place in places.items():
            with writing(self.folder / name):
                os.replace(place, self.folder / name)
        for name in gone:
            with writing(self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
        for folder in {(self.folder / name).parent for name in (*new, *gone)}:
            sync_folder(folder)
        self._sums = {name: hashes for name, hashes in self._sums.items() if name not in coming}
        self._sums |= {name: (one,) for name, one in new.items()}

    def _before(self, name: str) -> tuple[str, ...]:
        """What may lie there before a change."""
        return self._sums.get(name) or (_hash(self.folder / name),)

    def settle(self) -> None:
        """Admit on disk what is admitted here: after a change nothing but what is there."""
        write_atomically(self.folder / SUMS, _sums_bytes(self._sums))

    def sha256(self, name: str) -> str:
        """Of a file that was written here."""
        return self._sums[name][0]

    def listed(self, below: str = "") -> list[str]:
        """Names that begin so."""
        return [name for name in self._sums if name.startswith(below)]

    def admit(self, sums: Sums, gone: Set[str]) -> None:
        """Admit what a copy of this folder holds, for its files to be laid here, and that it has deleted others."""
        for name in (*sums, *gone):
            absent = (ABSENT,) if name in gone else ()
            self._sums[name] = _once(*sums.get(name, ()), *self._before(name), *absent)
        self.settle()

    def drop(self, names: Iterable[str]) -> None:
        """Delete files, those that are there."""
        self.write({}, [name for name in names if name in self._sums or (self.folder / name).exists()])

    def take(self, source: Path) -> None:
        """Become what ``source`` is, a folder within this one; what it has not is deleted, but for other folders.

        The file that says that it is finished is the last that ``source`` got, and the last to come.
        """
        with writing(self.folder):
            Sealed(source).settle()
            os.replace(source, self.folder / SWAP)
        sync_folder(self.folder)
        self.finish()

    def finish(self) -> None:
        """Finish a ``take`` that was interrupted."""
        source = self.folder / SWAP
        sums = read_sums(source)
        if sums is not None:
            self._become(source, {name: hashes[0] for name, hashes in sums.items()})
        with writing(source):
            shutil.rmtree(source)

    def _become(self, source: Path, new: Mapping[str, str]) -> None:
        for parent in {(self.folder / name).parent for name in new}:
            with writing(parent):
                parent.mkdir(parents=True, exist_ok=True)
        here = dict.fromkeys((*self._sums, *_names(self.folder)))
        order = sorted(new, key=lambda name: name in LAST)
        places = {name: source / name for name in order if (source / name).exists()}
        self._change(new, places, [name for name in here if name not in new])
        self.settle()


def _names(folder: Path) -> Iterator[str]:
    """Files that a folder's list may have, whether it has them or not."""
    for place in (folder, folder / PARTS):
        for path in sorted(place.iterdir()) if place.is_dir() else ():
            if path.is_file() and path.name != SUMS and path.suffix != DAMAGED:
                yield path.relative_to(folder).as_posix()


def _once(*hashes: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hashes))


def mend(folder: Path) -> dict[str, str]:
    """Before work in a folder, under its lock: finish an exchange, delete what killed writers left, and set aside what
    is damaged, with a warning each. Returns the damaged and missing files, as ``faults``: they are to be made again."""
    if not folder.is_dir():
        return {}
    for path in (*folder.glob(f".*{TEMPORARY}"), *(folder / PARTS).glob(f".*{TEMPORARY}")):
        discard(path)
    found = faults(folder)
    if (folder / SWAP).is_dir() and SUMS not in found:
        if SUMS in faults(folder / SWAP):
            found[SWAP] = "is damaged: it was to take this folder's place"
        else:
            Sealed(folder).finish()
            found = faults(folder)
    if SUMS in found:
        found |= dict.fromkeys(_names(folder), f"can't be checked, as {SUMS} is damaged")
    for name, what in found.items():
        warnings.warn(f"{folder / name} {what}. It is made again", stacklevel=3)
        with writing(folder / name):
            if (folder / name).exists():
                os.replace(folder / name, folder / f"{name}{DAMAGED}")
    if found:
        Sealed(folder).drop(name for name in found if name not in (SUMS, SWAP))
    return found
