"""What runs would cost before they start: networks to train, what is there already, and the time by earlier records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from kdbench.results.record import Record
from kdbench.results.store import read_records
from kdbench.results.wording import counted
from kdbench.running.graph import RunGraph
from kdbench.running.lineage import Lineage
from kdbench.running.options import RunOptions, is_finished, run_folder
from kdbench.running.plan import Plan
from kdbench.running.suite_data import SuiteData
from kdbench.specs import Suite, Training
from kdbench.studies.estimate import Estimate
from kdbench.training.log import whole_epochs


@dataclasses.dataclass(frozen=True)
class Network:
    """One that a run needs."""

    name: str
    """``<condition>/teacher``, ``<condition>/student/<role>``, ``<condition>/student``."""
    training: str
    """Its digest."""
    epochs: int
    done: int
    """Whole epochs that are there; all of them where it is finished."""
    seconds: float | None
    """That are left, None where no earlier record says it."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One task on one student."""

    condition: str
    task: str
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one run."""

    run_id: str
    method: str
    seed: int
    state: Literal["finished", "open"]
    networks: tuple[Network, ...]
    """Needs first; of several runs each network is with the first that needs it."""
    measurements: tuple[Measurement, ...]

    @property
    def pieces(self) -> tuple[Network | Measurement, ...]:
        """What is left to do."""
        return (*(one for one in self.networks if one.done < one.epochs), *self.measurements)


class Times:
    """How long pieces of a suite's runs took: under the folder of runs, else by the published records."""

    def __init__(self, suite: Suite, out: Path, published: Path | None) -> None:
        self._sources: list[tuple[Estimate, str]] = []
        for folder in (out, published):
            there = folder / suite.name if folder is not None else None
            records = [one.record for one in read_records(there)[0]] if there is not None and there.is_dir() else []
            estimate = Estimate(records, suite)
            self._sources.append((estimate, f"{counted(estimate.n, 'record')} in {there}{_machines(records, suite)}"))
        self._changes = suite.changed
        self._used: set[str] = set()

    def network(self, name: str, method: str) -> float | None:
        """Of one training for students of a method, in the median."""
        return self._first([one.network(self._changes, name, method) for one, _ in self._sources])

    def task(self, condition: str, task: str) -> float | None:
        """Of one measurement."""
        return self._first([one.task(self._changes, condition, task) for one, _ in self._sources])

    def sources(self) -> list[str]:
        """The records that gave an answer so far, in words."""
        return [words for _, words in self._sources if words in self._used]

    def _first(self, found: Sequence[float | None]) -> float | None:
        for seconds, (_, words) in zip(found, self._sources, strict=True):
            if seconds is not None:
                self._used.add(words)
                return seconds
        return None


def _machines(records: Sequence[Record], suite: Suite) -> str:
    kept = [one.provenance for one in records if one.spec.suite.version == suite.version]
    names = sorted({f"{made.device_name}, {made.threads} threads" for made in kept})
    return f" ({'; '.join(names)})" if names else ""


def costs(
    asked: Sequence[tuple[Plan, int]], data: SuiteData, options: RunOptions, times: Times, *, fresh: bool
) -> list[Cost]:
    """Of runs of one suite, each a plan at a seed. Nothing is trained, and nothing written but what is cached."""
    graph = RunGraph(asked[0][0].suite, data.dataset, asked[0][0].plugins, options)
    found, seen = [], set[str]()
    for plan, seed in asked:
        spec = plan.spec(data, graph, seed)
        finished = not fresh and is_finished(run_folder(spec, options.out))
        networks, measurements = [], []
        for condition in () if finished else plan.params:
            student = graph.student(condition, plan.method, plan.params_passed, seed)
            for name, training in _trainings(graph, plan, condition, student):
                if training.digest() not in seen:
                    again = fresh and training == student
                    whole = times.network(f"{condition}/{name}", plan.method)
                    networks.append(_network(graph, f"{condition}/{name}", training, whole, again=again))
                seen.add(training.digest())
            for task in plan.tasks_of(condition):
                measurements.append(Measurement(condition, task, times.task(condition, task)))
        state: Literal["finished", "open"] = "finished" if finished else "open"
        found.append(Cost(spec.run_id, plan.method, seed, state, tuple(networks), tuple(measurements)))
    return found


def _trainings(graph: RunGraph, plan: Plan, condition: str, student: Training) -> Iterator[tuple[str, Training]]:
    """Every network that a student and its measurements need, needs first, and the student last."""
    for role in plan.roles(condition):
        yield from _with_needs(role, graph.lineage(graph.network(condition, role)))
    yield from _with_needs("student", graph.lineage(student))


def _with_needs(name: str, planned: Lineage) -> Iterator[tuple[str, Training]]:
    for role, needed in planned.needs.items():
        yield from _with_needs(needed.suite_role or f"{name}/{role}", needed)
    yield name, planned.training


def _network(graph: RunGraph, name: str, training: Training, whole: float | None, *, again: bool) -> Network:
    epochs = training.recipe.epochs
    done = epochs if graph.is_finished(training) and not again else whole_epochs(graph.working(training, fresh=again))
    seconds = None if whole is None else whole * (1 - done / epochs)
    return Network(name, training.digest(), epochs, done, 0.0 if done == epochs else seconds)
