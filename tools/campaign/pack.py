"""What travels to a machine without network: the checkout, wheels and images, in parts of limited size."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.campaign.parts import PartError, tree_digest, write_parts

TOOLS = (
    "pytest", "pytest-benchmark", "torchattacks>=3.5.1", "opencv-python-headless", "scikit-image",
    "imagecorruptions==1.1.2",
)  # fmt: skip
"""What tests and benchmarks need beside kdbench's own requirements."""
LAST = ("imagecorruptions", "pyautoattack")
"""Large distributions that few steps ask for: they come last, and without what they depend on, which is not used."""
GLIBC = (17, 24, 27, 28, 31, 34, 35)
HERE = "+present"
"""Ends the versions of placeholders: pip finds them nowhere else."""
COMMIT = "kdbench/_commit.json"
SETS = ("cifar10", "ood_imagenet")


def pack(
    root: Path, images: Path, out: Path, *, limit: int, present: Sequence[str], python: str, machine: str, wheels: bool
) -> list[Path]:
    """Write ``kdbench.tar.gz``, the checkout with its commit, and ``part-1-of-N.tar``, ...: wheels, test images,
    training images.

    Args:
        root: the checkout.
        images: a folder of strips ``<set>/<split>.<class>.<part>.webp``.
        limit: largest part, bytes.
        present: distributions that the machine has, ``name`` or ``name==version``: no wheels of them.
        python: its version, as ``3.12``. machine: as ``x86_64``.
        wheels: whether any are fetched.

    Raises:
        PartError: there are no images, pip finds no wheels, or a file is larger than a part.
    """
    strips = list(_strips(images))
    out.mkdir(parents=True, exist_ok=True)
    revision = _commit(root)
    with tempfile.TemporaryDirectory() as folder:
        found = download(requirements(root), Path(folder), present, python, machine) if wheels else []
        first, last = ([path for path in found if path.name.startswith(LAST) == alone] for alone in (False, True))
        files = [*_named("wheels", first), *strips, *_named("peers", last)]
        facts = {"commit": revision, "sources": tree_digest(root), "python": python if wheels else None}
        written = write_parts(files, out, limit, facts)
    _checkout(root, out / "kdbench.tar.gz", revision)
    return [out / "kdbench.tar.gz", *written]


def _named(folder: str, wheels: Sequence[Path]) -> list[tuple[str, Path]]:
    return [(f"{folder}/{path.name}", path) for path in wheels]


def _strips(images: Path) -> Iterator[tuple[str, Path]]:
    """Test images first: much can be measured with them alone."""
    found = [path for name in SETS for path in sorted((images / name).glob("*.webp"))]
    if not found:
        raise PartError(f"{images} has no {SETS[0]}/<split>.<class>.<part>.webp: name the folder with --images")
    for path in sorted(found, key=lambda path: (path.name.startswith("train."), path.parent.name, path.name)):
        yield f"images/{path.parent.name}/{path.name}", path


def requirements(root: Path) -> list[str]:
    """Of kdbench, its tests and its benchmarks."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *TOOLS]


def download(wanted: Sequence[str], folder: Path, present: Sequence[str], python: str, machine: str) -> list[Path]:
    """Fetch wheels of what is wanted and not present, and of what that needs.

    In place of what is present pip is shown empty wheels, so that neither that nor its requirements are looked up.
    """
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for minor in GLIBC:
        target += ["--platform", f"manylinux_2_{minor}_{machine}"]
    target += ["--platform", f"manylinux2014_{machine}"]
    alone = [one for one in wanted if one.startswith(LAST)]
    with tempfile.TemporaryDirectory() as empty:
        pins = Path(empty) / "pins.txt"
        pins.write_text("".join(f"{placeholder(Path(empty), name)}\n" for name in present))
        report = _pip("install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-", "--target", str(folder),
                      "--find-links", empty, "--constraint", str(pins), *target,
                      *(one for one in wanted if one not in alone))  # fmt: skip
    chosen = lacking(json.loads(report)["install"])
    _pip("download", "--quiet", "--no-deps", "--dest", str(folder), *target, *chosen, *alone)
    return sorted(folder.glob("*.whl"))


def placeholder(folder: Path, distribution: str) -> str:
    """Write an empty wheel in place of a distribution, ``name`` or ``name==version``; its pin. The version is the one
    that is said, or installed here."""
    name, _, version = distribution.partition("==")
    if not version:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise PartError(f"--has {name} has no version, and none is installed here: say {name}==VERSION") from None
    version = version.partition("+")[0] + HERE
    stem = f"{re.sub('[-_.]+', '_', name).lower()}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        facts = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{stem}.dist-info/METADATA", facts)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return f"{name}=={version}"


def lacking(resolved: Sequence[dict[str, Any]]) -> list[str]:
    """``name==version`` of what pip resolved, the placeholders left out."""
    found = [one["metadata"] for one in resolved]
    return sorted(f"{one['name']}=={one['version']}" for one in found if not one["version"].endswith(HERE))


def _pip(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PartError(f"pip {arguments[0]} failed: {(errors or ['it said nothing'])[0]}")
    return done.stdout


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise PartError(f"{root} is not a git checkout: pack where kdbench is cloned")
    return done.stdout


def _commit(root: Path) -> dict[str, object]:
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    return {"commit": _git(root, "rev-parse", "HEAD").strip(), "dirty": dirty}


def _checkout(root: Path, target: Path, revision: dict[str, object]) -> None:
    """All tracked files as they are, and which commit they are of."""
    with tarfile.open(target, "w:gz") as archive:
        for name in _git(root, "ls-files").splitlines():
            if (root / name).is_file():
                archive.add(root / name, f"kdbench/{name}")
        content = json.dumps(revision).encode()
        member = tarfile.TarInfo(f"kdbench/{COMMIT}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
