"""What is to be done, as frozen values with one canonical form: suites, trainings, runs, and the hash of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from kdbench.errors import unknown_name

TRAINING_VERSION = 2
"""Raised when the training loop changes what it computes; part of every training's hash."""


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is also a folder's."""


def _canonical(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Spec(BaseModel):
    """A frozen value; unknown fields are refused. Field docstrings document the keys of suite files."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False, use_attribute_docstrings=True
    )

    def canonical_json(self) -> str:
        """The one JSON text of this value: sorted keys, no spaces."""
        return _canonical(self.model_dump(mode="json"))

    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]


class GrowingSpec(Spec):
    """A specification that gained fields after the first records: at their defaults they are left out of the canonical
    JSON, so that the hashes of what does not use them hold."""

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name not in self.later or not self._is_default(name)}

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)


class LabelNoise(GrowingSpec):
    """Label noise of a training set: which, how much, and from which seed, whatever the seed of the training; or, of a
    kind whose labels exist already, where these are."""

    later = ("path", "sha256")

    kind: str
    """Registered name: ``kdbench list label-noises``."""
    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Nominal rate, in the sense of its kind; the record has the share of labels that are wrong. Kinds that are drawn
    need it, those whose labels exist already have none: methods are told the share that is counted."""
    seed: int = 0
    """Of the draw, the same for all methods and seeds of a run."""
    path: str | None = None
    """Of the kind ``file``: the file of labels, from the folder of the suite's file. It is no part of a run's identity;
    without it the file is looked for in the folder ``labels`` of the data folder, by its hash."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of that file; without it that of the file at ``path`` as it is when the suite is read."""

    def without_path(self) -> LabelNoise:
        """What identifies it: wherever the same file lies, it gives the same labels."""
        return self.model_copy(update={"path": None})


class Recipe(GrowingSpec):
    """How a network is trained: one optimiser, on batches of one shuffled pass per epoch."""

    later = ("optimizer",)

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    """Passes over the training images."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images per step of the optimiser."""
    lr: Annotated[float, Field(gt=0)]
    """Learning rate, the highest of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; beta1 of Adam."""
    nesterov: bool = False
    """Whether SGD's momentum is Nesterov's."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient, times the weights."""
    schedule: Literal["steps", "exponential", "cosine", "one-cycle"] = "steps"
    """``steps``: lr x gamma at each milestone epoch; ``exponential``: lr x gamma after each epoch; ``cosine``: to 0;
    ``one-cycle``: linear up for the first ``warmup`` share of training, linear down to 0."""
    milestones: tuple[int, ...] = ()
    """Epochs of the schedule ``steps`` at which the learning rate falls, inside the training."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the schedules ``steps`` and ``exponential``."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of training in which the schedule ``one-cycle`` rises."""
    augmentation: Literal["none", "crop", "crop-flip", "resized-crop-flip", "resized-crop-flip-jitter"] = "crop-flip"
    """``crop``: padded by 4 pixels; ``resized-crop``: of 8 to 100 % of the area, magnified to the whole, for
    photographs; ``jitter``: brightness, contrast and saturation by up to .4, hue by .2."""
    padding_mode: Literal["reflect", "zeros"] = "reflect"
    """What ``crop`` pads with."""
    drop_last: bool = False
    """Whether a last batch that is not full is left out."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """``auto``: bfloat16 autocast where the device computes it natively, float32 elsewhere; the record says which."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """``adam``: Kingma & Ba 2015 with beta1 = ``momentum``, beta2 = .999, and weight decay added to the gradient."""

    @model_validator(mode="after")
    def _milestones_inside(self) -> Recipe:
        if any(not 0 < milestone < self.epochs for milestone in self.milestones):
            raise ValueError(f"milestones {self.milestones} must lie inside the {self.epochs} epochs")
        return self

    @model_validator(mode="after")
    def _sgd_alone_has_nesterov(self) -> Recipe:
        if self.optimizer != "sgd" and self.nesterov:
            raise ValueError(f"nesterov = true goes with optimizer = sgd, not with {self.optimizer}")
        return self

    def steps_per_epoch(self, images: int) -> int:
        """Optimiser steps of a pass over so many images."""
        batch = min(self.batch_size, images)
        return images // batch if self.drop_last else -(-images // batch)

    def with_share(self, share: float, *, least_steps: int = 0, images: int = 1) -> Recipe:
        """The same for a share of the epochs, at least one; milestones move with it.

        On ``images`` at least so many epochs that they have ``least_steps``, as far as those are half of all or fewer.
        """
        per_epoch = self.steps_per_epoch(images)
        least = -(-min(least_steps, self.epochs * per_epoch // 2) // per_epoch)
        epochs = max(1, round(share * self.epochs), least)
        milestones = self.moved(max(share, least / self.epochs), epochs)
        return self.model_copy(update={"epochs": epochs, "milestones": milestones})

    def moved(self, share: float, epochs: int) -> tuple[int, ...]:
        """Its milestones at a share of their epochs, as far as they lie inside so many."""
        moved = {round(share * milestone) for milestone in self.milestones}
        return tuple(sorted(milestone for milestone in moved if 0 < milestone < epochs))


class Condition(GrowingSpec):
    """One training set of a suite: all of it or a stratified subset, with clean or noisy labels, and its recipe."""

    later = ("noise_unknown",)

    noise: LabelNoise | None = None
    """Label noise that is added: a table of its own; without it the labels are as they come."""
    noise_unknown: bool = False
    """Whether the labels are wrong as they come, nobody knows how often: a method that needs the rate must be given
    one."""
    train_size: Annotated[int, Field(ge=1)] | None = None
    """Training images, a stratified part; without it all."""
    subset_seed: int = 0
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
    seed: int
    """Of its training, whatever the seed of a run."""
    params: dict[str, Any] = {}
    """Parameters of the method: ``kdbench describe method NAME``."""


class TaskPlan(Spec):
    """Where and how the suite runs one task."""

    conditions: tuple[str, ...] | None = None
    """Names of the conditions whose students it measures; without it all that it applies to."""
    settings: dict[str, Any] = {}
    """What differs from the task's defaults: ``kdbench describe task NAME``."""


class AttackBudget(Spec):
    """What every task of a suite that attacks may change of an image, unless its own settings say otherwise."""

    eps: Annotated[float, Field(ge=0, le=1)]
    """Radius of the L-infinity ball in [0, 1] pixels."""


class Suite(GrowingSpec):
    """A standard setting: data, networks, training conditions and tasks. Data, not code: a TOML file."""

    later = ("pretrained", "family", "view", "attack", "changed")

    name: Name
    """What it is called in commands, records and folders. Another setting needs another name."""
    family: Name = ""
    """What tuned values of methods go by, beside data set, noise and network. A copy of the suite keeps it; without one
    it is the suite's own name."""
    version: int
    """Raised with every change of the setting: results of two versions are never compared."""
    title: str
    """What it is, in a line."""
    why: str
    """Why it is as it is: prose, no part of a run's identity."""
    dataset: str
    """Registered name of what is trained and measured on: ``kdbench list datasets``."""
    ood: tuple[str, ...] = ()
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
    view: Literal["suite", "strong"] | None = None
    """Value of the parameter ``view`` of all methods that have one, their networks and the suite's among them; without
    it each method's own choice."""
    networks: dict[str, NetworkSpec] = {}
    """Networks that are trained for others, a table for each role: ``teacher``, ``reference``, ..."""
    conditions: dict[Name, Condition]
    """Training sets, each of which gives a student: a table for each name, at least one."""
    tasks: dict[str, TaskPlan]
    """What is measured, a table for each task, which may be empty: ``kdbench list tasks``."""
    changed: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$")], Any] = {}
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
        return ", ".join([self.name, *(f"{key}={_canonical(value)}" for key, value in sorted(self.changed.items()))])

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


class Training(GrowingSpec):
    """One node of the run graph: everything that decides what a trained network is. Its digest names the training."""

    later = ("pretrained", "other_models", "measured")

    suite: str
    dataset: str
    dataset_sha256: str
    train_size: int | None
    subset_seed: int
    noise: LabelNoise | None
    labels_sha256: str
    """Of the observed labels."""
    model: str
    model_source: str
    """SHA-256 of the files that define the network."""
    other_models: dict[str, str] = {}
    """Other architectures that the method builds, a peer's for instance: name to SHA-256 like ``model_source``."""
    dropout: float = 0.0
    """Dropout rate of the network."""
    pretrained: bool = False
    """Whether the network starts from weights trained elsewhere: those that its model names."""
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    flip: bool
    recipe: Recipe
    method: str
    method_source: str
    params: dict[str, Any]
    """Of the method, resolved, without those that only matter when the network is measured."""
    measured: dict[str, Any] = {}
    """The latter, where they are not at their defaults. They are no part of the digest: one training serves all."""
    seed: int
    device: str
    needs: dict[str, str]
    """Role to ``predictor_digest`` of the training that fills it."""
    training_version: int = TRAINING_VERSION

    @field_validator("noise")
    @classmethod
    def _wherever_its_labels_lie(cls, noise: LabelNoise | None) -> LabelNoise | None:
        return None if noise is None else noise.without_path()

    def canonical_json(self) -> str:
        """As for every specification, without what only matters when the network is measured."""
        values = self.model_dump(mode="json")
        values.pop("measured", None)
        return _canonical(values)

    def predictor_digest(self) -> str:
        """Of the network that is measured, or taught with: the training's, unless it is measured otherwise."""
        if not self.measured:
            return self.digest()
        text = _canonical({"training": self.digest(), "measured": self.measured})
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunSpec(GrowingSpec):
    """One run: one method at one seed through a suite's conditions and tasks. Its digest is the run id."""

    later = ("examples",)

    suite: Suite
    method: str
    method_source: str
    params: dict[str, dict[str, Any]]
    """Resolved parameters of the method for each condition."""
    recipes: dict[str, Recipe]
    """How the student of each condition is trained: the suite's recipe with what the method tunes of it."""
    trainings: dict[str, str]
    """``<condition>/student``, ``<condition>/<role>`` of the suite's networks and ``<condition>/student/<role>`` of
    those that the method had trained for itself, each to the digest of that training, which covers data, labels,
    device and the source of method and network."""
    seed: int
    tasks: dict[str, int]
    """Task to the version of its definition."""
    datasets: dict[str, str]
    """Data set to the SHA-256 of its images and labels."""
    corruption_images: Annotated[str, Field(pattern="^(published|generated|published but for .+)$")]
    """Which corrupted images there were for tasks that use corruptions."""
    examples: Annotated[int, Field(ge=1)] | None = None
    """Size of the fixed stratified part of the test images that was measured; None: all."""

    @field_validator("suite")
    @classmethod
    def _wherever_its_files_lie(cls, suite: Suite) -> Suite:
        return suite.without_paths()

    def canonical_json(self) -> str:
        """As for every specification, without the suite's prose: a better sentence is no other run."""
        values = self.model_dump(mode="json")
        for prose in ("title", "why"):
            del values["suite"][prose]
        return _canonical(values)

    @property
    def run_id(self) -> str:
        return self.digest()


def first_problem(error: ValidationError) -> str:
    """The first finding of a validation error in one line: field, what is wrong, what was found."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "value"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if isinstance(problem.get("input"), dict) else f", found {problem.get('input')!r}"
    return f"{where}: {message[0].lower()}{message[1:]}{found}"
