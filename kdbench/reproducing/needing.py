"""What a reproduction takes at each of its scales: suites, runs, and hours as far as earlier records say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdbench.reproducing.gathering import read_folders
from kdbench.reproducing.planning import Wish, wishes
from kdbench.reproducing.reproduction import SCALES, Reproduction, Scale
from kdbench.results.record import Record
from kdbench.studies.estimate import Estimate
from kdbench.studies.nodes import Node
from kdbench.suites import load_suite


@dataclasses.dataclass(frozen=True)
class Needed:
    """At one scale."""

    scale: Scale
    suites: tuple[str, ...]
    runs: int
    """Students of all seeds, and networks that are rows of their own."""
    cpu_seconds: float | None
    """Of one core, for students and their measurements; None where no record has one of the runs."""
    gpu_seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


class Times:
    """How long runs took, from the records of folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._records = [run.record for run in read_folders(folders)]
        self._made: dict[tuple[str, bool], Estimate] = {}

    def seconds(self, wish: Wish, conditions: Sequence[str], tasks: Sequence[str], *, cpu: bool) -> float | None:
        """Of one run, on one core (records of one thread) or on a GPU."""
        key = wish.base, cpu
        if key not in self._made:
            self._made[key] = Estimate(filter(_on_a_core if cpu else _on_a_gpu, self._records), load_suite(wish.base))
        node = Node(
            key="", kind="run", method=wish.method, params=dict(wish.params), seed=0, changes=dict(wish.changes),
            conditions=tuple(conditions), tasks=tuple(tasks), condition=None, role=None, path="",
        )  # fmt: skip
        return self._made[key].seconds(node, conditions)


def _on_a_core(record: Record) -> bool:
    return record.provenance.device == "cpu" and record.provenance.threads == 1


def _on_a_gpu(record: Record) -> bool:
    return record.provenance.device != "cpu"


def needed(reproduction: Reproduction, times: Times) -> list[Needed]:
    """Of every scale that it has, the largest first."""
    found = []
    for scale in SCALES:
        if scale not in reproduction.scales:
            continue
        seeds = reproduction.scales[scale].seeds
        runs: dict[str, list[Wish]] = {}
        for wish in wishes(reproduction, scale):
            runs.setdefault(wish.key, []).append(wish)
        each = [(same, len(same[0].seeds(seeds))) for same in runs.values()]
        found.append(
            Needed(
                scale,
                tuple(dict.fromkeys(same[0].base for same in runs.values())),
                sum(count for _, count in each),
                _total(each, times, cpu=True),
                _total(each, times, cpu=False),
            )
        )
    return found


def _total(each: Sequence[tuple[Sequence[Wish], int]], times: Times, *, cpu: bool) -> float | None:
    total = 0.0
    for same, count in each:
        conditions = list(dict.fromkeys(wish.condition for wish in same))
        tasks = list(dict.fromkeys(wish.cell.task for wish in same))
        seconds = times.seconds(same[0], conditions, tasks, cpu=cpu)
        if seconds is None:
            return None
        total += count * seconds
    return total
