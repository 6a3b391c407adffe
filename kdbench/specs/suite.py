"""A standard setting: what a suite's file says."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from kdbench.bounds import MOST_PARTS, Number, Values, Whole
from kdbench.errors import unknown_name
from kdbench.specs.recipe import LabelNoise, Recipe
from kdbench.specs.values import GrowingSpec, Name, Spec, canonical


class Condition(GrowingSpec):
    """One training set of a suite: all of it or a stratified subset, with clean or noisy labels, and its recipe."""

    later = ("noise_unknown",)

    noise: LabelNoise | None = None
    """Label noise that is added: a table of its own; without it the labels are as they come."""
    noise_unknown: bool = False
    """Whether the labels are wrong as they come, nobody knows how often: a method that needs the rate must be given
    one."""
    train_size: Number | None = None
    """Training images, a stratified part; without it all."""
    subset_seed: Whole = 0
    """Of the draw of that part."""
    recipe: Recipe
    """What differs from the suite's ``[recipe]``: a table of its own."""

    def without_path(self) -> Condition:
        """What identifies it: wherever its labels lie."""
        return self if self.noise is None else self.model_copy(update={"noise": self.noise.without_path()})


class NetworkSpec(Spec):
    """A network that the suite trains for others: a teacher, the reference student of a transfer attack."""

    model: str
    """Registered name: ``kdbench list models``."""
    method: str
    """What trains it: ``kdbench list methods``."""
    seed: Whole
    """Of its training, whatever the seed of a run."""
    params: Values = {}
    """Parameters of the method: ``kdbench describe method NAME``."""


class TaskPlan(Spec):
    """Where and how the suite runs one task."""

    conditions: Annotated[tuple[str, ...], Field(max_length=MOST_PARTS)] | None = None
    """Names of the conditions whose students it measures; without it all that it applies to."""
    settings: Values = {}
    """What differs from the task's defaults: ``kdbench describe task NAME``."""


class AttackBudget(Spec):
    """What every task of a suite that attacks may change of an image, unless its own settings say otherwise."""

    eps: Annotated[float, Field(ge=0, le=1)]
    """Radius of the L-infinity ball in [0, 1] pixels."""


class Watch(Spec):
    """An attack on test images after each epoch of a student's training. It decides nothing, and the weights are the
    same without it; its accuracy stands in the log as ``test_pgd_accuracy``."""

    eps: Annotated[float, Field(ge=0, le=1)]
    """Radius of the L-infinity ball in [0, 1] pixels."""
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.006
    """Of one step of PGD from the image; an image counts at the iterate where its true class is least probable."""
    steps: Annotated[int, Field(ge=1)] = 10
    """Gradient steps."""
    images: Annotated[int, Field(ge=1)] = 500
    """A fixed stratified part of the test images whose accuracy is logged."""


class Suite(GrowingSpec):
    """A standard setting: data, networks, training conditions and tasks. Data, not code: a TOML file."""

    later = ("pretrained", "family", "view", "attack", "watch", "changed")

    name: Name
    """What it is called in commands, records and folders. Another setting needs another name."""
    family: Name = ""
    """What tuned values of methods go by, beside data set, noise and network. A copy of the suite keeps it; without one
    it is the suite's own name."""
    version: Whole
    """Raised with every change of the setting: results of two versions are never compared."""
    title: str
    """What it is, in a line."""
    why: str
    """Why it is as it is: prose, no part of a run's identity."""
    dataset: str
    """Registered name of what is trained and measured on: ``kdbench list datasets``."""
    ood: Annotated[tuple[str, ...], Field(max_length=MOST_PARTS)] = ()
    """Out-of-distribution sets in order of preference; the first that is available is used and named in the record."""
    student: str
    """Model of the students: ``kdbench list models``."""
    mean: tuple[float, float, float] | None = None
    """Of each colour channel in [0, 1], what the networks subtract first; without mean and std nothing is done."""
    std: tuple[float, float, float] | None = None
    """What they divide by then."""
    flip: bool = True
    """Whether a mirrored image is still one of its class: no for digits."""
    pretrained: bool = False
    """Whether all networks start from weights trained on ImageNet, which their models must have."""
    attack: AttackBudget | None = None
    """What attacks may change: a table of its own; without it each task's own default."""
    watch: Watch | None = None
    """What attacks a student after each epoch: a table of its own; without it nothing does."""
    view: Literal["suite", "strong"] | None = None
    """Value of the parameter ``view`` of all methods that have one, their networks and the suite's among them; without
    it each method's own choice."""
    networks: Annotated[dict[str, NetworkSpec], Field(max_length=MOST_PARTS)] = {}
    """Networks that are trained for others, a table for each role: ``teacher``, ``reference``, ..."""
    conditions: Annotated[dict[Name, Condition], Field(max_length=MOST_PARTS)]
    """Training sets, each of which gives a student: a table for each name, at least one."""
    tasks: Annotated[dict[str, TaskPlan], Field(max_length=MOST_PARTS)]
    """What is measured, a table for each task, which may be empty: ``kdbench list tasks``."""
    changed: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$")], Any], Field(max_length=MOST_PARTS)
    ] = {}
    """What was set by hand for a run, ``kdbench.suites.changes``: dotted key to value. Such a suite is another setting
    than the one that has its name."""

    @model_validator(mode="before")
    @classmethod
    def _own_family(cls, values: Any) -> Any:
        if isinstance(values, dict) and "name" in values and "family" not in values:
            return {**values, "family": values["name"]}
        return values

    def _is_default(self, name: str) -> bool:
        return self.family == self.name if name == "family" else super()._is_default(name)

    @field_validator("conditions")
    @classmethod
    def _some_condition(cls, conditions: dict[str, Condition]) -> dict[str, Condition]:
        if not conditions:
            raise ValueError("a suite needs at least one condition")
        return conditions

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together")
        for name, plan in self.tasks.items():
            unknown = set(plan.conditions or ()) - set(self.conditions)
            if unknown:
                raise ValueError(f"task {name} names conditions the suite has not: {sorted(unknown)}")
        return self

    def without_paths(self) -> Suite:
        """What identifies it: without the places of its files on this machine."""
        return self.model_copy(
            update={"conditions": {name: one.without_path() for name, one in self.conditions.items()}}
        )

    @property
    def label(self) -> str:
        """The name that no other setting has: with what was changed by hand.

        >>> from kdbench.suites import load_suite
        >>> load_suite("digits").model_copy(update={"changed": {"recipe.epochs": 30}}).label
        'digits, recipe.epochs=30'
        """
        return ", ".join([self.name, *(f"{key}={canonical(value)}" for key, value in sorted(self.changed.items()))])

    def by_hand(self, condition: str) -> frozenset[str]:
        """Keys of a condition's recipe that were changed by hand, before which no method's tuned value goes."""
        tables = ("recipe.", f"conditions.{condition}.recipe.")
        keys = {key.removeprefix(table) for key in self.changed for table in tables if key.startswith(table)}
        return frozenset(keys | ({"milestones"} if "epochs" in keys else set()))

    def condition(self, name: str) -> Condition:
        """The condition of that name; a miss is an error with the nearest right name."""
        if name not in self.conditions:
            raise unknown_name("condition", name, self.conditions, f"these are suite '{self.name}''s conditions")
        return self.conditions[name]

    def demanded(self, parameters: Collection[str]) -> dict[str, str]:
        """What the suite demands of a method with parameters of these names: its view, if it has the choice."""
        return {"view": self.view} if self.view and "view" in parameters else {}

    def plans(self, task: str, condition: str) -> bool:
        """Whether the suite means a task for students of a condition; a task that it does not name, everywhere."""
        named = self.tasks[task].conditions if task in self.tasks else None
        return not named or condition in named

    def network(self, role: str) -> NetworkSpec:
        """The network of that role; a miss is an error with the nearest right name."""
        if role not in self.networks:
            raise unknown_name("network role", role, self.networks, f"suite '{self.name}' does not provide it")
        return self.networks[role]
