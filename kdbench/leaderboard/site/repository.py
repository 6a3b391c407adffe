"""Addresses of the files behind a page: in the repository that the records lie in, as hosts such as GitHub serve it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from kdbench.errors import KdbenchError
from kdbench.leaderboard.publish import without_secret
from kdbench.leaderboard.site.text import web_address

COMMIT: Final = "[0-9a-f]{40}|[0-9a-f]{64}"
TIMEOUT_S: Final = 60


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository on the web, and the files of records that are in it."""

    address: str
    """https, without a slash at its end."""
    files: Mapping[Path, str] = dataclasses.field(default_factory=dict)
    """Resolved file to its path within the repository; only what git tracks."""

    @classmethod
    def of(cls, address: str, records: Path) -> Repository:
        """The repository at ``address``, of which ``records`` is a folder in a checkout.

        Raises:
            KdbenchError: no https address of a repository, or a folder that git knows nothing of.
        """
        return cls(_checked(address), _tracked(records))

    def file(self, path: Path) -> str | None:
        """Where a file is shown as it is now, None for one that is not in the repository."""
        name = self.files.get(path.resolve())
        return None if name is None else f"{self.address}/blob/HEAD/{quote(name)}"

    def source(self, commit: str | None) -> str | None:
        """Where kdbench's source is shown at a commit; None for what is no commit's full hash."""
        return f"{self.address}/tree/{commit}" if re.fullmatch(COMMIT, commit or "") else None


def _checked(address: str) -> str:
    """The address without what is not needed at its end."""
    found = address.rstrip("/").removesuffix(".git")
    parts = urlsplit(found) if web_address(found) else None
    if parts is None or parts.scheme != "https" or not parts.path.strip("/") or parts.query or parts.fragment:
        shown = without_secret(address).encode("ascii", "backslashreplace").decode()
        raise KdbenchError(
            f"--repository '{shown}' is no https address of a repository", "write it as https://HOST/OWNER/NAME"
        )
    return found


def _tracked(records: Path) -> dict[Path, str]:
    """File to its path within the repository, of all that git tracks under a folder."""
    top = Path(_git(records, "rev-parse", "--show-toplevel").removesuffix("\n"))
    names = _git(records, "ls-files", "--full-name", "-z", "--", ".").split("\0")
    return {(top / name).resolve(): name for name in names if name}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KdbenchError(f"--repository needs git: {error}", "leave it out, or install git") from None
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        raise KdbenchError(
            f"--repository: {folder} is in no git repository ({said})",
            "give the records of a checkout, or leave it out",
        )
    return done.stdout
