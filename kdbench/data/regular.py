"""Reading files of a data folder: regular ones, no larger than they can be, and a word about links to nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

LARGEST: Final = 512 * 2**20
"""Bytes of one file of a data set that is read as a whole; CIFAR-100's training batch has 155 million."""


def check_regular(found: os.stat_result) -> None:
    """Raise ``OSError`` for what is no regular file, as a pipe that waits for ever or a device that never ends, and for
    one that is too large."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is a folder, a pipe, a device or a socket, expected a file")
    if found.st_size > LARGEST:
        raise OSError(errno.EFBIG, f"has {found.st_size:,} bytes, expected {LARGEST:,} at most")


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file; ``OSError`` as ``check_regular``, and where it can't be read."""
    check_regular(path.stat())
    with path.open("rb") as file:
        return file.read()


def link_hint(path: Path, otherwise: str) -> str:
    """What to do about a file that is not there: where it is a link to nothing, what that points to.

    >>> link_hint(Path("/nowhere/cat.png"), "copy the images again")
    'copy the images again'
    """
    if not path.is_symlink() or path.exists():
        return otherwise
    target = os.readlink(path)
    if "/annex/objects/" in target:
        return (
            f"'{path.name}' is a link of git-annex, whose content is not here: `git annex get` in its folder fetches it"
        )
    return f"'{path.name}' is a link to '{target}', which is not there: restore that, or {otherwise}"
