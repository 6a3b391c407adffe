"""Any registered attack, on demand: no part of a standard suite."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from kdbench.attacks import find_attack, run
from kdbench.data import DataFacts
from kdbench.errors import KdbenchError
from kdbench.inference.order import mixed
from kdbench.plugin.parameters import as_assignments, parse_assignments
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.results.wording import radius
from kdbench.specs import Suite, TaskPlan
from kdbench.tasks._reliability import (
    audit_checks,
    check_ball,
    check_gradients,
    check_large_eps,
    check_tier,
    draws,
    spread,
)
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.pgd import PGD
from kdbench.tasks.scorecard import Objection, Scorecard, conditional, expected_checks, not_above_unattacked
from kdbench.tasks.settings import MOST, TaskSettings, check_subset


class Attack(Task):
    """Accuracy under attacks by name (L-infinity, white box); `kdbench list attacks` shows them.

    ``robust_accuracy`` counts images that are right both unattacked and attacked, over all; ``conditional_accuracy``
    over those that are right unattacked. Each attack has its own options, such as steps and restarts, which its scores
    say. Every example is clipped to the ball and judged here; a check says whether
    clipping undid the attack, as one of another norm. A model that is random at test time is attacked through averaged
    gradients and judged by votes, and its scores say so. Of an attack that follows gradients two checks say whether the
    model lets it, and of a fast tier one whether the whole attack breaks what it left standing, on some images.
    """

    name = "attack"
    family = "adversarial"
    version = 3
    shares = frozenset({"robust_accuracy", "conditional_accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()

    class Settings(TaskSettings):
        """Which attacks, their budget and the images they are run on."""

        attacks: Annotated[tuple[str, ...], Field(min_length=1, max_length=100, description="names")] = ("apgd",)
        options: dict[str, dict[str, Any]] = Field(default={}, description="options, by the attack's name")
        eps: Annotated[float, Field(ge=0, le=1)] = 0.031
        """Radius of the L-infinity ball."""
        subset: Annotated[int, Field(ge=1)] | None = 1000
        """Test images, stratified; none: all."""
        large_eps_subset: Annotated[int, Field(ge=1)] = 100
        """Images that the check with a very large eps is made on."""
        tier_subset: Annotated[int, Field(ge=1)] = 10
        """Images that a fast tier left standing and the whole attack is run on, for a check."""
        gradient_draws: Annotated[int, Field(ge=8, le=MOST)] = 20
        """Forward passes that a gradient is averaged over, for a predictor that is random at test time."""
        votes: Annotated[int, Field(ge=1, le=MOST)] = 32
        """Fresh forward passes that such a predictor is judged by."""
        seed: Annotated[int, Field(ge=0)] = 0
        """Of all that attacks draw."""

    def prepare(self, settings: Any) -> None:
        for name in settings.attacks:
            attack = find_attack(name)
            attack.check(settings.options.get(name, {}))
            if attack.tier_of:
                find_attack(attack.tier_of).check({})
        idle = sorted(set(settings.options) - set(settings.attacks))
        if idle:
            raise KdbenchError(
                f"task '{self.name}' has options for '{idle[0]}', which is not among its attacks",
                f"its attacks are {', '.join(settings.attacks)}",
            )

    def attack_names(self, settings: Any) -> Iterator[str]:
        for name in settings.attacks:
            yield name
            if tier_of := find_attack(name).tier_of:
                yield tier_of

    def check_data(self, settings: Any, data: DataFacts) -> None:
        check_subset(self.name, settings, data)
        for name in settings.attacks:
            find_attack(name).check_classes(settings.options.get(name, {}), len(data.class_names))

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        how = draws(predictor, images, settings.gradient_draws, settings.votes, ctx)
        budget = {"eps": settings.eps, "seed": settings.seed, "gradient_draws": 1, "votes": 1, **how}
        names = tuple(dict.fromkeys(settings.attacks))
        scores, following = [], []
        for number, name in enumerate(names):
            attack = find_attack(name)
            result = run(attack, predictor, images, labels, options=settings.options.get(name), **budget)
            clean, robust = result.clean_correct.cpu(), result.robust.cpu()
            ctx.keep(f"{name}/correct", robust)
            scores.append(ctx.share("robust_accuracy", robust, setting=result.setting))
            if clean.any():
                scores.append(ctx.share("conditional_accuracy", robust[clean], setting=result.setting))
            if result.outside_share is not None:
                check_ball(result.outside_share, result.candidates, {"attack": name}, ctx)
            if result.zero_gradient_share is not None and not attack.gradient_free:
                following.append({"attack": name})
                check_gradients(result.zero_gradient_share, len(images), following[-1], ctx)
            if attack.tier_of and bool(robust.any()):
                few = mixed(result.robust)[: settings.tier_subset]
                check_tier(run(attack.tier_of, predictor, images[few], labels[few], **budget), {"attack": name}, ctx)
            ctx.advance((number + 1) / len(names))
        if following:
            few = spread(labels.cpu(), settings.large_eps_subset).to(ctx.device)
            check_large_eps(predictor, images[few], labels[few], how, ctx, following)
        return scores

    def command_words(self, settings: Mapping[str, Any]) -> list[str]:
        attacks, options = settings.get("attacks"), settings.get("options")
        words = []
        for name in attacks if isinstance(attacks, list | tuple) else ():
            own = options.get(name) if isinstance(options, dict) and isinstance(name, str) else None
            words += ["--attack", shlex.join([str(name), *(as_assignments(own) if isinstance(own, dict) else [])])]
        return words

    def headline(self, settings: Any) -> Headline:
        first = settings.attacks[0]
        return Headline(
            f"{first} ε {radius(settings.eps)}", "robust_accuracy", {"attack": first}, listed=frozenset({"attack"})
        )

    def results_key(self, score: Score) -> str | None:
        return f"{score.setting.get('attack')}/correct" if score.metric == "robust_accuracy" else None

    def derives(self, score: Score) -> bool:
        return score.metric == "conditional_accuracy"

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        yield from expected_checks(card, {"random_model": 1})
        yield from audit_checks(card)
        for score in card.scores:
            if score.setting.get("attack") not in card.settings.attacks:
                attacks = ", ".join(card.settings.attacks)
                yield Objection(score, "setting", f"no attack of the settings, which are {attacks}")
            robust = card.answers(f"{score.setting.get('attack')}/correct")
            if score.metric == "robust_accuracy":
                yield from not_above_unattacked(card, score, robust)
            elif score.metric == "conditional_accuracy":
                yield from conditional(card, score, robust)


def with_attacks(
    suite: Suite, tasks: Iterable[str] | None, attacks: Iterable[str] | None, *, everywhere: bool = False
) -> tuple[Suite, list[str] | None]:
    """The suite with the task ``attack`` of these attacks, and the named tasks with that one among them.

    Settings that the suite has for the task stay, and so do its conditions; a suite without it attacks where it plans
    ``pgd``, or under every condition where it doesn't plan that either. Order and repetition of the names make no other
    suite. Without a name both come back as they are.

    Args:
        suite: what was asked for otherwise.
        tasks: names of tasks; None: all of the suite's.
        attacks: names of attacks, each with options of its own behind it where wanted: "pgd steps=50 objective=dlr".
        everywhere: attack under every condition.
    """
    wanted = None if tasks is None else list(tasks)
    asked = dict(_with_options(text) for text in ([attacks] if isinstance(attacks, str) else attacks or ()))
    if not asked:
        return suite, wanted
    like = suite.tasks.get(Attack.name) or suite.tasks.get(PGD.name) or TaskPlan()
    settings = dict(suite.tasks[Attack.name].settings) if Attack.name in suite.tasks else {}
    settings["attacks"] = sorted(asked)
    options = {name: {**settings.get("options", {}).get(name, {}), **asked[name]} for name in sorted(asked)}
    settings["options"] = {name: table for name, table in options.items() if table}
    if not settings["options"]:
        del settings["options"]
    plan = TaskPlan(conditions=None if everywhere else like.conditions, settings=settings)
    suite = suite.model_copy(update={"tasks": {**suite.tasks, Attack.name: plan}})
    return suite, wanted if wanted is None or Attack.name in wanted else [*wanted, Attack.name]


def _with_options(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of an attack as they are asked for.

    >>> _with_options("pgd steps=50 objective=dlr")
    ('pgd', {'steps': 50, 'objective': 'dlr'})
    """
    try:
        name, *assignments = shlex.split(text)
    except ValueError:  # no word, or a quotation mark that stands alone
        raise KdbenchError(
            f"attack '{text}' can't be read", "write a name, or a name and options: 'pgd steps=50'"
        ) from None
    return name, parse_assignments(f"attack {name}", assignments)
