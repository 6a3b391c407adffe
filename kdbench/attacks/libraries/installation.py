"""The one door to torchattacks, robustbench and AutoAttack, whose wheels have traps; extras bring the first two.

- ``torchattacks`` ships an old copy of the top-level package ``robustbench`` inside its own wheel; in site-packages
  whichever was installed last lies on top.
- ``robustbench`` imports ``autoattack``, while the ``pyautoattack`` it depends on installs the module ``pyautoattack``.
- ``robustbench`` imports ``pkg_resources``, which setuptools 82 dropped.

Nothing else in kdbench imports any of them, and nothing is imported before it is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.metadata
import io
import logging
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kdbench import packages
from kdbench.errors import KdbenchError

ZOO = "RobustBench's model zoo"
TORCHATTACKS, ROBUSTBENCH = packages.extra("attacks"), packages.extra("zoo")
AUTOATTACK = "`pip install pyautoattack`"


@dataclass(frozen=True)
class RobustbenchFiles:
    """Which wheel the files of the top-level package ``robustbench`` in this environment come from.

    Attributes:
        version: of the distribution ``robustbench``.
        altered: its Python files that are missing or not as that distribution's RECORD has them.
        from_torchattacks: those of ``altered`` that are, byte for byte, the copy in torchattacks' wheel.
    """

    version: str
    altered: tuple[str, ...]
    from_torchattacks: tuple[str, ...]

    @property
    def fix(self) -> str:
        """The command that puts robustbench's own files back."""
        return f"pip install --force-reinstall --no-deps robustbench=={self.version}"


def robustbench_files() -> RobustbenchFiles:
    """Hold the installed files of ``robustbench`` against the hashes in both distributions' RECORDs.

    Raises:
        KdbenchError: the distribution robustbench is not installed.
    """
    try:
        distribution = importlib.metadata.distribution("robustbench")
    except importlib.metadata.PackageNotFoundError:
        raise KdbenchError(f"{ZOO} needs the package robustbench, which is not installed", ROBUSTBENCH) from None
    own = _recorded(distribution)
    copy: Mapping[str, str] = {}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        copy = _recorded(importlib.metadata.distribution("torchattacks"))
    altered, replaced = [], []
    for name, expected in own.items():
        path = Path(str(distribution.locate_file(name)))
        found = _digest(path) if path.is_file() else None
        if found != expected:
            altered.append(name)
            if found is not None and found == copy.get(name):
                replaced.append(name)
    return RobustbenchFiles(distribution.version, tuple(altered), tuple(replaced))


def torchattacks() -> types.ModuleType:
    """The module torchattacks.

    Raises:
        KdbenchError: it is not installed, or can't be imported.
    """
    return packages.load("attack family 'torchattacks'", "torchattacks", TORCHATTACKS)


def autoattack() -> types.ModuleType:
    """The module that has the class ``AutoAttack`` (Croce & Hein 2020): ``pyautoattack``, else ``autoattack``.

    Raises:
        KdbenchError: neither can be imported.
    """
    original = not packages.installed("pyautoattack") and packages.installed("autoattack")
    return packages.load("AutoAttack", "autoattack" if original else "pyautoattack", AUTOATTACK)


def robustbench() -> types.ModuleType:
    """The module robustbench of the distribution robustbench, its missing imports supplied while it is imported.

    Raises:
        KdbenchError: it is not installed, torchattacks' copy lies in its place, or it can't be imported.
    """
    if "robustbench" in sys.modules:
        return sys.modules["robustbench"]
    files = robustbench_files()
    if files.altered:
        whose = "torchattacks' old copy" if files.from_torchattacks else "something else"
        raise KdbenchError(
            f"{len(files.altered)} files of robustbench {files.version} are not its own: {whose} overwrote them, "
            f"e.g. {files.altered[0]}",
            f"`{files.fix}`",
        )
    with _stand_ins():
        return packages.load(ZOO, "robustbench", ROBUSTBENCH)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' prints, warnings and log from the user while one of them works; errors pass."""
    log = logging.getLogger("auto-attack")
    before = log.level
    try:
        log.setLevel(logging.CRITICAL + 1)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Supply the modules that robustbench looks for and its dependencies no longer bring; take them away afterwards.

    Afterwards, as other packages probe for ``pkg_resources`` and must not find one with a single function.
    """
    supplied: dict[str, types.ModuleType] = {}
    if not packages.installed("autoattack"):
        supplied["autoattack"] = autoattack()
        supplied["autoattack.state"] = importlib.import_module(f"{supplied['autoattack'].__name__}.state")
    if not packages.installed("pkg_resources"):
        supplied["pkg_resources"] = types.ModuleType("pkg_resources")
        supplied["pkg_resources"].__dict__["resource_filename"] = _resource_filename
    sys.modules.update(supplied)
    try:
        yield
    finally:
        for name, module in supplied.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _resource_filename(module: str, resource: str) -> str:
    """The one function of pkg_resources that robustbench calls: a path relative to the module's own folder."""
    location = importlib.import_module(module).__file__
    if location is None:
        raise KdbenchError(f"module '{module}' has no file to look beside", "install it as files, not as a namespace")
    return str(Path(location).parent / resource)


def _recorded(distribution: importlib.metadata.Distribution) -> Mapping[str, str]:
    """RECORD's sha256 of each Python file below ``robustbench/``; empty for an editable install, which lists none."""
    files = distribution.files or []
    return {
        file.as_posix(): file.hash.value
        for file in files
        if file.parts[0] == "robustbench" and file.suffix == ".py" and file.hash and file.hash.mode == "sha256"
    }


def _digest(path: Path) -> str:
    """Sha256 as RECORD writes it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
