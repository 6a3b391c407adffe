"""What travels to a machine without network: the checkout, wheels and images, in parts of limited size."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.campaign.parts import PartError, tree_digest, write_parts

TOOLS = (
    "pytest", "pytest-benchmark", "torchattacks>=3.5.1", "opencv-python-headless", "scikit-image",
    "imagecorruptions==1.1.2",
)  # fmt: skip
"""What tests and benchmarks need beside kdbench's own requirements."""
ALONE = ("imagecorruptions",)
"""Distributions of which the photographs alone are read: what they depend on does not travel."""
GLIBC = (17, 24, 27, 28, 31, 34, 35)
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
        present: distributions that the machine has, with all that they need: no wheels of them.
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
        files = [*((f"wheels/{path.name}", path) for path in sorted(found)), *strips]
        facts = {"commit": revision, "sources": tree_digest(root), "python": python if wheels else None}
        written = write_parts(files, out, limit, facts)
    _checkout(root, out / "kdbench.tar.gz", revision)
    return [out / "kdbench.tar.gz", *written]


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
    """Fetch wheels of what is wanted and not present, and of what that needs."""
    target = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for minor in GLIBC:
        target += ["--platform", f"manylinux_2_{minor}_{machine}"]
    target += ["--platform", f"manylinux2014_{machine}"]
    alone = [one for one in wanted if one.startswith(ALONE)]
    report = _pip("install", "--dry-run", "--quiet", "--ignore-installed", "--report", "-", "--target", str(folder),
                  *target, *(one for one in wanted if one not in alone))  # fmt: skip
    chosen = needed(json.loads(report)["install"], present, python)
    _pip("download", "--quiet", "--no-deps", "--dest", str(folder), *target, *chosen, *alone)
    return sorted(folder.glob("*.whl"))


def needed(resolved: Sequence[dict[str, object]], present: Sequence[str], python: str) -> list[str]:
    """``name==version`` of what pip resolved, without what is present and what that alone asks for."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    facts: dict[str, dict[str, object]] = {}
    for one in resolved:
        metadata: dict[str, object] = one["metadata"]  # type: ignore[assignment]  # pip's report is JSON
        facts[canonicalize_name(str(metadata["name"]))] = {**metadata, "requested": one.get("requested")}
    there = {canonicalize_name(name) for name in present}
    environment = {"extra": "", "python_version": python, "sys_platform": "linux", "platform_system": "Linux"}
    queue = [name for name, metadata in facts.items() if metadata["requested"]]
    found: dict[str, str] = {}
    while queue:
        name = queue.pop()
        if name in there or name in found or name not in facts:
            continue
        found[name] = f"{name}=={facts[name]['version']}"
        listed: list[str] = facts[name].get("requires_dist") or []  # type: ignore[assignment]  # as above
        for requirement in map(Requirement, listed):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                queue.append(canonicalize_name(requirement.name))
    return sorted(found.values())


def _pip(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise PartError(f"pip {arguments[0]} failed: {last}")
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
