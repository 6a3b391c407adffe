"""What the build adds to a wheel and a source archive: the commit they were built from, in ``kdbench/_commit.json``."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "kdbench/_commit.json"


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]  # its configuration class is hatchling's own matter
    """Writes commit and dirty flag of the checkout that is built; an editable install asks git whenever it runs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        commit = None if version == "editable" else self._git("rev-parse", "HEAD")
        top = self._git("rev-parse", "--show-toplevel")
        if commit is None or top is None or Path(top).resolve() != Path(self.root).resolve():
            return  # no checkout: a source archive has the file already
        dirty = bool(self._git("status", "--porcelain", "--untracked-files=no"))
        file = Path(tempfile.mkdtemp()) / "_commit.json"
        file.write_text(json.dumps({"commit": commit, "dirty": dirty}))
        build_data["force_include"][str(file)] = TARGET

    def _git(self, *arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", self.root, *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None
