"""A study as a graph of nodes on disk: trainings that several runs need, and the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.running.graph import RunGraph
from kdbench.running.options import run_folder
from kdbench.running.plan import Plan
from kdbench.specs import RunSpec, Spec, Suite
from kdbench.studies.study import Request, Study
from kdbench.suites.changes import with_changes


class Node(Spec):
    """One piece of work of a study, found by its digest."""

    key: str
    """``run-<run id>`` or ``training-<digest>``."""
    kind: Literal["training", "run"]
    method: str
    params: dict[str, Any]
    """Of the run that this is, or of one that needs this training; as a user would give them."""
    seed: int
    changes: dict[str, Any] = Field(default_factory=dict)
    """Of the suite, for this run."""
    conditions: tuple[str, ...] | None = None
    """Of the run, where they are not the study's, as for ``tasks``."""
    tasks: tuple[str, ...] | None = None
    condition: str | None
    """Of a training."""
    role: str | None
    """Of a training: ``teacher``, ``student/<role>``, ``student``."""
    path: str
    """Where its result lies, relative to the folder of runs: a record, or a checkpoint."""
    needs: tuple[str, ...] = ()
    """Keys."""
    folders: tuple[str, ...] = ()
    """That its work fills, relative to the folder of runs: its own, and those of trainings that it alone needs."""

    @property
    def title(self) -> str:
        """In words, for a list."""
        given = " ".join(f"{name}={value}" for name, value in {**self.params, **self.changes}.items())
        if self.kind == "run":
            return " ".join(filter(None, (self.method, given, f"seed {self.seed}")))
        own = self.role is not None and self.role.startswith("student")
        of = f" of {self.method} {given} seed {self.seed}".replace("  ", " ") if own else ""
        return f"{self.role} ({self.condition}){of}"


def make_plan(study: Study, suite: Suite, plugins: Plugins, asked: Request | Node) -> Plan:
    """What a run, or a training for one, of a study does; ``suite`` as it is without the changes of a run."""
    return Plan.make(
        with_changes(suite, asked.changes), plugins, asked.method, asked.params,
        study.conditions if asked.conditions is None else asked.conditions,
        study.tasks if asked.tasks is None else asked.tasks,
        study.attacks or None,
    )  # fmt: skip


class StudyPlan(Spec):
    """A study with its nodes, needs first: all that a worker must know."""

    study: Study
    suite: Suite
    """As it was when the study was planned."""
    nodes: tuple[Node, ...]

    def node(self, key: str) -> Node:
        """The node of that key."""
        found = next((node for node in self.nodes if node.key == key), None)
        if found is None:
            raise KdbenchError(f"study '{self.study.name}' has no node '{key}'", "run `kdbench sweep` again")
        return found


class Planner:
    """Expands a study. Nothing is trained."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._users: Counter[str] = Counter()

    def nodes(self) -> tuple[Node, ...]:
        """Each run once, and each training that more than one run needs. What one run needs alone is its own work."""
        kept = {key for key, node in self._nodes.items() if node.kind == "run" or self._users[key] > 1}
        return tuple(
            node.model_copy(
                update={
                    "needs": tuple(need for need in node.needs if need in kept),
                    "folders": tuple(dict.fromkeys(self._folders(node, kept))),
                }
            )
            for key, node in self._nodes.items()
            if key in kept
        )

    def _folders(self, node: Node, kept: Collection[str]) -> Iterator[str]:
        yield Path(node.path).parent.as_posix()
        for need in node.needs:
            if need not in kept:
                yield from self._folders(self._nodes[need], kept)

    def add(self, request: Request, spec: RunSpec, graph: RunGraph) -> None:
        """One run, with the graph of its suite."""
        key = f"run-{spec.run_id}"
        if key in self._nodes:
            return
        trainings = [
            self._training(request, graph, digest, *where.split("/", 1)) for where, digest in spec.trainings.items()
        ]
        self._users.update(set(trainings))
        own = request._replace(conditions=tuple(spec.params))
        self._nodes[key] = self._node(key, "run", own, None, None, run_folder(spec, Path()) / "record.json", trainings)

    def _training(self, request: Request, graph: RunGraph, digest: str, condition: str, role: str) -> str:
        """Its key; it and all that it needs are nodes."""
        key = f"training-{digest}"
        if key not in self._nodes:
            lineage = graph.planned(digest)
            needs = [
                self._training(
                    request, graph, needed.training.digest(), condition, needed.suite_role or f"{role}/{below}"
                )
                for below, needed in lineage.needs.items()
            ]
            path = graph.checkpoint(lineage.training).relative_to(graph.options.out)
            self._nodes[key] = self._node(key, "training", request, condition, role, path, needs)
        return key

    def _node(
        self, key: str, kind: Any, request: Request, condition: str | None, role: str | None, path: Path,
        needs: Iterable[str],
    ) -> Node:  # fmt: skip
        return Node(
            key=key, kind=kind, method=request.method, params=request.params, seed=request.seed,
            changes=request.changes, conditions=request.conditions, tasks=request.tasks, condition=condition, role=role,
            path=path.as_posix(),
            needs=tuple(dict.fromkeys(needs)),
        )  # fmt: skip
