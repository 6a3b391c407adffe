"""Paths that stay inside a folder, whatever names and links others left there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from kdbench.errors import KdbenchError, plain


def is_plain_name(name: object) -> bool:
    """Whether a relative path with ``/`` leads down from its folder, and to nothing of git's.

    >>> [is_plain_name(name) for name in ("a/b.html", "/etc/passwd", "../a", "a/../../b", ".git/HEAD", "a//b", "")]
    [True, False, False, False, False, False, False]
    """
    if not isinstance(name, str) or not name or "\\" in name or not name.isprintable():
        return False
    parts = name.split("/")
    return all(part not in ("", ".", "..") and not part.lower().startswith(".git") for part in parts)


def inside(folder: Path, name: str) -> Path:
    """``folder / name`` to be written or removed: no folder on the way to it is a link, nor is it one to a folder.

    A link in the place of the file itself is no way out: ``kdbench.files.staged`` puts a file in its place.

    Raises:
        KdbenchError: the name leads elsewhere, or a link does.
    """
    if not is_plain_name(name):
        raise KdbenchError(f"{plain(name)!r} is no path inside {folder}", "remove it")
    place = folder
    for part in PurePosixPath(name).parent.parts:
        place = place / part
        if place.is_symlink():
            raise KdbenchError(f"{place} is a link to {plain(os.readlink(place))}", "put a folder in its place")
        if place.exists() and not place.is_dir():
            raise KdbenchError(f"{place} is no folder", "remove it")
    goal = folder / name
    if goal.is_dir():
        raise KdbenchError(f"{goal} is a folder, expected a file or nothing", "remove it")
    return goal


def is_own_file(path: Path) -> bool:
    """Whether a file itself lies there, not a link to one."""
    return path.is_file() and not path.is_symlink()
