"""Attacks of other people's libraries, on demand: no part of a standard suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from kdbench.attacks import check_attack, library_attack
from kdbench.errors import KdbenchError
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Suite, TaskPlan
from kdbench.tasks import base
from kdbench.tasks.base import EvaluationContext, Task, TestData
from kdbench.tasks.pgd import PGD
from kdbench.tasks.scorecard import Objection, Scorecard, conditional, not_above_unattacked


class Attack(Task):
    """Accuracy under attacks of pyautoattack and torchattacks (L-infinity, white box).

    Names: ``autoattack`` (Croce & Hein 2020, version standard), ``apgd`` (its APGD-CE and APGD-T alone, a small part of
    the time), ``torchattacks:PGD`` or any other class of that package. A model that is random at test time gets
    AutoAttack's version rand, and its scores say so. Every example is clipped to the ball, also that of an attack under
    another norm, and judged here. ``robust_accuracy`` counts images that are right both unattacked and attacked, over
    all; ``conditional_accuracy`` over those that are right unattacked.
    """

    name = "attack"
    shares = frozenset({"robust_accuracy", "conditional_accuracy"})

    class Settings(base.Settings):
        """Which attacks, their budget and the images they are run on."""

        attacks: Annotated[tuple[str, ...], Field(min_length=1, description="names, see above")] = ("apgd",)
        eps: Annotated[float, Field(ge=0, le=1)] = 0.031
        subset: Annotated[int, Field(ge=1)] | None = 1000
        """Test images, stratified; None: all."""
        seed: Annotated[int, Field(ge=0)] = 0
        options: dict[str, dict[str, Any]] = Field(default={}, description="keyword arguments, by the attack's name")

    def prepare(self, settings: Any) -> None:
        for name in settings.attacks:
            check_attack(name, settings.options.get(name))
        idle = sorted(set(settings.options) - set(settings.attacks))
        if idle:
            raise KdbenchError(
                f"task '{self.name}' has options for '{idle[0]}', which is not among its attacks",
                f"its attacks are {', '.join(settings.attacks)}",
            )

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        names = tuple(dict.fromkeys(settings.attacks))
        scores = []
        for number, name in enumerate(names):
            budget = {"eps": settings.eps, "seed": settings.seed, "options": settings.options.get(name)}
            result = library_attack(name, predictor, images, labels, **budget)
            clean, robust = result.clean_correct.cpu(), result.robust.cpu()
            ctx.keep(f"{name}/correct", robust)
            setting = {"attack": name} | ({"version": "rand"} if result.tier == "rand" else {})
            scores.append(ctx.share("robust_accuracy", robust, setting=setting))
            if clean.any():
                scores.append(ctx.share("conditional_accuracy", robust[clean], setting=setting))
            ctx.advance((number + 1) / len(names))
        return scores

    def headline(self, settings: Any) -> Headline:
        first = settings.attacks[0]
        return Headline(first, "robust_accuracy", {"attack": first}, listed=frozenset({"attack"}))

    def results_key(self, score: Score) -> str | None:
        return f"{score.setting.get('attack')}/correct" if score.metric == "robust_accuracy" else None

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        for score in card.scores:
            robust = card.array(f"{score.setting.get('attack')}/correct")
            if score.metric == "robust_accuracy":
                yield from not_above_unattacked(card, score, robust)
            elif score.metric == "conditional_accuracy" and "version" not in score.setting:
                yield from conditional(card, score, robust)


def with_attacks(
    suite: Suite, tasks: Iterable[str] | None, attacks: Iterable[str] | None, *, everywhere: bool = False
) -> tuple[Suite, list[str] | None]:
    """The suite with the task ``attack`` of these names, and the named tasks with that one among them.

    Settings that the suite has for the task stay, and so do its conditions; a suite without it attacks where it plans
    ``pgd``, or under every condition where it doesn't plan that either. Order and repetition of the names make no other
    suite. Without a name both come back as they are.

    Args:
        suite: what was asked for otherwise.
        tasks: names of tasks; None: all of the suite's.
        attacks: names of attacks.
        everywhere: attack under every condition.
    """
    wanted = None if tasks is None else list(tasks)
    names = {attacks} if isinstance(attacks, str) else set(attacks or ())
    if not names:
        return suite, wanted
    like = suite.tasks.get(Attack.name) or suite.tasks.get(PGD.name) or TaskPlan()
    settings = dict(suite.tasks[Attack.name].settings) if Attack.name in suite.tasks else {}
    settings["attacks"] = sorted(names)
    if "options" in settings:
        settings["options"] = {name: table for name, table in settings["options"].items() if name in names}
    plan = TaskPlan(conditions=None if everywhere else like.conditions, settings=settings)
    suite = suite.model_copy(update={"tasks": {**suite.tasks, Attack.name: plan}})
    return suite, wanted if wanted is None or Attack.name in wanted else [*wanted, Attack.name]
