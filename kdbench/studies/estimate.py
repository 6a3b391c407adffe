"""How long a node will take, from records of the same suite: an estimate where there is one, nothing where not."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kdbench.results.record import Record, TrainedNetwork
from kdbench.results.store import read_records
from kdbench.specs import Suite
from kdbench.studies.nodes import Node


class Estimate:
    """Wall seconds of earlier trainings and measurements: medians over the records of a suite's version."""

    def __init__(self, records: Iterable[Record], suite: Suite) -> None:
        seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.n = 0
        for record in records:
            if (record.spec.suite.name, record.spec.suite.version) != (suite.name, suite.version):
                continue
            self.n += 1
            changed = record.spec.suite.changed
            for name, network in networks(record).items():
                seen[network_key(changed, name, record.spec.method)].append(network.seconds)
            for phase, seconds in record.provenance.seconds.items():
                if phase.startswith("evaluate/"):
                    _, condition, task = phase.split("/", 2)
                    seen["task", _key(changed), condition, task].append(seconds)
        self._medians = {key: statistics.median(values) for key, values in seen.items()}

    @classmethod
    def of_folder(cls, out: Path, suite: Suite) -> Estimate:
        """From the records of a suite in a folder of runs."""
        folder = out / suite.name
        found = read_records(folder)[0] if folder.is_dir() else ()
        return cls([one.record for one in found], suite)

    def network(self, changes: Mapping[str, Any], name: str, method: str) -> float | None:
        """Of a training by its condition and network, as ``clean/teacher`` or ``clean/student``; ``method`` trains the
        student that it is for."""
        return self._medians.get(network_key(changes, name, method))

    def task(self, changes: Mapping[str, Any], condition: str, task: str) -> float | None:
        """Of one measurement."""
        return self._medians.get(("task", _key(changes), condition, task))

    def seconds(self, node: Node, conditions: Iterable[str]) -> float | None:
        """Of one node with ``conditions`` of the suite, unless it has its own; None where no earlier record has it."""
        changes = _key(node.changes)
        if node.kind == "training":
            return self.network(node.changes, f"{node.condition}/{node.role}", node.method)
        total = 0.0
        for condition in conditions if node.conditions is None else node.conditions:
            student = self.network(node.changes, f"{condition}/student", node.method)
            if student is None:
                return None
            total += student + sum(
                seconds
                for key, seconds in self._medians.items()
                if key[:3] == ("task", changes, condition) and (node.tasks is None or key[3] in node.tasks)
            )
        return total


def networks(record: Record) -> dict[str, TrainedNetwork]:
    """All that a record's run needed, by condition and network, as ``clean/teacher`` or ``clean/student``."""
    students = {f"{condition}/student": student for condition, student in record.hashes.students.items()}
    return {**students, **record.hashes.networks}


def network_key(changes: Mapping[str, Any], name: str, method: str) -> tuple[str, ...]:
    """What finds a network of a suite: a student, and what a method has trained for itself, is of that method; the
    suite's own are the same for all."""
    return ("network", _key(changes), name, method if "/student/" in f"{name}/" else "")


def _key(changes: Mapping[str, Any]) -> str:
    return json.dumps(dict(changes), sort_keys=True)
