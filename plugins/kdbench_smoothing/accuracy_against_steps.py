"""Accuracy against the number of attack steps, at several radii, as Katz & Reches 2022 plot it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_smoothing.single_draws import TaskSettings, check_draws, how_judged, single


class AccuracyAgainstSteps(kdbench.Task):
    """Accuracy under PGD from the image itself after 0, 1, ... steps, at several radii (Katz & Reches 2022, Figs 4-6).

    Rule ``cumulative``, the paper's: an image counts as broken once a single forward pass misclassifies an iterate;
    errors of a random network add up. Rule ``independent``: by votes over fresh draws at that iterate alone, whatever
    was before. Of a network that is not random the two differ only where a later iterate sets an image right. A random
    network is attacked through single draws, and what its own smoothing says of it is not used.

    With zero start and step size .006, 10 steps move no pixel by more than .06 = 15.3/255: at the published radius of
    30/255 that is the radius, and ``reach`` of a score says so.
    """

    name = "accuracy_against_steps"
    shares = frozenset({"accuracy"})
    lower_is_better = frozenset()

    class Settings(TaskSettings):
        """Budget of the attack and the images it is run on."""

        radii: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)] = (
            2 / 255, 8 / 255, 30 / 255,
        )  # fmt: skip
        """Of the L-infinity ball, each by itself, whatever budget the suite has."""
        step_size: Annotated[float, Field(gt=0, le=1)] = 0.006
        """Of one step of the attack."""
        steps: Annotated[int, Field(ge=1)] = 10
        """Steps of the attack; accuracy is given after each number of steps from 0."""
        subset: Annotated[int, Field(ge=1)] | None = 1000
        """Test images, stratified; none: all."""
        gradient_draws: Annotated[int, Field(ge=1)] = 8
        """Forward passes that a gradient is averaged over, on a random network; the paper has 1, which a check says."""
        votes: Annotated[int, Field(ge=1)] = 32
        """Fresh forward passes of rule ``independent``, for a random network; the paper's M is 512."""

    def evaluate(
        self, predictor: nn.Module, data: kdbench.TestData, ctx: kdbench.EvaluationContext
    ) -> list[kdbench.Score]:
        settings = ctx.settings
        images, labels = ctx.part(data.test, settings.subset)
        network = single(predictor)
        how = how_judged(network, images, settings.gradient_draws, settings.votes)
        check_draws(how, len(labels), ctx)
        scores: list[kdbench.Score] = []
        for number, eps in enumerate(dict.fromkeys(settings.radii)):
            result = kdbench.attacks.pgd(
                network, images, labels, eps=eps, step_size=settings.step_size, steps=range(settings.steps + 1),
                start="zero", **how,
            )  # fmt: skip
            scores += _scores(
                result.robust,
                result.first_run,
                {"eps": eps, "step_size": settings.step_size, "start": "zero", **how},
                ctx,
            )
            ctx.advance((number + 1) / len(settings.radii))
        return scores

    def results_key(self, score: kdbench.Score) -> str | None:
        eps, rule, steps = (score.setting.get(key) for key in ("eps", "rule", "steps"))
        return f"{eps}/{rule}-{steps}/correct"


def _scores(
    judged: Mapping[int, Tensor], walked: Tensor, how: dict[str, Any], ctx: kdbench.EvaluationContext
) -> Iterator[kdbench.Score]:
    """``judged``: steps to bool (n,), right by votes; ``walked``: bool (steps + 1, n), right in one forward pass."""
    standing = torch.ones(walked.shape[1], dtype=torch.bool)
    for k, correct in judged.items():
        standing = standing & walked[k].cpu()
        for rule, right in (("cumulative", standing), ("independent", correct.cpu())):
            ctx.keep(f"{how['eps']}/{rule}-{k}/correct", right)
            setting = {**how, "rule": rule, "steps": k, "reach": min(how["eps"], k * how["step_size"])}
            yield ctx.share("accuracy", right, setting=setting)
