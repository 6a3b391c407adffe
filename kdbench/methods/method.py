"""What a method author implements: a loss function, or a ``Method`` class where a function is not enough."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kdbench.errors import KdbenchError
from kdbench.methods.context import Batch, Context, Network
from kdbench.methods.recipes import Setting, matching_recipes, merged, read_recipes
from kdbench.methods.source import source_hash
from kdbench.plugin import docs
from kdbench.plugin.parameters import parameters_of, validated

if TYPE_CHECKING:
    from torch import Tensor, nn

Needed = str | Network
"""A role of the suite, or a network that is trained for the method."""
SUITE_VIEW, OWN_VIEW = "suite", "own"
"""What a student sees: the suite's own augmentation, or what its method brings."""
NeedsDeclaration = Iterable[str] | Mapping[str, Needed] | Callable[[Mapping[str, Any]], Mapping[str, Needed]]


class MeasuredOnly:
    """Marks a parameter that only matters when the trained network is measured.

    In its annotation, ``Annotated[Literal["student", "ema"], kdbench.MeasuredOnly()]``. One training then serves all
    its values. ``predictor`` may use it, nothing that trains may.
    """


def is_measured_only(field: FieldInfo) -> bool:
    """Whether a method's parameter is marked so."""
    return any(isinstance(mark, MeasuredOnly) for mark in field.metadata)


class Method:
    """A training method with state. Keyword-only parameters of ``__init__`` are its configuration.

    The harness calls ``setup`` once; then per epoch ``on_epoch_start``, per step ``views``, ``loss``, backward,
    ``before_step``, the optimiser, ``after_step``, and ``epoch_log`` after the last step; and at the end ``predictor``.
    When a checkpoint is loaded it calls ``setup``, fills student and networks with their trained weights, and calls
    ``predictor``. ``__init__`` also runs when a run is planned: it may raise ``kdbench.KdbenchError`` for parameters
    that do not go together.
    """

    own_views: ClassVar[bool] = True
    """Whether a ``views`` that is overridden shows the student other images than the suite's augmentation: False where
    it only takes draws of ``ctx.augment``. A parameter ``view`` says more: ``MethodSpec.view``."""

    def architectures(self) -> Iterable[str]:
        """Names of other architectures than the student's that ``setup`` makes with ``ctx.new_network(model=...)``.

        They are looked up when a run is planned, so that a wrong name is an error before anything is trained.
        """
        return ()

    def setup(self, ctx: Context) -> None:
        """Build what the method owns: an EMA copy, a peer (``ctx.new_network``), a memory of predictions.

        Not from ``ctx.train``, nor from what ``ctx.networks`` predict: neither is there when a checkpoint is loaded.
        """

    def networks(self) -> Mapping[str, nn.Module]:
        """Modules that the method owns beside the student, by name: peers, averages, a learned matrix.

        They are saved and resumed with it. Parameters that require gradients are trained by the same optimiser as the
        student's, and a module with such parameters is put in train mode before each epoch; the mode of one without is
        the method's. None may share a tensor with the student or with another.
        """
        return {}

    def state(self) -> Mapping[str, Tensor]:
        """Tensors beside networks that a resumed training needs, by name. They are not in the checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state`` gave, on ``ctx.device``."""

    def views(self, images: Tensor, ctx: Context) -> Tensor | Mapping[str, Tensor]:
        """Augment a batch (B, 3, H, W) float32 in [0, 1]: one view, or several by name, one of them "images"."""
        return ctx.augment(images)

    def loss(self, batch: Batch, ctx: Context) -> Tensor:
        """The scalar to minimise."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(batch, ctx)")

    def before_step(self, ctx: Context) -> None:
        """Between backward and the optimiser's step: gradients are there and may be changed in place."""

    def after_step(self, ctx: Context) -> None:
        """After the optimiser's step."""

    def on_epoch_start(self, ctx: Context) -> None:
        """Before the first step of each epoch; ``ctx.train`` and ``ctx.predict`` are there."""

    def epoch_log(self, ctx: Context) -> Mapping[str, float]:
        """Numbers of the method's own for the training log, by name, after each epoch: samples kept, a learned rate."""
        return {}

    def predictor(self, ctx: Context) -> nn.Module:
        """What is evaluated: the student, one of ``networks()``, or a module that holds some of them as submodules.

        A module of its own may draw random numbers from torch's global generator, which every task seeds.
        """
        return ctx.student


class _FunctionMethod(Method):
    """The short form: a loss function and its parameters."""

    def __init__(self, function: Callable[..., Tensor], params: Mapping[str, Any]) -> None:
        self._function, self._params = function, dict(params)

    def loss(self, batch: Batch, ctx: Context) -> Tensor:
        return self._function(batch, ctx, **self._params)


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What a method is run with in one setting."""

    params: dict[str, Any]
    tuned: dict[str, Any]
    """What the method tunes of the optimiser, and the longer schedule of an extended budget."""
    untuned: bool
    """Whether the method has recipes and none of them is for the setting."""


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A registered method: its name, parameters and needs, and how to make it. Made by ``kdbench.method``."""

    name: str
    target: Callable[..., Any]
    needs: Mapping[str, Needed] | Callable[[Mapping[str, Any]], Mapping[str, Needed]]
    parameters: type[BaseModel]
    summary: str
    paper: str
    recipes: tuple[Mapping[str, Any], ...]
    source: str
    """``kdbench.methods.source.source_hash`` of it: a changed method is never answered with an old result."""

    def validate(self, params_passed: Mapping[str, Any]) -> dict[str, Any]:
        """What was passed with defaults filled in; an unknown one or a value out of range is an error that names it."""
        return validated(f"method '{self.name}'", "parameter", self.parameters, params_passed)

    def resolve(self, params: Mapping[str, Any], setting: Setting) -> Resolved:
        """Parameters and recipe values for one setting: declared defaults, then recipes, then ``params``."""
        self.validate(params)
        resolved = self.validate({**merged(matching_recipes(self.recipes, setting))["params"], **params})
        found = matching_recipes(self.recipes, setting, resolved)
        values = merged(found)
        return Resolved(resolved, values["optimizer"] | values["extended"], bool(self.recipes) and not found)

    @functools.cached_property
    def measuring(self) -> frozenset[str]:
        """Parameters marked with ``MeasuredOnly``."""
        fields = self.parameters.model_fields.items()
        return frozenset(name for name, field in fields if is_measured_only(field))

    def split(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Resolved parameters, first those of the training, then those that only matter when it is measured, where
        they are not at their defaults."""
        training = {name: value for name, value in params.items() if name not in self.measuring}
        usual = self.validate({})
        return training, {name: params[name] for name in sorted(self.measuring) if params[name] != usual[name]}

    def view(self, params: Mapping[str, Any]) -> str:
        """Which view of the training images the student sees, for resolved parameters.

        The value of the parameter ``view``, if there is one, where by convention "suite" is the suite's own
        augmentation; without one "own" for a class with views of its own, else "suite".
        """
        if "view" in self.parameters.model_fields:
            return str(params["view"])
        target: Any = self.target
        overridden = inspect.isclass(target) and issubclass(target, Method) and target.views is not Method.views
        return OWN_VIEW if overridden and target.own_views else SUITE_VIEW

    def measured_with(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params``, checked to be such as only matter when a network is measured, without those at their defaults."""
        for name in params:
            if name in self.parameters.model_fields and name not in self.measuring:
                known = ", ".join(sorted(self.measuring)) or "none"
                raise KdbenchError(
                    f"parameter '{name}' of method '{self.name}' belongs to its training",
                    f"parameters that only matter when it is measured: {known}",
                )
        return self.split(self.validate(params))[1]

    def needed(self, params: Mapping[str, Any]) -> dict[str, Needed]:
        """What must be trained first, by role, for resolved parameters; those for measuring count as defaults."""
        if not callable(self.needs):
            return dict(self.needs)
        found = self.needs(self.validate(self.split(params)[0]))
        if not isinstance(found, Mapping):
            raise KdbenchError(
                f"method '{self.name}': needs returned {type(found).__name__}",
                "return a mapping from role to kdbench.Network or to the name of a suite's network",
            )
        return _named(self.name, found)

    def make(self, params: Mapping[str, Any]) -> Method:
        """A fresh instance; nothing is shared between two of them."""
        if inspect.isclass(self.target):
            made = self.target(**params)
            if not isinstance(made, Method):
                raise KdbenchError(f"method '{self.name}' is not a kdbench.Method", "derive its class from it")
            return made
        return _FunctionMethod(self.target, params)


def _named(name: str, needs: Iterable[str] | Mapping[str, Needed]) -> dict[str, Needed]:
    """Role to what fills it, sorted by role."""
    if isinstance(needs, str):
        raise KdbenchError(f"method '{name}': needs found '{needs}', expected a set", f"write needs={{'{needs}'}}")
    named: Mapping[str, Needed] = needs if isinstance(needs, Mapping) else {role: role for role in needs}
    for role, needed in named.items():
        if not isinstance(needed, str | Network):
            raise KdbenchError(
                f"method '{name}': needs['{role}'] is a {type(needed).__name__}",
                "write a kdbench.Network or the name of a suite's network",
            )
    return dict(sorted(named.items()))


def method(
    name: str, *, needs: NeedsDeclaration = (), paper: str = "", recipes: Path | None = None
) -> Callable[[Callable[..., Any]], MethodSpec]:
    """Decorate a loss function ``f(batch, ctx, *, parameters) -> scalar`` or a ``Method`` class.

    ``needs`` says what must be trained first: a set of roles that the suite fills ("teacher"); or a mapping from role
    to ``kdbench.Network`` or to the name of a suite's network; or a function that returns such a mapping for the
    resolved parameters. ``recipes`` is a TOML file of tuned values per family of suites, data set, model and noise. The
    first paragraph of the docstring is the method's summary.
    """

    needed = needs if callable(needs) else _named(name, needs)

    def decorate(target: Callable[..., Any]) -> MethodSpec:
        summary = docs.summary(inspect.getdoc(target))
        parameters = parameters_of(f"method '{name}'", target)
        tuned = read_recipes(name, recipes)
        return MethodSpec(name, target, needed, parameters, summary, paper, tuned, source_hash(target))

    return decorate
