"""T5: accuracy on adversarial examples that were made on another network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from kdbench.attacks import is_random, transfer
from kdbench.data import DataFacts
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.results.wording import radius
from kdbench.tasks._reliability import audit_checks, check_transfer, draws
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import (
    Objection,
    Scorecard,
    as_set,
    conditional,
    excess,
    expected_checks,
    not_above_unattacked,
    same_check,
)
from kdbench.tasks.settings import MOST, TaskSettings, check_subset

RULE = {"restarts": 1, "start": "zero", "iterate": "best"}
"""Of ``kdbench.attacks.transfer``, as a score says it."""


class Transfer(Task):
    """Accuracy of the student on PGD examples made on each source network (Katz & Reches 2022, Table 3).

    The attack: zero start, per image the iterate with the lowest probability of the true class. Sources are the
    suite's teacher and its independently trained reference student; ``self`` is the white-box diagonal, which a check
    compares the others with.
    """

    name = "transfer"
    beside = "clean"
    caution = (
        "A student that does not resemble the networks the examples were made on gets them right whatever it resists: "
        "read it beside clean accuracy."
    )
    version = 2
    shares = frozenset({"accuracy", "conditional_accuracy"})
    other_metrics = frozenset()
    lower_is_better = frozenset()
    setting_keys = frozenset({"source", "eps", "step_size", "steps", *RULE, "gradient_draws", "votes"})

    class Settings(TaskSettings):
        """Sources and budget of the attack."""

        sources: Annotated[tuple[str, ...], Field(max_length=100)] = ("teacher", "reference")
        """Roles of the suite's networks that examples are made on, beside the student itself."""
        eps: Annotated[float, Field(ge=0, le=1)] = 8 / 255
        """Radius of the L-infinity ball."""
        step_size: Annotated[float, Field(gt=0, le=1)] = 0.006
        """Of one step of the attack."""
        steps: Annotated[int, Field(ge=1, le=MOST)] = 10
        """Steps of the attack."""
        subset: Annotated[int, Field(ge=1)] | None = None
        """Test images, stratified; none: all."""
        gradient_draws: Annotated[int, Field(ge=8, le=MOST)] = 8
        """Forward passes that a gradient is averaged over, on a source that is random at test time."""
        votes: Annotated[int, Field(ge=1, le=MOST)] = 32
        """Fresh forward passes that a student is judged by that is."""

    def sources(self, settings: Any) -> Iterable[str]:
        return tuple(settings.sources)

    def check_data(self, settings: Any, data: DataFacts) -> None:
        check_subset(self.name, settings, data)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        budget = _budget(settings)
        judged = draws(predictor, images, settings.gradient_draws, settings.votes, ctx)
        sources = {**{role: ctx.networks[role] for role in settings.sources}, "self": predictor}
        scores, robust = [], {}
        for number, (role, source) in enumerate(sources.items()):
            how = {key: value for key, value in judged.items() if key == "votes"}
            if bool(judged) if source is predictor else is_random(source, images):
                how["gradient_draws"] = settings.gradient_draws
            kept = None if "gradient_draws" in how else ctx.kept.get(role)  # random examples are other ones each time
            result = transfer(source, predictor, images, labels, kept=kept, **budget, **how)
            clean, adversarial = result.clean_correct.cpu(), result.adversarial_correct.cpu()
            robust[role] = adversarial
            ctx.keep(f"{role}/correct", adversarial)
            setting = {"source": role, **budget, **RULE, **how}
            scores.append(ctx.share("accuracy", adversarial, setting=setting))
            if clean.any():
                scores.append(ctx.share("conditional_accuracy", adversarial[clean], setting=setting))
            ctx.advance((number + 1) / len(sources))
        for role in settings.sources:
            check_transfer(role, robust[role], robust["self"], ctx)
        return scores

    def headline(self, settings: Any) -> Headline:
        title = f"transfer ε {radius(settings.eps)}"
        return Headline(title, "accuracy", {"source": settings.sources[0] if settings.sources else "self"})

    def results_key(self, score: Score) -> str | None:
        return f"{score.setting.get('source')}/correct" if score.metric == "accuracy" else None

    def derives(self, score: Score) -> bool:
        return score.metric == "conditional_accuracy"

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        sources = card.settings.sources
        yield from expected_checks(card, {"random_model": 1, "transfer": len(sources)})
        yield from audit_checks(card)
        for score in card.scores:
            if score.setting.get("source") not in (*sources, "self"):
                yield Objection(score, "setting", f"no source of the settings, which are {', '.join(sources)}")
            yield from as_set(score, {**_budget(card.settings), **RULE})
            adversarial = card.answers(f"{score.setting.get('source')}/correct")
            if score.metric == "accuracy":
                yield from not_above_unattacked(card, score, adversarial)
            elif score.metric == "conditional_accuracy":
                yield from conditional(card, score, adversarial)
        white_box = card.answers("self/correct")
        for role, check in zip(sources, [check for check in card.checks if check.name == "transfer"], strict=False):
            transferred = card.answers(f"{role}/correct")
            if white_box is not None and transferred is not None and white_box.shape == transferred.shape:
                yield from same_check(check, *excess(white_box, transferred))


def _budget(settings: Any) -> dict[str, Any]:
    return {"eps": settings.eps, "step_size": settings.step_size, "steps": settings.steps}
