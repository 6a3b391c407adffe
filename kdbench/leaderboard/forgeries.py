"""What no run leaves: longer training than the suite grants, another method's fingerprint, noise that did nothing.

Rules as those of ``kdbench.leaderboard.rules``: of what a record states and its evidence cannot show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kdbench.errors import KdbenchError, plain
from kdbench.leaderboard.case import Case, Finding
from kdbench.leaderboard.staleness import computation
from kdbench.methods.method import MethodSpec
from kdbench.methods.recipes import EXTENDED, TUNABLE, Setting
from kdbench.results.untrusted import Where
from kdbench.running.needs import is_extended, tuned_recipe
from kdbench.specs import Recipe

LEAST: Final = 0.25
"""Of the nominal rate of label noise: the smallest share of wrong labels that a kind here makes of it is a bit less
than half, as the asymmetric ones of CIFAR-10 change five of ten classes."""


def recipes(case: Case) -> Iterator[Finding]:
    """Each student was trained as its suite says, but for what a method may tune; the budget says whether longer."""
    record = case.record
    for condition, recipe in record.spec.recipes.items():
        if condition not in record.spec.suite.conditions:
            continue
        where: Where = ("spec", "recipes", condition)
        standard = _on_that_device(record.spec.suite.conditions[condition].recipe, recipe)
        for field in sorted(set(Recipe.model_fields) - {*TUNABLE, *EXTENDED}):
            ours, theirs = getattr(standard, field), getattr(recipe, field)
            if ours != theirs:
                yield (*where, field), f"{theirs}, but the suite says {ours}, and no method may change it", "error"
        if record.budget == "standard" and is_extended(recipe, standard):
            text = f"{recipe.epochs} epochs, milestones {list(recipe.milestones)}: more than the suite's"
            yield (*where, "epochs"), f"{text} {standard.epochs}, so the budget is extended, not standard", "error"
        method = _same_method(case)
        if method is not None:
            yield from _as_resolved(case, method, condition, where)


def _on_that_device(standard: Recipe, found: Recipe) -> Recipe:
    """A suite's recipe with the precision that its ``auto`` became for a record."""
    return standard.model_copy(update={"precision": found.precision}) if standard.precision == "auto" else standard


def _same_method(case: Case) -> MethodSpec | None:
    """The method, where it is installed here from the very source of the record."""
    found = case.plugins.methods.find(case.record.spec.method)
    same = found is not None and found.source == case.record.spec.method_source
    return found if same and case.record.evaluated is None else None


def _as_resolved(case: Case, method: MethodSpec, condition: str, where: Where) -> Iterator[Finding]:
    """Of the same source, parameters and recipe are what the method makes of what was passed."""
    record, suite = case.record, case.record.spec.suite
    setting = suite.conditions[condition]
    place = Setting(suite.family, suite.dataset, suite.student, setting)
    passed = {**suite.demanded(method.parameters.model_fields), **record.params_passed}
    try:
        resolved = method.resolve(passed, place)
        tuned = {name: value for name, value in resolved.tuned.items() if name not in suite.by_hand(condition)}
        wanted = tuned_recipe(method.name, _on_that_device(setting.recipe, record.spec.recipes[condition]), tuned)
    except KdbenchError as error:
        yield ("params_passed",), error.message, "error"
        return
    if record.spec.params.get(condition) != _as_json(resolved.params):
        yield (
            ("spec", "params", condition),
            f"not what '{method.name}' makes of the parameters that were passed",
            "error",
        )
    if record.spec.recipes[condition] != wanted:
        differing = [
            name
            for name in Recipe.model_fields
            if getattr(wanted, name) != getattr(record.spec.recipes[condition], name)
        ]
        text = f"'{method.name}' trains with {getattr(wanted, differing[0])} there"
        yield (*where, differing[0]), text, "error"


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a record has them: JSON has lists alone."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def fingerprint(case: Case) -> Iterator[Finding]:
    """A record of the source that is installed here has that method's fingerprint."""
    method = _same_method(case)
    if method is None or case.record.fingerprint is None:
        return
    found = computation(case.record, method)
    if found.verdict == "other":
        text = f"of another method than '{method.name}', whose source is the one here: {found.why}"
        yield ("fingerprint",), text, "error"


def noise_did_something(case: Case) -> Iterator[Finding]:
    """Label noise makes about as many labels wrong as its rate says: never none, and never more."""
    spec = case.record.spec
    for name, facts in case.record.hashes.label_noise.items():
        condition, dataset = spec.suite.conditions.get(name), case.plugins.datasets.find(spec.suite.dataset)
        rate = facts.rate or 0.0  # kinds whose labels exist already have none
        if condition is None or not rate:
            continue
        images = condition.train_size or (dataset.train_images if dataset is not None else None) or 100
        chance = 5 * math.sqrt(rate * (1 - rate) / images) + 1 / images
        if not LEAST * rate - chance <= facts.realised <= rate + chance or not facts.realised:
            text = f"{facts.realised:.4g} of the labels are wrong, where '{plain(facts.kind)}' was to make {rate:.4g}"
            yield ("hashes", "label_noise", name, "realised"), text, "error"
