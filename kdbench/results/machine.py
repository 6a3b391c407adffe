"""What may give one specification other results: the machine, its threads and the versions that computed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from kdbench.results.record import Provenance, TrainedNetwork

SHOWN = 40
"""Characters of a value that are shown."""


def machine(made: Provenance, networks: Iterable[TrainedNetwork] = ()) -> dict[str, str]:
    """What is known of it, by name. Another processor or number of threads sums in another order, and training makes
    other weights of that.

    Args:
        made: where the scores were measured.
        networks: those that were measured; they may have been trained with another number of threads.
    """
    trained = sorted({threads for network in networks for threads in network.threads})
    facts = {
        "device": made.device,
        "machine": made.device_name,
        "threads": made.threads,
        "interop threads": made.interop_threads,
        "threads of training": ", ".join(map(str, trained)) or None,
        "Python": made.python,
        "torch": made.torch,
        "torchvision": made.torchvision,
        "numpy": made.numpy,
        "CUDA": made.cuda,
        # A commit says nothing of a changed checkout, and a hash was not always kept.
        "kdbench": made.kdbench_sha256 or made.kdbench_commit or made.kdbench_version,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """In words, where both are known: "threads 2, not 1"."""
    return [
        f"{name} {value[:SHOWN]}, not {ours[name][:SHOWN]}"
        for name, value in theirs.items()
        if name in ours and ours[name] != value
    ]


def other_bits(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Why one specification may give other bits on them, in words; [] where it must give the same: on one machine's
    processor. Kernels of an accelerator may add in another order at each call."""
    device = ours.get("device")
    return differences(ours, theirs) or ([] if device == "cpu" else [f"device {device}, which may add in any order"])


def processor() -> str:
    """Model name of the processor, as the operating system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware() -> dict[str, str]:
    """What tells one machine from another without torch: system, processors and GPUs with their driver."""
    system = platform.uname()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = [path.name for kind in ("nvidia*", "kfd", "dxg", "accel*", "dri") for path in Path("/dev").glob(kind)]
    return {
        "system": f"{system.system} {system.release} {system.version} {system.machine}",
        "processor": f"{processor()}, {cores} of {os.cpu_count()}",
        "devices": " ".join(sorted(devices)),
        "driver": "".join(_said(path) for path in _driver_files()),
    }


def _driver_files() -> list[Path]:
    driver = Path("/proc/driver/nvidia")
    return [driver / "version", *sorted(driver.glob("gpus/*/information"))]


def _said(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
