"""Files that travel in parts of limited size: a tar archive a part, each with the list of all."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

MANIFEST = "manifest.json"
LIST_BYTES = 160 * 1024
"""Room for the list of all files, and for the end of an archive."""


class PartError(Exception):
    """What is wrong with a part, in one line."""


def write_parts(files: Iterable[tuple[str, Path]], folder: Path, limit: int, facts: Mapping[str, object]) -> list[Path]:
    """Write ``part-1-of-N.tar``, ... of at most ``limit`` bytes each, each file in the first one with room for it.

    Args:
        files: names within the parts, and where the files lie.
        facts: what else every part says, under keys of its own.

    Raises:
        PartError: one file alone is larger than a part.
    """
    listed: dict[str, dict[str, object]] = {}
    sources: dict[str, Path] = {}
    whole = limit - LIST_BYTES
    rooms: list[int] = []
    for name, path in files:
        size = 1024 + -(-path.stat().st_size // 512) * 512  # with its header in the archive
        if size > whole:
            raise PartError(f"{path} has {size:,} bytes, at most {whole:,} fit a part: give a larger --limit-mb")
        part = next((place for place, room in enumerate(rooms) if size <= room), len(rooms))
        if part == len(rooms):
            rooms.append(whole)
        rooms[part] -= size
        listed[name] = {"part": part + 1, "bytes": path.stat().st_size, "sha256": digest_of(path)}
        sources[name] = path
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.tar"):
        old.unlink()
    list_file = folder / MANIFEST
    list_file.write_text(json.dumps({**facts, "parts": len(rooms), "files": listed}))
    written = []
    for number in range(1, len(rooms) + 1):
        target = folder / f"part-{number}-of-{len(rooms)}.tar"
        with tarfile.open(target, "w") as archive:
            archive.add(list_file, MANIFEST)
            for name, facts_of in listed.items():
                if facts_of["part"] == number:
                    archive.add(sources[name], name)
        written.append(target)
    list_file.unlink()
    return written


class Stock:
    """The folder that parts are unpacked to, one call's after another's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifest(self) -> dict[str, object]:
        """What the parts say of themselves, {} before the first."""
        file = self.folder / MANIFEST
        found: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _files(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = self.manifest().get("files", {})  # type: ignore[assignment]  # it is JSON
        return found

    def take(self, parts: Path) -> list[str]:
        """Unpack the parts in a folder that are not unpacked yet; their names.

        Raises:
            PartError: one is of another pack than those before, or damaged.
        """
        taken = []
        for path in sorted(parts.glob("part-*.tar")):
            marker = self.folder / f"{path.name}.taken"
            if marker.exists():
                continue
            try:
                with tarfile.open(path) as archive:
                    self._unpack(archive, path)
            except (tarfile.TarError, OSError, ValueError, KeyError) as error:
                raise PartError(f"{path} is damaged ({error}): pack again") from None
            marker.touch()
            taken.append(path.name)
        return taken

    def _unpack(self, archive: tarfile.TarFile, path: Path) -> None:
        file = archive.extractfile(MANIFEST)
        assert file is not None  # getmember raises KeyError for none
        text = file.read().decode()
        listed = json.loads(text)
        if self.manifest() not in ({}, listed):
            raise PartError(f"{path} is of another pack than the parts before: empty --work, or pack again")
        archive.extractall(self.folder, filter="data")
        for name in archive.getnames():
            if name != MANIFEST and digest_of(self.folder / name) != listed["files"][name]["sha256"]:
                raise PartError(f"{path}: {name} is damaged: pack again")

    def lacking(self, prefixes: Iterable[str]) -> list[int]:
        """Numbers of the parts that have still to come for all files under these prefixes, [] for none."""
        wanted = tuple(prefixes)
        return sorted(
            {int(str(facts["part"])) for name, facts in self._files().items()
             if name.startswith(wanted) and not (self.folder / name).exists()}
        )  # fmt: skip


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(root: Path) -> str:
    """SHA-256 of the sources in a checkout that decide a result: their paths and contents."""
    digest = hashlib.sha256()
    for folder in ("kdbench", "plugins"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()} {digest_of(file)}\n".encode())
    return digest.hexdigest()
