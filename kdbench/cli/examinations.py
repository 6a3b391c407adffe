"""What is examined of an installation: each function looks at one thing, and says what was found and how to fix it.

A function yields its findings and may raise: ``kdbench.cli.doctor`` turns that into a finding.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from kdbench.data import DataPlace, DataStatus

Status = Literal["ok", "warn", "broken"]

ENOUGH_DISK = 5.0
"""GiB: the largest image sets with their decoded copies, and a few checkpoints."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was examined.

    Attributes:
        name: what was examined.
        status: ``ok``; ``warn``: works, but not as it could, or not for everything; ``broken``: needs a fix.
        found: what is there.
        expected: what should be there.
        fix: the command or step that fixes it; empty for ``ok``.
    """

    name: str
    status: Status
    found: str
    expected: str
    fix: str = ""


def python() -> Iterable[Diagnosis]:
    required = str(_installed("kdbench").metadata["Requires-Python"])
    yield _versioned("python", platform.python_version(), required, f"install Python {required}")


def dependencies() -> Iterable[Diagnosis]:
    """Every core dependency of kdbench, and two requirements of its dependencies that are easily violated."""
    for requirement in _core_requirements(_installed("kdbench")):
        yield _dependency(requirement)
    for owner, other in (("torchvision", "torch"), ("torchattacks", "requests")):
        with contextlib.suppress(KdbenchError):  # an owner that is missing was reported above
            for requirement in _core_requirements(_installed(owner)):
                if requirement.name == other:
                    yield _pin(owner, requirement)


def _installed(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise KdbenchError(
            f"the distribution '{name}' is not installed, so that its requirements are unknown",
            f"`pip install {name}`, or `pip install --editable .` in a checkout of it",
        ) from None


def _core_requirements(distribution: importlib.metadata.Distribution) -> list[Requirement]:
    """Those without a marker that fails here, so none of the extras."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in distribution.requires or []]
    return [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]


def extras() -> Iterable[Diagnosis]:
    """What each extra of kdbench brings: what is not installed is named with its command, and nothing is wrong."""
    from kdbench import packages

    named = set()
    for extra, brought in _extras(_installed("kdbench")):
        for requirement in brought:
            if requirement.name in named:  # by a smaller extra
                continue
            named.add(requirement.name)
            name, specifier = f"kdbench[{extra}]: {requirement.name}", str(requirement.specifier)
            version = _version(requirement.name)
            if version is None:
                found = f"not installed; {packages.extra(extra)} brings it"
                yield Diagnosis(name, "ok", found, specifier or "any version")
            else:
                examined = _versioned(name, version, specifier, packages.extra(extra))
                yield replace(examined, status="warn") if examined.fix else examined


def _extras(distribution: importlib.metadata.Distribution) -> list[tuple[str, list[Requirement]]]:
    """Each extra and what it brings, those that bring least first."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in distribution.requires or []]
    optional = [one for one in wanted if one.marker is not None and not one.marker.evaluate({"extra": ""})]
    names = distribution.metadata.get_all("Provides-Extra") or []
    brought = {
        name: [one for one in optional if one.marker is not None and one.marker.evaluate({"extra": name})]
        for name in sorted(names)
    }
    return sorted(brought.items(), key=lambda extra: len(extra[1]))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _dependency(requirement: Requirement) -> Diagnosis:
    specifier, version = str(requirement.specifier), _version(requirement.name)
    command = f"`pip install '{requirement.name}{specifier}'`"
    if version is None:
        return Diagnosis(requirement.name, "broken", "not installed", specifier or "any version", command)
    return _versioned(requirement.name, version, specifier, command)


def _pin(owner: str, requirement: Requirement) -> Diagnosis:
    """A requirement of ``owner`` on a distribution that something else may have moved."""
    name, wanted, version = f"{owner} with {requirement.name}", str(requirement.specifier), _version(requirement.name)
    if version is not None and requirement.specifier.contains(version, prereleases=True):
        return Diagnosis(name, "ok", version, wanted)
    if requirement.name == "torch":
        fix = "`pip install --upgrade torch torchvision`, both from one index in one command"
        return Diagnosis(name, "broken", version or "not installed", wanted, fix)
    fix = f"attacks work without it; `pip install '{requirement.name}{wanted}'` satisfies pip"
    return Diagnosis(name, "warn", version or "not installed", wanted, fix)


def _versioned(name: str, version: str, specifier: str, fix: str) -> Diagnosis:
    from packaging.specifiers import SpecifierSet

    fits = SpecifierSet(specifier).contains(version, prereleases=True)
    return Diagnosis(name, "ok" if fits else "broken", version, specifier or "any version", "" if fits else fix)


def torchvision() -> Iterable[Diagnosis]:
    """Compiled operators load only beside the torch build that they were made for."""
    import torch

    torchvision = importlib.import_module("torchvision")
    versions = [torch.__version__, torchvision.__version__]
    found = "torch {}, torchvision {}".format(*versions)
    fix = "`pip install --force-reinstall torch torchvision`, both from one index in one command"
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
    try:
        works = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]
    except (RuntimeError, NotImplementedError) as error:
        works, found = False, f"{found}: {str(error).splitlines()[0]}"
    builds = {version.partition("+")[2] for version in versions if "+" in version}
    status: Status = "broken" if not works else "warn" if len(builds) > 1 else "ok"
    yield Diagnosis("torchvision operators", status, found, "one build, and nms runs", "" if status == "ok" else fix)


def device() -> Iterable[Diagnosis]:
    """Every device that torch sees, with its memory; a GPU that torch does not see is a warning."""
    import torch

    from kdbench import devices

    there = devices.available_devices()
    for one in there[:-1]:
        memory = devices.memory(one)
        size = "memory unknown" if memory is None else f"{memory[1] / 2**30:.1f} GiB, {memory[0] / 2**30:.1f} free"
        yield Diagnosis(f"device {one}", "ok", f"{devices.device_name(one) or one.type}, {size}", "an accelerator")
    processor = f"CPU ({platform.machine()})"
    if len(there) == 1 and shutil.which("nvidia-smi") is not None:
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
        yield Diagnosis("device", "warn", f"no GPU usable by torch ({build} build)", "the GPU that nvidia-smi suggests",
                        "match the driver and the torch build: https://pytorch.org/get-started/locally")  # fmt: skip
    else:
        found = (
            f"{processor}, no accelerator" if len(there) == 1 else f"{there[0]} by --device auto, beside {processor}"
        )
        yield Diagnosis("device", "ok", found, "any")


def bfloat16() -> Iterable[Diagnosis]:
    from kdbench.devices import available_devices, computes_bfloat16

    device = available_devices()[0]
    native = computes_bfloat16(device)
    found = f"native on {device.type}" if native else f"emulated on {device.type}: precision auto means float32"
    yield Diagnosis("bfloat16", "ok", found, "native or emulated")


def agreement() -> Iterable[Diagnosis]:
    """A small attack and two corruptions on the CPU and on the device of ``--device auto``."""
    from kdbench.cli import self_test
    from kdbench.devices import CPU, available_devices

    device = available_devices()[0]
    if device == CPU:
        yield Diagnosis("agreement", "ok", "no accelerator to compare with the CPU", "the CPU's results")
        return
    found = self_test.compare(device)
    fix = "" if found.agrees else "update the driver and torch, or use --device cpu; then report it to kdbench"
    yield Diagnosis(f"agreement of {device}", "ok" if found.agrees else "broken", str(found), self_test.EXPECTED, fix)


def threads() -> Iterable[Diagnosis]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    found = f"{threads} threads on {cores} cores"
    if threads > cores:
        yield Diagnosis("threads", "warn", found, f"at most {cores}", f"`export OMP_NUM_THREADS={cores}`")
    else:
        yield Diagnosis("threads", "ok", found, f"at most {cores}")


def torchattacks() -> Iterable[Diagnosis]:
    from kdbench.attacks.libraries import installation

    if _version("torchattacks") is None:  # an extra; so is robustbench
        return
    installation.torchattacks()
    yield Diagnosis("torchattacks module", "ok", importlib.metadata.version("torchattacks"), "importable")


def autoattack() -> Iterable[Diagnosis]:
    from kdbench.attacks.libraries import installation

    yield Diagnosis(
        "autoattack module", "ok", f"class in {installation.autoattack().AutoAttack.__module__}", "importable"
    )


def robustbench() -> Iterable[Diagnosis]:
    from kdbench.attacks.libraries import installation

    if _version("robustbench") is None:
        return
    files = installation.robustbench_files()
    if not files.altered:
        installation.robustbench()
        yield Diagnosis("robustbench module", "ok", f"{files.version}, importable", "its own files, importable")
        return
    found = f"{len(files.altered)} of its files replaced"
    if files.from_torchattacks:
        found += f", {len(files.from_torchattacks)} of them by torchattacks' old copy"
    yield Diagnosis(
        "robustbench module", "broken", found, f"the files of robustbench {files.version}", f"`{files.fix}`"
    )


def _place(data_place: DataPlace | str | os.PathLike[str] | None) -> DataPlace:
    from kdbench.data import DataPlace

    if isinstance(data_place, DataPlace):
        return data_place
    return DataPlace.default(Path(data_place) if data_place else None)


def cache(data_place: DataPlace | str | os.PathLike[str] | None) -> Iterable[Diagnosis]:
    folder = _place(data_place).cache_dir
    elsewhere = "point KDBENCH_CACHE_DIR at a folder that can be written"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield Diagnosis("cache", "broken", f"{folder}: {error.strerror}", "a folder that can be written", elsewhere)
        return
    yield Diagnosis("cache", "ok", str(folder), "a folder that can be written")
    free = shutil.disk_usage(existing).free / 2**30
    enough = free >= ENOUGH_DISK
    yield Diagnosis("disk", "ok" if enough else "warn", f"{free:.1f} GiB free", f"{ENOUGH_DISK:g} GiB",
                "" if enough else f"free some space, or {elsewhere}")  # fmt: skip


def plugins() -> Iterable[Diagnosis]:
    from kdbench.plugin.loader import load_plugins

    plugins = load_plugins()
    for failure in plugins.failures:
        yield Diagnosis(f"plugin {failure.plugin}", "broken", f"{failure.origin}: {failure.error}", "loads",
                    "fix or uninstall that distribution; everything else works")  # fmt: skip
    own = bool(plugins.loaded)
    yield Diagnosis("plugins", "ok" if own else "broken", f"{len(plugins.loaded)} loaded", "at least kdbench's own",
                "" if own else "`pip install --force-reinstall --no-deps kdbench`")  # fmt: skip


def datasets(data_place: DataPlace | str | os.PathLike[str] | None) -> Iterable[Diagnosis]:
    from kdbench.corruptions import published_status
    from kdbench.data import data_status
    from kdbench.noise import labels_status
    from kdbench.plugin.loader import load_plugins

    place, plugins = _place(data_place), load_plugins()
    for name in plugins.datasets:
        status = data_status(plugins.datasets.get(name), place)
        yield _available(f"dataset {name}", status, "warn", "available, when a suite needs it")
    for noise in map(plugins.label_noises.get, plugins.label_noises):
        if noise.fetch is not None:
            status = labels_status(noise, place)
            yield _available(f"labels {noise.name}", status, "warn", "available, when a suite needs it")
    for name, status in published_status(place.data_dir).items():
        yield _available(f"corruptions {name}", status, "ok", "the published arrays, or none of them")


def _available(name: str, status: DataStatus, absent: Status, expected: str) -> Diagnosis:
    """``absent`` is the status of data that are nowhere; those that are there and not whole are broken."""
    if status.state == "available":
        return Diagnosis(name, "ok", status.found, "available")
    return Diagnosis(name, absent if status.state == "missing" else "broken", status.found, expected, status.fix)
