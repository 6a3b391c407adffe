"""What a run was asked to do, checked before anything is trained."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.methods.method import SUITE_VIEW
from kdbench.plugin.loader import Plugins
from kdbench.running.evaluation import chosen_tasks
from kdbench.running.graph import RunGraph
from kdbench.running.needs import Needs
from kdbench.running.suite_data import SuiteData
from kdbench.running.train_set import check_condition
from kdbench.shared_state import SharedStateError, left_alone
from kdbench.specs import RunSpec, Suite
from kdbench.tasks import Attack, Task
from kdbench.tasks.attack import with_attacks


@contextlib.contextmanager
def _left_alone(method: str) -> Iterator[None]:
    """Methods are made in the block: one whose constructor changes what all share is a mistake in what was asked."""
    try:
        with left_alone(f"method '{method}', or one that it needs,"):
            yield
    except SharedStateError as error:
        raise KdbenchError(str(error), "leave it out until it is mended") from None


def _applying(suite: Suite, condition: str, tasks: Mapping[str, tuple[Task, Any]]) -> dict[str, tuple[Task, Any]]:
    """Those that are run on the student of a condition."""
    setting = suite.condition(condition)
    return {name: one for name, one in tasks.items() if one[0].applies(setting) and suite.plans(name, condition)}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was asked for, checked: every name exists and every value is in its range."""

    suite: Suite
    plugins: Plugins
    method: str
    params_passed: dict[str, Any]
    params: dict[str, dict[str, Any]]
    """Resolved, for each condition."""
    tasks: dict[str, tuple[Task, Any]]
    tasks_asked: tuple[str, ...] | None = None
    """Names of tasks that were asked for, with that of added attacks; None: all of the suite's."""
    untuned: tuple[str, ...] = ()
    """Conditions for which the method, though it has recipes, has none."""

    @classmethod
    def make(
        cls,
        suite: Suite,
        plugins: Plugins,
        method: str,
        params_passed: dict[str, Any],
        conditions: Iterable[str] | None,
        tasks: Iterable[str] | None,
        attacks: Iterable[str] | None = None,
    ) -> Plan:
        """Check what was asked for; ``attacks`` adds the task of these attacks to the suite.

        Without ``conditions`` all, but for those to which none of the ``tasks`` that were asked for applies.
        """
        asked = tasks is not None
        suite, wanted = with_attacks(suite, tasks, attacks)
        spec = plugins.methods.get(method)
        spec.validate(params_passed)
        params, untuned = {}, []
        with _left_alone(method):
            chosen = chosen_tasks(suite, plugins, wanted)
            for task, _ in chosen.values():
                task.predictors(spec)
            names = list(dict.fromkeys(suite.conditions if conditions is None else conditions))
            if conditions is None and asked:
                names = [name for name in names if _applying(suite, name, chosen)] or names
            for model in [suite.student, *(network.model for network in suite.networks.values())]:
                plugins.models.get(model)
            sources = sorted({role for task, settings in chosen.values() for role in task.sources(settings)})
            for name in names:
                condition = suite.condition(name)
                check_condition(name, condition, plugins.label_noises, plugins.datasets.get(suite.dataset).facts)
                needs = Needs(suite, plugins, name)
                student = needs.student(method, params_passed, 0)
                params[name] = student.params
                untuned += [name] * student.untuned
                for role in sources:
                    needs.network(role)
        named = None if wanted is None else tuple(wanted)
        plan = cls(suite, plugins, method, params_passed, params, chosen, named, tuple(untuned))
        idle = [name for name in chosen if not any(name in plan.tasks_of(condition) for condition in names)]
        idle = [name for name in idle if asked or (attacks and name == Attack.name)]
        if idle:
            raise KdbenchError(
                f"task '{idle[0]}' does not apply to condition {', '.join(names)}", "name a condition it is meant for"
            )
        return plan

    @property
    def views(self) -> dict[str, str]:
        """Condition to the view that its student sees: "strong", "own", ...; of the suite's augmentation its name."""
        seen = {name: self._view(name) for name in self.params}
        return {
            name: self.suite.condition(name).recipe.augmentation if view == SUITE_VIEW else view
            for name, view in seen.items()
        }

    def _view(self, condition: str) -> str:
        return self.plugins.methods.get(self.method).view(self.params[condition])

    def notes(self) -> list[str]:
        """What whoever asked should know before hours are spent, a line each."""
        return [*self._of_changes(), *self._of_recipes(), *self._of_views()]

    def _of_changes(self) -> list[str]:
        if not self.suite.changed:
            return []
        return [
            f"note: {self.suite.label}: another setting than suite '{self.suite.name}', which the record says. On "
            "leaderboards it has a board of its own"
        ]

    def _of_views(self) -> list[str]:
        """Where the method cannot see what the suite asks for."""
        wanted, seen = self.suite.view, sorted({self._view(name) for name in self.params})
        if wanted is None or seen == [wanted]:
            return []
        return [
            f"note: suite '{self.suite.name}' demands the view '{wanted}', and method '{self.method}' has no parameter "
            f"for it: its students see the view '{', '.join(seen)}', and its row says so"
        ]

    def _of_recipes(self) -> list[str]:
        if not self.untuned:
            return []
        return [
            f"note: no recipe of method '{self.method}' is for family '{self.suite.family}', data set "
            f"'{self.suite.dataset}' and model '{self.suite.student}' under {', '.join(self.untuned)}: declared "
            "defaults and the suite's own optimiser values are used"
        ]

    def tasks_of(self, condition: str) -> dict[str, tuple[Task, Any]]:
        """The tasks to run on the student of a condition."""
        return _applying(self.suite, condition, self.tasks)

    def roles(self, condition: str) -> list[str]:
        """The suite's networks that the method or a task needs under a condition."""
        needed = self.plugins.methods.get(self.method).needed(self.params[condition])
        needs = {role for role in needed.values() if isinstance(role, str)}
        sources = {role for task, settings in self.tasks_of(condition).values() for role in task.sources(settings)}
        return sorted(needs | sources)

    def spec(self, suite_data: SuiteData, graph: RunGraph, seed: int) -> RunSpec:
        """The run as a value with a hash."""
        students = {name: graph.student(name, self.method, self.params_passed, seed) for name in self.params}
        trainings = {f"{name}/student": student.digest() for name, student in students.items()}
        for name in self.params:
            trainings |= {f"{name}/{role}": graph.network(name, role).digest() for role in self.roles(name)}
            own = graph.own(students[name])
            trainings |= {f"{name}/student/{path}": training.digest() for path, training in own.items()}
        return RunSpec(
            suite=self.suite,
            method=self.method,
            method_source=self.plugins.methods.get(self.method).source,
            params=self.params,
            recipes={name: student.recipe for name, student in students.items()},
            trainings=trainings,
            seed=seed,
            tasks={name: task.version for name, (task, _) in sorted(self.tasks.items())},
            datasets=suite_data.hashes(),
            corruption_images=suite_data.test.corruption_images,
        )
