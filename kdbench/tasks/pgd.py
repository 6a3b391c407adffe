"""T3: adversarial accuracy under PGD with k steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdbench.attacks import PGDResult, pgd
from kdbench.data import stratified_subset
from kdbench.metrics import wilson_interval
from kdbench.records import Score
from kdbench.tasks import base
from kdbench.tasks.base import EvaluationContext, Task, TestData
from kdbench.training import derive_seed

VARIANTS = {"pgd-std": 2 / 255, "pgd-arani": 0.03}
"""Step size of each variant. Arani et al. 2021 print .03, almost the whole budget; 2/255 is the usual choice and the
one that is ranked."""


class PGD(Task):
    """Accuracy under untargeted L-infinity PGD (Madry et al. 2018; budget and restarts of Arani et al. 2021).

    ``robust_accuracy`` counts over all images, ``conditional_accuracy`` over those classified correctly without an
    attack. Rules: ``worst`` (correct in every restart), ``min-run`` and ``mean`` (the lowest and the mean accuracy of
    single restarts, over images that went through all of them), ``any`` (no iterate of any restart broke it).
    """

    name = "pgd"

    class Settings(base.Settings):
        """Budget of the attack and the images it is run on."""

        eps: Annotated[float, Field(ge=0, le=1)] = 0.031
        steps: tuple[Annotated[int, Field(ge=1)], ...] = (10, 15, 20)
        restarts: Annotated[int, Field(ge=1)] = 5
        subset: Annotated[int, Field(ge=1)] | None = None
        every_restart: Annotated[int, Field(ge=1)] | None = None
        """Images that go through every restart, which ``min-run`` and ``mean`` need; None: all."""
        seed: int = 0

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        settings = ctx.settings
        index = ctx.subset(data.test, settings.subset)
        images, labels = data.test.images[index], data.test.labels[index]
        full = _spread(labels, settings.every_restart)
        scores = []
        for number, (variant, step_size) in enumerate(VARIANTS.items()):
            result = pgd(
                predictor,
                images.to(ctx.device),
                labels.to(ctx.device),
                eps=settings.eps,
                step_size=step_size,
                steps=settings.steps,
                restarts=settings.restarts,
                # On the CPU whatever the device, so that every machine starts at the same points.
                generator=torch.Generator().manual_seed(derive_seed(settings.seed, "pgd")),
                full_restarts=full.to(ctx.device),
            )
            scores += list(self._scores(result, variant, ctx))
            ctx.advance((number + 1) / len(VARIANTS))
        return scores

    def _scores(self, result: PGDResult, variant: str, ctx: EvaluationContext) -> Iterator[Score]:
        clean, full = result.clean_correct.cpu(), result.full_index.cpu()
        for k in result.robust:
            setting: dict[str, str | int] = {"variant": variant, "steps": k}
            robust = result.robust[k].cpu()
            ctx.keep(f"{variant}-{k}/correct", robust)
            for rule, survived in (("worst", robust), ("any", result.survived[k].cpu())):
                yield ctx.share("robust_accuracy", survived, setting={**setting, "rule": rule})
                if clean.any():
                    yield ctx.share("conditional_accuracy", survived[clean], setting={**setting, "rule": rule})
            runs = result.run_correct[k].cpu()
            yield from _run_scores(ctx, "robust_accuracy", runs, setting)
            if clean[full].any():
                yield from _run_scores(ctx, "conditional_accuracy", runs[:, clean[full]], setting)
        masked = result.zero_gradient_share.max().item() if len(result.zero_gradient_share) else 0.0
        yield ctx.score(
            "zero_gradient_share", masked, len(clean), wilson_interval(masked * len(clean), len(clean)),
            setting={"variant": variant}, higher_is_better=False,
        )  # fmt: skip


def _run_scores(ctx: EvaluationContext, metric: str, runs: Tensor, setting: dict[str, str | int]) -> Iterator[Score]:
    """``min-run`` and ``mean`` from bool (restarts, n); restarts of one image are no new examples, so n stays n."""
    shares, n = runs.double().mean(1), runs.shape[1]
    for rule, share in (("min-run", shares.min().item()), ("mean", shares.mean().item())):
        yield ctx.score(metric, share, n, wilson_interval(share * n, n), setting={**setting, "rule": rule})


def _spread(labels: Tensor, size: int | None) -> Tensor:
    """Positions of a stratified part of the attacked images: bool (N,)."""
    mask = torch.ones(len(labels), dtype=torch.bool)
    if size is not None and size < len(labels):
        mask[:] = False
        mask[stratified_subset(labels, size, base.SUBSET_SEED)] = True
    return mask
