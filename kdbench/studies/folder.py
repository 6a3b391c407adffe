"""The folder of a study, which is the truth about it: its plan, and of each node whether it is done, failed or open."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from kdbench.errors import KdbenchError
from kdbench.files import write_atomically, writing
from kdbench.locks import is_locked, owned
from kdbench.specs import Spec, first_problem
from kdbench.studies.nodes import Node, StudyPlan

STUDIES: Final = "studies"
"""Folder of the studies, in the folder of runs."""
State = Literal["open", "done", "failed"]


class Failure(Spec):
    """Why a node failed."""

    key: str
    error: str
    """One line."""
    at: str
    """UTC, ISO 8601."""


class StudyFolder:
    """``<out>/studies/<name>``: ``plan.json``, ``failed/<key>.json``, ``logs/<key>.txt``."""

    def __init__(self, out: Path, name: str) -> None:
        self.out, self.name = out, name
        self.path = out / STUDIES / name

    def plan(self) -> StudyPlan:
        """The plan that the last ``sweep`` wrote.

        Raises:
            KdbenchError: there is none, or it is of another version.
        """
        file = self.path / "plan.json"
        try:
            return StudyPlan.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = sorted(path.parent.name for path in self.path.parent.glob("*/plan.json"))
            hint = f"there are: {', '.join(known[:12])}" if known else "name the folder of runs with --out"
            raise KdbenchError(f"no study '{self.name}' in {self.out}", hint) from None
        except ValidationError as error:
            raise KdbenchError(
                f"{file}: {first_problem(error)}", "run `kdbench sweep` again: results are kept"
            ) from None

    def write(self, plan: StudyPlan) -> None:
        """Keep a plan.

        Raises:
            KdbenchError: the folder is of a study of another suite.
        """
        file = self.path / "plan.json"
        if file.exists():
            there = json.loads(file.read_text(encoding="utf-8")).get("suite", {}).get("name")
            if there != plan.suite.name:
                raise KdbenchError(
                    f"{self.path} belongs to a study of suite '{there}', not '{plan.suite.name}'",
                    "give this study another name",
                )
        write_atomically(file, plan.model_dump_json(indent=1).encode())

    def state(self, node: Node) -> State:
        """Whether a node's result is there."""
        return self._state(node, {node.key} if self._failure(node.key).exists() else ())

    def states(self, nodes: Sequence[Node]) -> dict[str, State]:
        """Of each node by key. A training that only finished runs need is done, though its checkpoint was deleted."""
        failed = {name.removesuffix(".json") for name in _names(self._failures)}
        states = {node.key: self._state(node, failed) for node in nodes}
        wanted = {need for node in nodes if node.kind == "run" and states[node.key] != "done" for need in node.needs}
        for node in reversed(nodes):  # needs come first
            if node.key in wanted:
                wanted.update(node.needs)
            elif node.kind == "training":
                states[node.key] = "done"
        return states

    def _state(self, node: Node, failed: Collection[str]) -> State:
        result = f"{self.out}/{node.path}"  # a hundred thousand of them: faster than a Path
        there = os.path.exists(result)
        if there and (node.kind == "training" or _finished(result)):
            return "done"
        return "failed" if there or node.key in failed else "open"

    def error(self, node: Node) -> str:
        """Why a node failed, in one line."""
        return self.failure(node.key) or str(json.loads((self.out / node.path).read_text(encoding="utf-8"))["error"])

    def failure(self, key: str) -> str | None:
        """What was kept of why a node failed, None where nothing was."""
        file = self._failure(key)
        return Failure.model_validate_json(file.read_text(encoding="utf-8")).error if file.exists() else None

    def failed(self, key: str, error: str, at: str) -> None:
        """Keep why a node failed."""
        failure = Failure(key=key, error=" ".join(error.split()), at=at)
        write_atomically(self._failure(key), failure.model_dump_json(indent=1).encode())

    def forget_failure(self, key: str) -> None:
        """A node is tried again."""
        with writing(self._failure(key)):
            self._failure(key).unlink(missing_ok=True)

    @property
    def _failures(self) -> Path:
        return self.path / "failed"

    def _failure(self, key: str) -> Path:
        return self._failures / f"{key}.json"

    def log(self, key: str) -> Path:
        """What a node's worker printed."""
        return self.path / "logs" / f"{key}.txt"

    @contextlib.contextmanager
    def driven(self) -> Iterator[None]:
        """Be the only one who works the study off.

        Raises:
            KdbenchError: another process does already.
        """
        with owned(self.path / "driver.lease", self._is_running):
            yield

    def _is_running(self, who: str) -> KdbenchError:
        return KdbenchError(
            f"study '{self.name}' is running already, in {who}",
            f"`kdbench sweep status {self.name}` shows how it stands; end that process before you change it",
        )

    def is_driven(self) -> bool:
        """Whether a process works the study off now."""
        return is_locked(self.path / "driver.lease")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _finished(record: str) -> bool:
    with open(record, "rb") as file:
        return b'"status": "finished"' in file.read(4096)
