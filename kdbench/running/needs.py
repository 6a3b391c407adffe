"""What must be trained before what, worked out from names alone: before any data are read, and without training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kdbench.errors import KdbenchError
from kdbench.methods.method import MethodSpec, Needed
from kdbench.methods.recipes import Setting
from kdbench.models import ModelSpec, check_dropout, check_image_size, check_pretrained
from kdbench.plugin.loader import Plugins
from kdbench.specs import Condition, Recipe, Suite, first_problem
from kdbench.training.seeds import derive_seed

STUDENT = "student"
DEEPEST = 8
"""Networks on the way from a student down to one that needs none: more is a method that never ends."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One training, and those it needs."""

    method: MethodSpec
    model: str
    other_models: tuple[str, ...]
    """Architectures that the method builds besides."""
    dropout: float
    params: dict[str, Any]
    """Resolved: defaults, recipes, and what was passed."""
    recipe: Recipe
    """The condition's, with what the method tunes of it, at its whole length; precision as the suite states it."""
    seed: int
    needs: dict[str, Node]
    suite_role: str | None = None
    """The suite's network that it is, None for one that is trained for a method."""
    untuned: bool = False
    """Whether the method has recipes and none of them is for this training."""
    epochs_share: float = 1.0
    least_steps: int = 0

    def recipe_for(self, images: int) -> Recipe:
        """How it is trained on so many images."""
        if self.epochs_share == 1:
            return self.recipe
        return self.recipe.with_share(self.epochs_share, least_steps=self.least_steps, images=images)


@dataclasses.dataclass(frozen=True)
class _Wish:
    """A training as it is asked for, before names are looked up."""

    method: str
    model: str
    params_passed: Mapping[str, Any]
    seed: int
    run_seed: int
    """Where seeds of networks like the student come from."""
    dropout: float = 0.0
    epochs_share: float = 1.0
    least_steps: int = 0
    suite_role: str | None = None


@dataclasses.dataclass(frozen=True)
class Needs:
    """The trainings of one condition of a suite."""

    suite: Suite
    plugins: Plugins
    condition: str

    @property
    def setting(self) -> Condition:
        return self.suite.condition(self.condition)

    def student(self, method: str, params_passed: Mapping[str, Any], seed: int) -> Node:
        """A method's student with all that it needs. Every unknown name, every value out of range, and another ``view``
        than the suite demands is an error."""
        demanded = self.suite.demanded(self.plugins.methods.get(method).parameters.model_fields)
        for name in demanded.keys() & params_passed.keys():
            if params_passed[name] != demanded[name]:
                raise KdbenchError(
                    f"method '{method}', parameter {name}: found {params_passed[name]!r}, but suite "
                    f"'{self.suite.name}' demands {demanded[name]!r}",
                    "leave it out, or name another suite",
                )
        return self._node(_Wish(method, self.suite.student, params_passed, seed, seed), ())

    def network(self, role: str) -> Node:
        """The suite's teacher or another of its networks. Its seed is the suite's, mixed with its role: no student's
        seed makes the same network."""
        return self._node(self._of_suite(role), ())

    def _of_suite(self, role: str) -> _Wish:
        spec = self.suite.network(role)
        seed = derive_seed(spec.seed, role)
        return _Wish(spec.method, spec.model, spec.params, seed, seed, suite_role=role)

    def _wish(self, needed: Needed, run_seed: int) -> _Wish:
        if isinstance(needed, str):
            return self._of_suite(needed)
        if needed.like == STUDENT:
            # Of the run's seed whatever the depth, so that all methods of a run share what they need alike.
            model, seed = self.suite.student, derive_seed(run_seed, STUDENT)
        else:
            spec = self.suite.network(needed.like)
            model, seed = spec.model, derive_seed(spec.seed, needed.like)
            run_seed = seed
        return _Wish(
            needed.method,
            needed.model or model,
            needed.params,
            seed,
            run_seed,
            dropout=needed.dropout,
            epochs_share=needed.epochs_share,
            least_steps=needed.least_steps,
        )

    def _node(self, wish: _Wish, above: tuple[tuple[str, str], ...]) -> Node:
        spec = self.plugins.methods.get(wish.method)
        check_dropout(self._model(wish.model), wish.dropout)
        where = Setting(self.suite.family, self.suite.dataset, wish.model, self.setting)
        resolved = spec.resolve({**self.suite.demanded(spec.parameters.model_fields), **wish.params_passed}, where)
        params = resolved.params
        others = tuple(spec.make(params).architectures())  # a method may refuse parameters that do not go together
        for name in others:
            self._model(name)
        self._check_rate(spec.name, params)
        by_hand = self.suite.by_hand(self.condition)
        tuned = {name: value for name, value in resolved.tuned.items() if name not in by_hand}
        recipe = tuned_recipe(spec.name, self.setting.recipe, tuned)
        budget = wish.epochs_share, wish.least_steps
        facts = json.dumps([wish.model, wish.dropout, *budget, wish.seed, params], sort_keys=True)
        _check_finite((*above, (wish.method, facts)))
        needs = {
            role: self._node(self._wish(needed, wish.run_seed), (*above, (wish.method, facts)))
            for role, needed in spec.needed(params).items()
        }
        return Node(
            spec, wish.model, others, wish.dropout, params, recipe, wish.seed, needs, wish.suite_role,
            resolved.untuned, *budget,
        )  # fmt: skip

    def _check_rate(self, method: str, params: Mapping[str, Any]) -> None:
        """By convention ``noise_rate = None`` is the condition's own rate, and that must be known."""
        if self.setting.noise_unknown and "noise_rate" in params and params["noise_rate"] is None:
            raise KdbenchError(
                f"method '{method}', parameter noise_rate: found none, and how many labels of '{self.suite.dataset}' "
                "are wrong is not known, expected a number in [0, 1)",
                "give it with --set noise_rate=0.2",
            )

    def _model(self, name: str) -> ModelSpec:
        """A model that can be trained on the suite's images as the suite wants it."""
        model, dataset = self.plugins.models.get(name), self.plugins.datasets.get(self.suite.dataset)
        check_image_size(model, dataset.image_size, dataset.name)
        if self.suite.pretrained:
            check_pretrained(model)
        if model.requires is not None:
            model.requires()
        return model


def _check_finite(chain: tuple[tuple[str, str], ...]) -> None:
    names = " needs ".join(method for method, _ in chain)
    if chain[-1] in chain[:-1]:
        raise KdbenchError(f"a network would be needed for its own training: {names}", "break the circle in one needs")
    if len(chain) > DEEPEST:
        raise KdbenchError(f"networks need each other more than {DEEPEST} deep: {names}", "end the chain in one needs")


def tuned_recipe(method: str, recipe: Recipe, tuned: Mapping[str, Any]) -> Recipe:
    """A condition's recipe with what a method tunes of it."""
    values = {**recipe.model_dump(), **tuned}
    if "epochs" in tuned and "milestones" not in tuned:  # the suite's drops, at the same shares of the longer schedule
        values["milestones"] = recipe.moved(tuned["epochs"] / recipe.epochs, tuned["epochs"])
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise KdbenchError(f"method '{method}', recipe {first_problem(error)}", "fix its recipes.toml") from None


def is_extended(recipe: Recipe, standard: Recipe) -> bool:
    """Whether a training's schedule goes beyond what its suite grants."""
    return recipe.epochs > standard.epochs or (
        recipe.epochs == standard.epochs and recipe.milestones != standard.milestones
    )
