"""Side-by-side timing: one fixture measures ours against a peer in one process and files the ratio.

`tox -e bench` runs everything here, adds the results to tools/data/benchmarks.json, and rewrites docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from kdbench.running.provenance import device_name

RESULTS = Path(__file__).parents[2] / "tools/data/benchmarks.json"
THREADS = torch.get_num_threads()  # before the tests' own conftest sets one
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
]


@pytest.fixture(scope="session", autouse=True)
def _all_threads(_one_thread_and_a_private_cache: None) -> None:
    """Speed is measured with the whole machine."""
    torch.set_num_threads(THREADS)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device there is."""
    return torch.device(request.param)


@pytest.fixture
def data_dir() -> Path:
    """Where the real images lie."""
    found = os.environ.get("KDBENCH_DATA_DIR")
    if not found:
        pytest.skip("KDBENCH_DATA_DIR is not set: no real images to measure on")
    return Path(found)


@pytest.fixture
def side_by_side(benchmark: BenchmarkFixture, results: dict[str, Any]) -> Callable[..., float]:
    """Time ``ours`` and ``peer`` in turn, ``rounds`` times, after one warm-up of each; returns the median ratio.

    The ratio of a round is the peer's time over ours: above 1 we are faster. ``per`` is the share of the peer's work
    that ours is compared with, for a peer too slow to be run on all of it: its time is multiplied by ``1 / per``.
    """

    def compare(
        work: str,
        ours: Callable[[], object],
        peer: Callable[[], object],
        *,
        peer_name: str,
        n: int,
        reach: str,
        device: torch.device,
        unit: str = "images",
        rounds: int = 3,
        per: float = 1.0,
        warm_up: bool = True,
        facts: dict[str, float | int | str] | None = None,
    ) -> float:
        synchronise = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
        peer_seconds: list[float] = []
        our_seconds: list[float] = []

        def time_peer() -> None:
            peer_seconds.append(timed(peer, synchronise) / per)

        def timed_ours() -> None:
            our_seconds.append(timed(ours, synchronise))

        if warm_up:
            ours()
            peer()
        benchmark.pedantic(timed_ours, setup=time_peer, rounds=rounds, iterations=1)
        ratios = [theirs / mine for theirs, mine in zip(peer_seconds, our_seconds, strict=True)]
        ratio = statistics.median(ratios)
        row = {
            "work": work, "peer": peer_name, "n": n, "unit": unit, "rounds": rounds, "reach": reach,
            "ratio": round(ratio, 3), "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3),
            "our_seconds": round(statistics.median(our_seconds), 4),
            "peer_seconds": round(statistics.median(peer_seconds), 4),
            "facts": facts or {}, **machine(device),
        }  # fmt: skip
        results.setdefault("ratios", {})[f"{work} [{device.type}]"] = row
        benchmark.extra_info.update(row)
        print(
            f"\n{work}: {ratio:.2f}x ({min(ratios):.2f}-{max(ratios):.2f}) against {peer_name}, n = {n} {unit}, "
            f"{rounds} rounds, {row['device_name']}, {row['threads']} threads; wanted {reach} {row['facts']}"
        )
        return ratio

    return compare


def timed(work: Callable[[], object], synchronise: Callable[[], object] = lambda: None) -> float:
    """Seconds of wall time of one call, the device's queue included."""
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def machine(device: torch.device) -> dict[str, str | int]:
    """What a number was measured on."""
    return {
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


@pytest.fixture(scope="session")
def results() -> Iterator[dict[str, Any]]:
    """Sections of named rows; what this session measured replaces the rows of the same names in the file."""
    measured: dict[str, Any] = {}
    yield measured
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for section, rows in measured.items():
        kept[section] = dict(sorted({**kept.get(section, {}), **rows}.items()))
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
