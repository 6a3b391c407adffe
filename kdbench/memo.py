"""Answers kept on disk together with everything that decided them, and given again only while all of that is the same.

What decided an answer is what was read to find it. Python's audit events tell it: each file that was opened or imported
and each folder that was listed while ``Watch`` looked. Of a file, size and times must be the same; of a folder, the
names in it. Beside these count the interpreter, its search path, the user and the environment. What code asks of the
network, the clock or another program is not seen.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdbench.files import WriteError, cache_folder, write_atomically

FORMAT = 1
"""Of the files; another one is not read."""
RACY_NS = 2_000_000_000
"""What was changed within one tick of the file system's clock keeps its times: nothing so young is trusted."""
OF_A_SESSION = frozenset({
    "_", "SHLVL", "PWD", "OLDPWD", "COLUMNS", "LINES", "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID", "WINDOWID", "WINDOW", "STY", "TMUX", "TMUX_PANE", "TTY", "SSH_TTY", "SSH_CLIENT",
    "SSH_CONNECTION", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "XDG_SESSION_ID", "PS1", "PYTEST_CURRENT_TEST",
})  # fmt: skip
"""Environment variables that tell one terminal from another and no more."""

Mark = list[int | str] | None
"""A file's size, mtime and ctime in ns; a folder's ctime and the hash of the names in it; None: nothing is there."""


def mark(path: str) -> Mark:
    """What a file or a folder is known again by."""
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            return [found.st_ctime_ns, _names(path)]
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _names(folder: str) -> str:
    names = sorted(name for name in os.listdir(folder) if name != "__pycache__")
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def changed(marks: Mapping[str, Mark]) -> str | None:
    """The first of these paths that is no longer as it was marked, None where all are."""
    return next((path for path, kept in marks.items() if not _same(path, kept)), None)


def _same(path: str, kept: Mark) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return kept is None
    if kept is None:
        return False
    if len(kept) == 2:  # a folder, whose times also change where a file comes and goes
        return kept[0] == found.st_ctime_ns or mark(path) == [found.st_ctime_ns, kept[1]]
    return kept == [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def too_young(marks: Iterable[Mark], since: int) -> bool:
    """Whether any file or folder was changed after ``since`` (ns), or so shortly before that its times may not tell."""
    return any(one is not None and max(int(t) for t in one if isinstance(t, int)) > since - RACY_NS for one in marks)


class Watch:
    """Sees which files and folders Python code reads in a ``with`` block."""

    active: Watch | None = None
    hooked = False

    def __init__(self) -> None:
        self.since = now()
        self.paths: set[str] = set()
        self.relative = False

    def __enter__(self) -> Watch:
        if not Watch.hooked:  # an audit hook stays for the life of the process
            sys.addaudithook(_audit)
            Watch.hooked = True
        Watch.active = self
        return self

    def __exit__(self, *_: object) -> None:
        Watch.active = None

    def saw(self, path: object) -> None:
        """Note a path as it was given to the system; an open file has none."""
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path) or "."
            self.relative |= not os.path.isabs(name)
            self.paths.add(os.path.abspath(name))

    def marks(self) -> dict[str, Mark] | None:
        """Everything that was read, every module that is there and every folder that was searched for one; None where
        some of it is too young to be known."""
        files = {_source(path) for path in self.paths} | set(_modules()) | set(sys.path_importer_cache)
        if self.relative:  # another folder to start from is another answer
            files.add(os.getcwd())
        found = {path: mark(path) for path in sorted(files) if not path.startswith(("/proc/", "/sys/", "/dev/"))}
        return None if too_young(found.values(), self.since) else found


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    watch = Watch.active
    if watch is None:
        return
    if event == "open":
        if not arguments[2] & os.O_WRONLY:
            watch.saw(arguments[0])
    elif event in ("os.listdir", "os.scandir"):
        watch.saw("." if arguments[0] is None else arguments[0])


def _source(path: str) -> str:
    """The file that a compiled one was made of: Python reads that no more, and does so when its times differ."""
    if os.path.basename(os.path.dirname(path)) == "__pycache__":
        try:
            return importlib.util.source_from_cache(path)
        except ValueError:
            return path
    return path


def _modules() -> Iterator[str]:
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and os.path.isabs(origin):
            yield origin


def tree(path: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """A path, and every file and folder below it in the order of their names, but for what Python compiles.

    Links are followed, but not to a folder that they lie in (``above``: device and number of each).
    """
    yield path
    if not os.path.isdir(path):
        return
    found = os.stat(path)
    here = (found.st_dev, found.st_ino)
    if here in above:
        return
    with os.scandir(path) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir() and entry.name != "__pycache__":
            yield from tree(entry.path, (*above, here))
        elif not entry.is_dir():
            yield entry.path


def now() -> int:
    """The time, as files have it: ns."""
    return time.time_ns()


def situation() -> dict[str, Any]:
    """What decides how code behaves beside the files: interpreter, search path, user and environment."""
    environment = sorted((name, value) for name, value in os.environ.items() if name not in OF_A_SESSION)
    return {
        "python": [sys.version, sys.executable, sys.prefix, sys.flags.optimize],
        "path": [folder or os.getcwd() for folder in sys.path],
        "user": os.getuid() if hasattr(os, "getuid") else "",
        "environment": digest(environment),
    }


def digest(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def recall(kind: str, key: Any) -> Any:
    """The value that was kept under a key; None where there is none that can be read.

    Args:
        kind: a folder's name.
        key: a JSON value, held as a whole against the one that was kept.
    """
    try:
        with _file(kind, key).open("rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                return None  # a cache folder may be shared
            kept = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or [kept.get("format"), kept.get("key")] != [FORMAT, key]:
        return None
    return kept.get("value")


def keep(kind: str, key: Any, value: Any, most: int) -> None:
    """Keep a JSON value under a key, and the newest ``most`` of a kind; where nothing can be written, nothing is."""
    file = _file(kind, key)
    try:
        write_atomically(file, json.dumps({"format": FORMAT, "key": key, "value": value}).encode())
        for old in sorted(file.parent.glob("*.json"), key=os.path.getmtime)[:-most]:
            old.unlink(missing_ok=True)
    except (OSError, WriteError):
        return


def _file(kind: str, key: Any) -> Path:
    return cache_folder() / kind / f"{digest(key)[:32]}.json"
