"""What a method author implements: a loss function, or a ``Method`` class where a function is not enough."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from kdbench.errors import KdbenchError, unknown_name
from kdbench.specs import Condition, first_problem

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TUNABLE = ("lr", "weight_decay", "momentum", "nesterov")
"""What a method may tune of a suite's recipe; epochs, batch size, data and checkpoint rule stay the suite's."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """One training batch. Labels are as observed, noise included; clean labels do not exist here."""

    images: Tensor
    """(B, 3, H, W) float32 in [0, 1]: the view named "images"."""
    labels: Tensor
    """(B,) int64 in [0, num_classes)."""
    index: Tensor
    """(B,) int64: place of each example in the training set, the same in every epoch."""
    views: Mapping[str, Tensor]
    """Every view of the same examples, each (B, 3, H, W) float32 in [0, 1]; {"images": images} unless the method
    draws more."""


@dataclasses.dataclass
class Context:
    """What the harness lends a method while it trains."""

    student: nn.Module
    """The network under training, in train mode: pixels (B, 3, H, W) in [0, 1] to float32 logits (B, C)."""
    networks: Mapping[str, nn.Module]
    """The trained networks that the method declared in ``needs``: eval mode, frozen."""
    num_classes: int
    train_size: int
    device: torch.device
    generator: torch.Generator
    """On ``device``, reseeded from the run's seed at each epoch: the only source of randomness a method should use."""
    augment: Callable[[Tensor], Tensor]
    """The suite's own training augmentation, one draw per image."""
    mean: tuple[float, float, float]
    """Mean colour of the data set in [0, 1]: what a standardised 0 is in pixels."""
    flip: bool
    """Whether mirroring keeps an image's class (no for digits)."""
    noise_kind: str | None
    noise_rate: float
    """Nominal rate of the condition's label noise; 0 for clean labels."""
    epochs: int
    steps: int
    """Steps of the whole training."""
    epoch: int = 0
    """From 0."""
    step: int = 0
    """From 0, over the whole training."""

    @property
    def teacher(self) -> nn.Module:
        """The suite's teacher, trained on the same labels as the student: eval mode, frozen, logits."""
        if "teacher" not in self.networks:
            raise KdbenchError("the method uses ctx.teacher without declaring it", "add needs={'teacher'}")
        return self.networks["teacher"]

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1)."""
        return self.step / self.steps


class Method:
    """A training method with state. Keyword-only parameters of ``__init__`` are its configuration.

    The harness calls ``setup`` once; then per epoch ``on_epoch_start``, and per step ``views``, ``loss``, the
    optimiser, ``after_step``; and at the end ``predictor``.
    """

    def setup(self, ctx: Context) -> None:
        """Build what the method owns: an EMA copy, a peer, a memory of predictions."""

    def networks(self) -> Mapping[str, nn.Module]:
        """Networks that the method owns beside the student, by name. They are saved and resumed with it, and those
        of their parameters that require gradients are trained by the same optimiser."""
        return {}

    def state(self) -> Mapping[str, Tensor]:
        """Tensors beside networks that a resumed training needs, by name."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state`` gave, on ``ctx.device``."""

    def views(self, images: Tensor, ctx: Context) -> Tensor | Mapping[str, Tensor]:
        """Augment a batch (B, 3, H, W) float32 in [0, 1]: one view, or several by name, one of them "images"."""
        return ctx.augment(images)

    def loss(self, batch: Batch, ctx: Context) -> Tensor:
        """The scalar to minimise."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(batch, ctx)")

    def after_step(self, ctx: Context) -> None:
        """After the optimiser's step."""

    def on_epoch_start(self, ctx: Context) -> None:
        """Before the first step of each epoch."""

    def predictor(self, ctx: Context) -> nn.Module:
        """What is evaluated: the student, or one of ``networks()``."""
        return ctx.student


class _FunctionMethod(Method):
    """The short form: a loss function and its parameters."""

    def __init__(self, function: Callable[..., Tensor], params: Mapping[str, Any]) -> None:
        self._function, self._params = function, dict(params)

    def loss(self, batch: Batch, ctx: Context) -> Tensor:
        return self._function(batch, ctx, **self._params)


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A registered method: its name, parameters and needs, and how to make it. Made by ``kdbench.method``."""

    name: str
    target: Callable[..., Any]
    needs: frozenset[str]
    parameters: type[BaseModel]
    summary: str
    paper: str
    recipes: tuple[Mapping[str, Any], ...]
    source: str
    """SHA-256 of the file that defines it: a changed method is never answered with an old result."""

    def validate(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` with defaults filled in; an unknown one or a value out of range is an error that names it."""
        for key in params:
            if key not in self.parameters.model_fields:
                raise unknown_name(
                    "parameter", key, self.parameters.model_fields, f"`kdbench describe method {self.name}` lists them"
                )
        try:
            return self.parameters.model_validate(dict(params)).model_dump(mode="json")
        except ValidationError as error:
            hint = f"`kdbench describe method {self.name}` shows ranges"
            raise KdbenchError(f"method '{self.name}', parameter {first_problem(error)}", hint) from None

    def resolve(
        self, params: Mapping[str, Any], *, suite: str, dataset: str, condition: Condition
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters and optimiser values for one condition: declared defaults, then recipes, then ``params``."""
        self.validate(params)
        recipe = matching_recipe(self.recipes, suite=suite, dataset=dataset, condition=condition)
        return self.validate({**recipe.get("params", {}), **params}), dict(recipe.get("optimizer", {}))

    def make(self, params: Mapping[str, Any]) -> Method:
        """A fresh instance; nothing is shared between two of them."""
        if inspect.isclass(self.target):
            made = self.target(**params)
            if not isinstance(made, Method):
                raise KdbenchError(f"method '{self.name}' is not a kdbench.Method", "derive its class from it")
            return made
        return _FunctionMethod(self.target, params)


def matching_recipe(
    recipes: Iterable[Mapping[str, Any]], *, suite: str, dataset: str, condition: Condition
) -> dict[str, Any]:
    """Merge the recipes whose ``suite``, ``dataset`` and ``noise`` lists admit this condition, later ones winning.

    Among those that also state a noise ``rate`` only the nearest rate counts.
    """
    kind, rate = (condition.noise.kind, condition.noise.rate) if condition.noise else ("none", 0.0)
    facts = {"suite": suite, "dataset": dataset, "noise": kind}
    admitted = [
        recipe for recipe in recipes if all(fact in recipe[key] for key, fact in facts.items() if key in recipe)
    ]
    rates = [recipe["rate"] for recipe in admitted if "rate" in recipe]
    nearest = min(rates, key=lambda stated: abs(stated - rate), default=None)
    merged: dict[str, Any] = {"params": {}, "optimizer": {}}
    for recipe in admitted:
        if "rate" not in recipe or recipe["rate"] == nearest:
            merged["params"].update(recipe.get("params", {}))
            merged["optimizer"].update(recipe.get("optimizer", {}))
    return merged


def _parameters(name: str, target: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of the keyword-only parameters of ``target``, with its annotations as their ranges."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise KdbenchError(f"method '{name}': annotation of a parameter: {error}", "import it at run time") from None
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.annotation is inspect.Parameter.empty or parameter.default is inspect.Parameter.empty:
            raise KdbenchError(
                f"method '{name}': parameter '{parameter.name}' has no type or no default",
                "write it as `name: float = 0.5`",
            )
        fields[parameter.name] = (parameter.annotation, parameter.default)
    config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
    return create_model(f"{name} parameters", __config__=config, **fields)


def _recipes(name: str, path: Path | None) -> tuple[Mapping[str, Any], ...]:
    """Read a method's ``recipes.toml``, refusing what a method may not decide."""
    if path is None:
        return ()
    try:
        recipes = tomllib.loads(path.read_text(encoding="utf-8")).get(name, [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise KdbenchError(f"method '{name}': recipes file {path}: {error}", "mend it or leave it out") from None
    allowed = {"suite", "dataset", "noise", "rate", "params", "optimizer"}
    for recipe in recipes:
        stray = set(recipe) - allowed | set(recipe.get("optimizer", {})) - set(TUNABLE)
        if stray:
            raise KdbenchError(
                f"method '{name}': recipes may not set {sorted(stray)}", f"allowed: {sorted(allowed)}, {TUNABLE}"
            )
    return tuple(recipes)


def source_hash(target: Callable[..., Any]) -> str:
    """SHA-256 of the file that defines a function or class, "unknown" where there is none (a console)."""
    while isinstance(target, functools.partial):
        target = target.func
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(target) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return "unknown"


def method(
    name: str, *, needs: Iterable[str] = (), paper: str = "", recipes: Path | None = None
) -> Callable[[Callable[..., Any]], MethodSpec]:
    """Decorate a loss function ``f(batch, ctx, *, parameters) -> scalar`` or a ``Method`` class.

    ``needs`` names the suite's networks that must be trained first ("teacher"); ``recipes`` is a TOML file of tuned
    values per suite, data set and noise. The first line of the docstring is the method's summary.
    """

    def decorate(target: Callable[..., Any]) -> MethodSpec:
        summary = (inspect.getdoc(target) or "").partition("\n")[0]
        parameters = _parameters(name, target)
        tuned = _recipes(name, recipes)
        return MethodSpec(name, target, frozenset(needs), parameters, summary, paper, tuned, source_hash(target))

    return decorate
