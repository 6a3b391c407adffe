"""Where, when and with what a record was made."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import json
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
import torch

from kdbench import devices
from kdbench.results.machine import processor
from kdbench.results.record import Provenance, distributions_sha256
from kdbench.running.isolated.state import Process
from kdbench.running.package import BUILT, ROOT, package_sha256


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def commit() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout that kdbench runs from, or that an installed copy was built from;
    (None, None) where neither is known."""
    top = _git("rev-parse", "--show-toplevel")
    if top is not None and Path(top).resolve() == ROOT:
        status = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "HEAD"), None if status is None else bool(status)
    if not BUILT.is_file():
        return None, None
    built = json.loads(BUILT.read_text(encoding="utf-8"))
    return built["commit"], built["dirty"]


@functools.cache
def distributions() -> dict[str, str]:
    """Every installed distribution and its version, sorted by name: what ``pip freeze`` lists."""
    found = {one.name: one.version for one in importlib.metadata.distributions() if one.name}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def command(argv: Sequence[str]) -> list[str]:
    """kdbench's command line as it may be published, [] for another program's.

    >>> command(["/usr/bin/kdbench", "run", "--data-dir", "/home/me/images", "--set=alpha=0.5"])
    ['kdbench', 'run', '--data-dir', '.../images', '--set=alpha=0.5']
    """
    program = Path(argv[0]) if argv else Path()
    if program.name != "kdbench" and program != ROOT / "kdbench/__main__.py":
        return []
    return ["kdbench", *(_publishable(word) for word in argv[1:])]


def _publishable(word: str) -> str:
    """Without who is at work where: of an absolute path the last part; of an address no user, password, query or
    fragment."""
    if "://" in word:
        return re.sub(r"[?#].*", "", re.sub(r"://[^/@]*@", "://", word))
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}.../{Path(value).name}" if value.startswith(("/", "~")) else word


def device_name(device: torch.device) -> str:
    """Model of the accelerator, or of the processor where that computes, or the accelerator has no name."""
    return (None if device.type == "cpu" else devices.device_name(device)) or processor()


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _largest(*values: int | None) -> int | None:
    """The largest that is known, None where none is."""
    return max((value for value in values if value is not None), default=None)


def collect(
    *,
    plugins: Mapping[str, str],
    device: torch.device,
    started: str,
    seconds: Mapping[str, float],
    smaller_batches: Mapping[str, int | None] | None = None,
) -> Provenance:
    """The provenance of a run that ends now, with what processes took that it had for its trainings."""
    spent, device_memory = Process.spent, devices.peak_memory(device)
    revision, dirty = commit()
    return Provenance(
        kdbench_version=importlib.metadata.version("kdbench"),
        kdbench_commit=revision,
        kdbench_dirty=dirty,
        kdbench_sha256=package_sha256(),
        plugins=dict(plugins),
        distributions=distributions(),
        distributions_sha256=distributions_sha256(distributions()),
        command=command(sys.argv),
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=importlib.metadata.version("torchvision"),
        numpy=numpy.__version__,
        cuda=torch.version.cuda if device.type == "cuda" else None,
        device=device.type,
        device_name=device_name(device),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        platform=platform.platform(),
        started=started,
        finished=utc_now(),
        seconds={phase: round(duration, 3) for phase, duration in seconds.items()},
        cpu_seconds=round(time.process_time() + spent.cpu_seconds, 1),
        peak_memory_bytes=max(peak_memory_bytes(), spent.memory_bytes),
        smaller_batches={name: size for name, size in (smaller_batches or {}).items() if size is not None},
        peak_device_memory_bytes=_largest(device_memory, spent.device_memory_bytes),
    )
