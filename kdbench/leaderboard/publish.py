"""Putting a built site where it is served: a folder, or a branch of a git repository."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from kdbench.errors import KdbenchError
from kdbench.files import write_atomically
from kdbench.inside import inside, is_own_file, is_plain_name

MANIFEST: Final = ".kdbench-site.json"
"""Lists the files of a published site, so that the next publication removes its own old files and no others."""
LARGEST_MANIFEST: Final = 16 * 2**20
"""Bytes; a site of ten thousand methods has less than one million."""
NO_JEKYLL: Final = ".nojekyll"
ATTEMPTS: Final = 3
"""Pushes before giving up, when another publication pushes meanwhile."""
TIMEOUT_S: Final = 300


@dataclasses.dataclass(frozen=True)
class Publication:
    """What publishing has done."""

    to: str
    files: int
    changed: bool
    commit: str | None = None


def publish(site: Path, to: str, *, message: str = "Leaderboard") -> Publication:
    """Publish a built site to a folder, or to ``git:REMOTE#BRANCH``.

    Only files that an earlier publication put there are removed. A folder or branch that holds other files and was
    never published to is refused, and so is one where a link leads elsewhere, or whose list of files does. A branch is
    changed in a clone of its own: the user's checkout is not touched, and nothing is ever forced. When another
    publication pushes meanwhile, it is fetched and tried again.

    Raises:
        KdbenchError: no site, a target that is refused, or what git says, in one line.
    """
    if not (site / "index.html").is_file():
        raise KdbenchError(f"no site in {site}", "`kdbench leaderboard build --out DIR` makes one")
    if to.startswith("git:"):
        remote, hash_, branch = to.removeprefix("git:").rpartition("#")
        if not hash_ or not remote or not branch:
            raise KdbenchError(f"'{to}' names no remote and branch", "write it as git:REMOTE#BRANCH")
        return _publish_to_branch(site, without_secret(to), remote, branch, message)
    target = Path(to)
    if target.resolve() == site.resolve() or site.resolve() in target.resolve().parents:
        raise KdbenchError(f"'{to}' lies in the site itself", "name another folder")
    changed = _replace(site, target, target.name)
    return Publication(to, len(_files(site)), changed)


def _files(site: Path) -> list[str]:
    """The site's files, relative, with ``/``; links and what lies behind them are no files of a site."""
    found = []
    for root, folders, names in os.walk(site):
        folders[:] = [name for name in folders if not (Path(root) / name).is_symlink()]
        found += [Path(root, name).relative_to(site).as_posix() for name in names if is_own_file(Path(root, name))]
    return sorted(name for name in found if name != MANIFEST and is_plain_name(name))


def _published(target: Path, what: str) -> list[str]:
    """The files of the last publication; an error where the folder holds something else."""
    manifest = target / MANIFEST
    if not target.exists() or not any(path.name != ".git" for path in target.iterdir()):
        return []
    if not os.path.lexists(manifest):
        raise KdbenchError(f"{what} holds files that are no published site", "name an empty one, or clear it first")
    damaged = KdbenchError(f"{what}: {MANIFEST} is damaged", "clear it and publish again")
    if not is_own_file(manifest) or manifest.stat().st_size > LARGEST_MANIFEST:
        raise damaged
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if not isinstance(files, list) or not all(is_plain_name(name) for name in files):
        raise damaged
    return files


def _replace(site: Path, target: Path, what: str) -> bool:
    """Make the folder hold the site in place of the last one; whether anything changed. Errors call it ``what``."""
    if target.exists() and not target.is_dir():
        raise KdbenchError(f"{target} is a file", "name a folder")
    old, new = _published(target, what), _files(site)
    outdated = [inside(target, name) for name in sorted(set(old) - set(new))]
    goals = {name: inside(target, name) for name in new}  # all of them, before the first is touched
    changed = False
    for path in outdated:
        changed |= os.path.lexists(path)
        path.unlink(missing_ok=True)
    for name, goal in goals.items():
        content = (site / name).read_bytes()
        if not is_own_file(goal) or goal.read_bytes() != content:
            write_atomically(goal, content)
            changed = True
    # Servers of pages must take every file as it is, also one whose name begins with an underscore.
    if not is_own_file(target / NO_JEKYLL):
        write_atomically(target / NO_JEKYLL, b"")
    write_atomically(target / MANIFEST, (json.dumps({"files": new}, indent=1) + "\n").encode())
    return changed


def _publish_to_branch(site: Path, to: str, remote: str, branch: str, message: str) -> Publication:
    address = _address(remote)
    if branch.startswith("-") or _run(Path.cwd(), "check-ref-format", "--branch", branch).returncode:
        raise KdbenchError(f"'{branch}' is no name of a branch", "write it as git:REMOTE#BRANCH")
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            _start(clone, address, branch)
            _replace(site, clone, f"branch '{branch}'")
            _git(clone, "add", "--all", "--force", ".")
            if not _git(clone, "status", "--porcelain"):
                return Publication(to, len(_files(site)), False, _git(clone, "rev-parse", "HEAD"))
            _git(clone, *_identity(clone), "commit", "--quiet", "--no-verify", f"--message={message}")
            pushed = _run(clone, "push", "--quiet", "--porcelain", address, f"HEAD:refs/heads/{branch}")
            if pushed.returncode == 0:
                return Publication(to, len(_files(site)), True, _git(clone, "rev-parse", "HEAD"))
            if not _moved_on(pushed):
                raise _refusal("push", pushed)
    raise KdbenchError(
        f"'{branch}' of {without_secret(remote)} moved on during each of {ATTEMPTS} attempts",
        "another publication is running: try again later",
    )


def without_secret(text: str) -> str:
    """Addresses without the user and token that may stand in them."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def _moved_on(pushed: subprocess.CompletedProcess[str]) -> bool:
    """Whether a push was refused because another one came first, and not by a rule of the server."""
    said = pushed.stdout + pushed.stderr
    reasons = (
        "fetch first",
        "non-fast-forward",
        "stale info",
        "cannot lock ref",
        "incorrect old value",
        "failed to update ref",
    )
    return any(reason in said for reason in reasons)


def _start(clone: Path, address: str, branch: str) -> None:
    """A repository with the branch checked out, or an empty one that begins it."""
    clone.mkdir()
    _git(clone, "init", "--quiet", f"--initial-branch={branch}")
    listed = _run(clone, "ls-remote", "--heads", address, f"refs/heads/{branch}")
    if listed.returncode:
        raise _refusal("ls-remote", listed)
    if listed.stdout.strip():
        _git(clone, "fetch", "--quiet", "--depth=1", address, f"refs/heads/{branch}")
        _git(clone, "reset", "--quiet", "--hard", "FETCH_HEAD")


def _address(remote: str) -> str:
    """What git is to talk to: a remote of this checkout by its name, a folder, or an address."""
    if remote.startswith("-"):
        raise KdbenchError(f"'{remote}' is no remote", "write it as git:REMOTE#BRANCH")
    known = _run(Path.cwd(), "remote", "get-url", "--push", "--", remote)
    if known.returncode == 0:
        return known.stdout.strip()
    return str(Path(remote).resolve()) if Path(remote).exists() else remote


def _identity(clone: Path) -> list[str]:
    """Who commits: the user; or, on a machine that knows none, kdbench."""
    if _run(clone, "var", "GIT_COMMITTER_IDENT").returncode == 0:
        return []
    return ["-c", "user.name=kdbench", "-c", "user.email=kdbench@localhost"]


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Git, without questions and without the environment of a hook that may have called us."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, env=environment, timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except FileNotFoundError:
        raise KdbenchError("git is not installed", "install it, or publish to a folder") from None
    except subprocess.TimeoutExpired:
        raise KdbenchError(f"git {arguments[0]} gave no answer for {TIMEOUT_S} s", "is the remote up?") from None


def _git(folder: Path, *arguments: str) -> str:
    done = _run(folder, *arguments)
    if done.returncode:
        raise _refusal(next(word for word in arguments if not word.startswith("-") and "=" not in word), done)
    return done.stdout.strip()


def _refusal(command: str, done: subprocess.CompletedProcess[str]) -> KdbenchError:
    """What git says, in one line."""
    said = [line.strip() for line in f"{done.stderr}\n{done.stdout}".splitlines() if line.strip()]
    reasons = [line for line in said if line.startswith(("fatal:", "error:", "remote:", "!"))] or said
    return KdbenchError(
        f"git {command}: {without_secret(reasons[0]) if reasons else 'failed'}",
        "is the remote right, and may you push?",
    )
