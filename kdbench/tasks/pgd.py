"""T3: adversarial accuracy under PGD with k steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from kdbench.attacks import PGDResult, pgd
from kdbench.attacks._starts import starting
from kdbench.data import DataFacts
from kdbench.devices import float64
from kdbench.errors import plain
from kdbench.inference.model import as_float
from kdbench.metrics import wilson_interval
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.results.wording import radius
from kdbench.tasks._reliability import audit_checks, check_gradients, check_large_eps, check_steps, draws, spread
from kdbench.tasks.base import Task, TestData
from kdbench.tasks.context import EvaluationContext
from kdbench.tasks.scorecard import (
    Objection,
    Scorecard,
    as_set,
    at_most,
    conditional,
    excess,
    expected_checks,
    falls_with,
    not_above_unattacked,
    same_check,
)
from kdbench.tasks.settings import MOST, TaskSettings, check_subset
from kdbench.training.seeds import derive_seed

RANKED = "pgd-std"
"""The variant whose accuracy under the most steps is the headline."""
MOST_COUNTS, MOST_VARIANTS = 100, 20
"""Numbers of steps that are scored, and variants: a record's audit looks at each pair."""
Steps = Annotated[int, Field(ge=1, le=MOST)]
START = "uniform"
"""Each restart begins at a random point of the ball."""


class PGD(Task):
    """Accuracy under untargeted L-infinity PGD (Madry et al. 2018; budget and restarts of Arani et al. 2021).

    ``robust_accuracy`` counts over all images, ``conditional_accuracy`` over those classified correctly without an
    attack. Rules: ``worst`` (correct in every restart), ``min-run`` and ``mean`` (the lowest and the mean accuracy of
    single restarts, over images that went through all of them), ``any`` (no iterate of any restart broke it).
    ``accuracy_at_step`` is the accuracy against the number of steps along the first restart: of the iterate itself
    (``last``) and of all up to it (``any``).

    A predictor that answers differently on the same image is attacked with gradients averaged over draws and judged by
    votes over fresh ones; the scores then say how many.
    """

    name = "pgd"
    family = "adversarial"
    version = 2
    shares = frozenset({"robust_accuracy", "conditional_accuracy", "accuracy_at_step", "zero_gradient_share"})
    other_metrics = frozenset()
    lower_is_better = frozenset({"zero_gradient_share"})
    setting_keys = frozenset(
        {"variant", "steps", "rule", "eps", "step_size", "restarts", "start", "gradient_draws", "votes"}
    )

    class Settings(TaskSettings):
        """Budget of the attack and the images it is run on."""

        eps: Annotated[float, Field(ge=0, le=1)] = 0.031
        """Radius of the L-infinity ball."""
        step_sizes: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
            default_factory=lambda: {RANKED: 2 / 255, "pgd-arani": 0.03}, max_length=MOST_VARIANTS
        )
        """Step size of each variant. Arani et al. 2021 print .03, almost the whole budget; 2/255 is the usual choice
        and the one that is ranked."""
        steps: Annotated[tuple[Steps, ...], Field(min_length=1, max_length=MOST_COUNTS)] = (10, 15, 20)
        """Numbers of steps after which accuracies are scored."""
        restarts: Annotated[int, Field(ge=1, le=MOST)] = 5
        """Random starts."""
        subset: Annotated[int, Field(ge=1)] | None = None
        """Test images, stratified; none: all."""
        every_restart: Annotated[int, Field(ge=1)] | None = None
        """Images that go through every restart, which ``min-run`` and ``mean`` need; none: all."""
        large_eps_subset: Annotated[int, Field(ge=1)] = 100
        """Images that the check with a very large eps is made on."""
        gradient_draws: Annotated[int, Field(ge=8, le=MOST)] = 8
        """Forward passes that a gradient is averaged over, for a predictor that is random at test time."""
        votes: Annotated[int, Field(ge=1, le=MOST)] = 32
        """Fresh forward passes that such a predictor is judged by."""
        seed: int = 0
        """Of the starts."""

        @field_validator("step_sizes")
        @classmethod
        def _ranked(cls, found: dict[str, float]) -> dict[str, float]:
            if RANKED not in found:
                raise ValueError(f"found {sorted(found)}, expected {RANKED} among them: it is the one that is ranked")
            return found

    def check_data(self, settings: Any, data: DataFacts) -> None:
        check_subset(self.name, settings, data)

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        full = spread(labels.cpu(), settings.every_restart).to(ctx.device)
        how = draws(predictor, images, settings.gradient_draws, settings.votes, ctx)
        scores = []
        for number, (variant, step_size) in enumerate(settings.step_sizes.items()):
            result = pgd(
                predictor,
                images,
                labels,
                eps=settings.eps,
                step_size=step_size,
                steps=settings.steps,
                restarts=settings.restarts,
                start=START,
                generator=_starts(settings),
                full_restarts=full,
                **how,
            )
            budget = {"eps": settings.eps, "step_size": step_size, "restarts": settings.restarts, "start": START}
            scores += list(_scores(result, {"variant": variant, **budget, **how}, ctx))
            check_steps(result, variant, ctx)
            share = float(result.zero_gradient_share.max())
            check_gradients(share, len(labels), {"variant": variant}, ctx)
            ctx.advance((number + 1) / len(settings.step_sizes))
        few = spread(labels.cpu(), settings.large_eps_subset).to(ctx.device)
        check_large_eps(predictor, images[few], labels[few], how, ctx)
        return scores

    def attacked(
        self,
        score: Score,
        predictor: nn.Module,
        data: TestData,
        index: Tensor,
        rows: Tensor,
        settings: Any,
        device: torch.device,
    ) -> Tensor | None:
        step_size = settings.step_sizes.get(score.setting.get("variant"))
        steps = next((k for k in settings.steps if k == score.setting.get("steps")), None)
        random = "votes" in score.setting  # its draws are not those of a call with other images
        if self.results_key(score) is None or step_size is None or steps is None or random:
            return None
        places = index[rows]
        images = as_float(data.test.images[places].to(device))
        begin = starting(START, images, settings.eps, settings.restarts, _starts(settings))
        result = pgd(
            predictor,
            images,
            data.test.labels[places].to(device),
            eps=settings.eps,
            step_size=step_size,
            steps=steps,
            restarts=settings.restarts,
            start=torch.stack([begin(run, rows, images) for run in range(settings.restarts)]),
            keep_examples=True,
        )
        assert result.examples is not None  # as they are kept
        return result.examples.cpu()

    def headline(self, settings: Any) -> Headline:
        return Headline(
            f"PGD-{max(settings.steps)} ε {radius(settings.eps)}",
            "robust_accuracy",
            {"variant": RANKED, "steps": max(settings.steps), "rule": "worst"},
        )

    def results_key(self, score: Score) -> str | None:
        worst = score.metric == "robust_accuracy" and score.setting.get("rule") == "worst"
        return f"{score.setting.get('variant')}-{score.setting.get('steps')}/correct" if worst else None

    def derives(self, score: Score) -> bool:
        return score.metric == "conditional_accuracy" and score.setting.get("rule") == "worst"

    def audit(self, card: Scorecard) -> Iterator[Objection]:
        variants, counts = sorted(card.settings.step_sizes), card.settings.steps
        for score in card.scores:
            if score.setting.get("variant") not in variants:
                yield Objection(score, "setting", f"no variant of the settings, which are {', '.join(variants)}")
            steps, scored = score.setting.get("steps"), score.metric in ("robust_accuracy", "conditional_accuracy")
            if steps not in (counts if scored else range(max(counts) + 1)):
                found = plain(steps, 20)
                yield Objection(score, "setting", f"{found} steps, which the settings do not score: {list(counts)}")
            yield from as_set(score, _budget(card.settings, str(score.setting.get("variant")), score.metric))
        each = {"zero_gradients": len(variants), "more_steps": len(variants) * (min(counts) < max(counts))}
        yield from expected_checks(card, {"random_model": 1, "large_eps": 1, **each})
        yield from audit_checks(card)
        for variant in variants:
            yield from _gradients(card, variant)
            for k in counts:
                yield from _impossible(card, variant, k)
            for metric in ("robust_accuracy", "conditional_accuracy", "accuracy_at_step"):
                lasting = card.select(metric, variant=variant, rule="any")
                yield from falls_with(lasting, "steps", "an image that was broken stays broken")
            few, many = (card.answers(f"{variant}-{k}/correct") for k in (min(counts), max(counts)))
            if few is None or many is None or few.shape != many.shape:
                continue
            for check in card.checks:
                if check.name == "more_steps" and check.setting.get("variant") == variant:
                    yield from same_check(check, *excess(many, few))


def _budget(settings: Any, variant: str, metric: str) -> dict[str, Any]:
    restarts = 1 if metric == "accuracy_at_step" else settings.restarts
    found = {"eps": settings.eps, "restarts": restarts, "start": START}
    return found | ({"step_size": settings.step_sizes[variant]} if variant in settings.step_sizes else {})


def _starts(settings: Any) -> torch.Generator:
    """On the CPU whatever the device, so that every machine starts at the same points."""
    return torch.Generator().manual_seed(derive_seed(settings.seed, "pgd"))


def _gradients(card: Scorecard, variant: str) -> Iterator[Objection]:
    """The check of vanished gradients is the largest of the shares that are scores."""
    shares = [score.value for score in card.select("zero_gradient_share", variant=variant)]
    for check in card.checks:
        of_variant = check.name == "zero_gradients" and check.setting.get("variant") == variant
        if of_variant and shares and abs(check.value - max(shares)) > 1e-6:
            yield Objection(check, "value", f"{check.value:.6g}, but the largest share of a step is {max(shares):.6g}")


def _impossible(card: Scorecard, variant: str, k: int) -> Iterator[Objection]:
    """What cannot be at one number of steps."""
    robust = card.answers(f"{variant}-{k}/correct")
    for metric in ("robust_accuracy", "conditional_accuracy"):
        rules = {score.setting.get("rule"): score for score in card.select(metric, variant=variant, steps=k)}
        if not {"worst", "any", "min-run", "mean"} <= rules.keys():
            if metric == "robust_accuracy" or rules:
                yield Objection(
                    None, "scores", f"{variant} with {k} steps lacks a rule: found {sorted(map(str, rules))}"
                )
            continue
        worst, mean = rules["worst"], rules["mean"]
        yield from at_most(rules["any"], worst, "'worst' looks at the last iterate, 'any' at each")
        yield from at_most(rules["min-run"], mean, "the lowest of the restarts is no more than their mean")
        if worst.n == mean.n:
            yield from at_most(worst, rules["min-run"], "the worst case of all restarts is no more than one of them")
        elif worst.ci_low > mean.ci_high:
            yield Objection(worst, "value", f"{worst.value:.6g} in the worst case, {mean.value:.6g} in the mean")
        if metric == "robust_accuracy":
            yield from not_above_unattacked(card, worst, robust)
        else:
            yield from conditional(card, worst, robust)
    for last in card.select("accuracy_at_step", variant=variant, steps=k, rule="last"):
        for lasting in card.select("accuracy_at_step", variant=variant, steps=k, rule="any"):
            yield from at_most(lasting, last, "'any' counts all iterates up to the one of 'last'")


def _scores(result: PGDResult, how: dict[str, Any], ctx: EvaluationContext) -> Iterator[Score]:
    clean, full = result.clean_correct.cpu(), result.full_index.cpu()
    for k in result.robust:
        setting = {"variant": how["variant"], "steps": k}
        robust = result.robust[k].cpu()
        ctx.keep(f"{how['variant']}-{k}/correct", robust)
        for rule, survived in (("worst", robust), ("any", result.survived[k].cpu())):
            whole = {**setting, "rule": rule, **how}
            yield ctx.share("robust_accuracy", survived, setting=whole)
            if clean.any():
                yield ctx.share("conditional_accuracy", survived[clean], setting=whole)
        runs = result.run_correct[k].cpu()
        yield from _run_scores(ctx, "robust_accuracy", runs, setting, how)
        if clean[full].any():
            yield from _run_scores(ctx, "conditional_accuracy", runs[:, clean[full]], setting, how)
    yield from _curves(result, how, ctx)


def _curves(result: PGDResult, how: dict[str, Any], ctx: EvaluationContext) -> Iterator[Score]:
    """What comes free with a trajectory: accuracy against steps, and the share of vanished gradients at each."""
    standing, variant = torch.ones(result.first_run.shape[1], dtype=torch.bool), how["variant"]
    for k, correct in enumerate(result.first_run.cpu()):
        standing &= correct
        for rule, right in (("last", correct), ("any", standing)):
            setting = {"variant": variant, "steps": k, "rule": rule, **how, "restarts": 1}
            yield ctx.share("accuracy_at_step", right, setting=setting)
    for step, (zeros, stepped) in enumerate(zip(result.zero_gradients.tolist(), result.stepped.tolist(), strict=True)):
        if stepped:  # restarts of one image are no new examples
            n = min(stepped, len(standing))
            yield ctx.score(
                "zero_gradient_share", zeros / stepped, n, wilson_interval(zeros / stepped * n, n),
                setting={"variant": variant, "steps": step + 1, **how}, higher_is_better=False,
            )  # fmt: skip


def _run_scores(
    ctx: EvaluationContext, metric: str, runs: Tensor, setting: dict[str, Any], how: dict[str, Any]
) -> Iterator[Score]:
    """``min-run`` and ``mean`` from bool (restarts, n); restarts of one image are no new examples, so n stays n."""
    shares, n = float64(runs).mean(1), runs.shape[1]
    for rule, share in (("min-run", shares.min().item()), ("mean", shares.mean().item())):
        yield ctx.score(metric, share, n, wilson_interval(share * n, n), setting={**setting, "rule": rule, **how})
