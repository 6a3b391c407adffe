"""How many nodes share a GPU: by what is free of its memory, and the most that earlier records of the suite took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kdbench.results.record import Record
from kdbench.results.store import read_records
from kdbench.specs import Suite
from kdbench.studies.estimate import network_key, networks
from kdbench.studies.nodes import Node, StudyPlan

OWN: Final = 2**30
"""Bytes of a process on a GPU beside its tensors: CUDA's context, code and work spaces of its libraries."""
MARGIN: Final = 1.5
"""What a process holds of the memory is more than its tensors took at once: torch keeps blocks of many sizes."""
USED: Final = 0.9
"""Of what is free: others may begin to compute."""


def fitting(free: int, peak: int) -> int:
    """How many nodes that take ``peak`` bytes at most fit into ``free`` bytes; at least 1.

    >>> fitting(80 * 2**30, 2 * 2**30), fitting(2**30, 2 * 2**30)
    (18, 1)
    """
    return max(1, int(USED * free // (MARGIN * peak + OWN)))


class Peaks:
    """Most bytes that tensors took on an accelerator in earlier runs of a version of a suite, by what was trained."""

    def __init__(self, records: Iterable[Record], suite: Suite, device: str) -> None:
        """``device``: its type, as torch names it."""
        self._bytes: dict[tuple[str, ...], int] = defaultdict(int)
        wanted = (suite.name, suite.version, device)
        for record in records:
            spec, made = record.spec, record.provenance
            peak = made.peak_device_memory_bytes
            if peak is None or (spec.suite.name, spec.suite.version, made.device) != wanted:
                continue
            for name, network in networks(record).items():
                if made.seconds.get(f"train/{name}", 0.0) >= network.seconds:  # it was not found, nor gone on with
                    key = network_key(spec.suite.changed, name, spec.method)
                    self._bytes[key] = max(self._bytes[key], peak)

    @classmethod
    def of_folder(cls, out: Path, suite: Suite, device: str) -> Peaks:
        """From the records of a suite in a folder of runs."""
        folder = out / suite.name
        found = read_records(folder)[0] if folder.is_dir() else ()
        return cls((one.record for one in found), suite, device)

    def most(self, plan: StudyPlan, nodes: Iterable[Node]) -> int | None:
        """The most bytes that one of these nodes takes; None where no earlier record says it of one of them."""
        everywhere = plan.study.conditions or tuple(plan.suite.conditions)
        names = {key for node in nodes for key in _trained(node, everywhere)}
        found = [self._bytes.get(name) for name in names]
        known = [one for one in found if one is not None]
        return max(known, default=None) if len(known) == len(found) else None


def _trained(node: Node, conditions: Iterable[str]) -> set[tuple[str, ...]]:
    own = conditions if node.conditions is None else node.conditions
    names = [f"{node.condition}/{node.role}"] if node.kind == "training" else [f"{one}/student" for one in own]
    return {network_key(node.changes, name, node.method) for name in names}
