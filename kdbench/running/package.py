"""Which kdbench this is. Nothing heavy is imported: machines of a cluster are asked before they compute."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import kdbench
from kdbench.files import file_sha256

ROOT = Path(kdbench.__file__).resolve().parent.parent
"""Where kdbench lies: a checkout, or the place of installed packages."""
BUILT = ROOT / "kdbench/_commit.json"
"""What the build wrote of the commit it was made from."""


@functools.cache
def package_sha256() -> str:
    """SHA-256 of all files of the installed package, whatever git knows of them: their paths and contents, sorted."""
    digest = hashlib.sha256()
    package = ROOT / "kdbench"
    for file in sorted(package.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and file != BUILT:
            digest.update(f"{file.relative_to(package).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()
