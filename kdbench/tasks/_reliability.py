"""What a careful reviewer asks before believing an adversarial accuracy, as checks of a record.

After Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 5, and Athalye et al. 2018, "Obfuscated
Gradients Give a False Sense of Security".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.attacks import AttackResult, PGDResult, is_random, pgd
from kdbench.data import stratified_subset
from kdbench.inference.randomness import SAMPLE
from kdbench.tasks.context import SUBSET_SEED, EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard, excess

LARGE_EPS = 0.5
"""Half of the pixel range: every image can become plain grey."""
ZERO_GRADIENTS = 0.01
"""Share of vanished gradients from which an attack's result means little."""

OUTSIDE_BALL = 0.1
"""Share of candidates far outside the ball from which an attack's result means little."""

LIMITS = {
    "random_model": 1.0,
    "large_eps": 0.0,
    "zero_gradients": ZERO_GRADIENTS,
    "outside_ball": OUTSIDE_BALL,
    "tier": 0.0,
}
"""Check to the largest value that passes, whatever a record says; those of other checks depend on the examples."""


def audit_checks(card: Scorecard) -> Iterator[Objection]:
    """Checks of a record have the limits that they are made with, and say what the scores beside them say."""
    voted = any("votes" in score.setting for score in card.scores)
    for check in card.checks:
        limit = LIMITS.get(check.name, check.limit)
        if check.limit != limit:
            yield Objection(check, "limit", f"{check.limit:.6g}, but '{check.name}' passes up to {limit:.6g}")
        if check.name == "random_model" and voted and not check.value:
            yield Objection(check, "value", "0, but the scores are votes: of a model that is random")


def draws(
    predictor: nn.Module, images: Tensor, gradient_draws: int, votes: int, ctx: EvaluationContext
) -> dict[str, Any]:
    """How a predictor that is random at test time is attacked and judged, {} for one that is not; recorded.

    Gradients are averaged over ``gradient_draws`` forward passes (expectation over transformation) and the class is
    that of most of ``votes`` fresh ones. ``images`` are all that are attacked, of which a sample is looked at. The
    check says what was found and never fails: the scores say how they were measured.
    """
    random = is_random(predictor, images)
    how = {"gradient_draws": gradient_draws, "votes": votes} if random else {}
    ctx.check(
        "random_model", float(random), limit=1.0, n=min(SAMPLE, len(images)), setting=dict(how),
        meaning="it answers differently on the same image: attacked through averaged gradients, judged by votes",
    )  # fmt: skip
    return how


def spread(labels: Tensor, size: int | None) -> Tensor:
    """Positions of a stratified part of the attacked images: bool (N,)."""
    mask = torch.ones(len(labels), dtype=torch.bool)
    if size is not None and size < len(labels):
        mask[:] = False
        mask[stratified_subset(labels, size, SUBSET_SEED)] = True
    return mask


def check_large_eps(
    predictor: nn.Module,
    images: Tensor,
    labels: Tensor,
    how: dict[str, Any],
    ctx: EvaluationContext,
    settings: Iterable[Mapping[str, Any]] = ({},),
) -> None:
    """No classifier survives when every image may become any grey or noise; where one seems to, PGD failed.

    So may every attack that follows gradients: ``settings`` name the scores that this concerns, a check for each.
    """
    result = pgd(
        predictor, images, labels, eps=LARGE_EPS, step_size=LARGE_EPS / 8, steps=20,
        generator=torch.Generator().manual_seed(0), **how,
    )  # fmt: skip
    for setting in settings:
        ctx.check(
            "large_eps", result.any_iterate_accuracy(20), limit=0.0, n=len(images), setting=dict(setting),
            meaning=f"images survive an eps of {LARGE_EPS}: the attack misses what is there, or the answer never "
            "changes",
        )  # fmt: skip


def check_steps(result: PGDResult, variant: str, ctx: EvaluationContext) -> None:
    """More steps do not help the defender: images regained between the fewest and the most steps, less those lost."""
    few, many = min(result.robust), max(result.robust)
    if few == many:
        return
    regained, chance = excess(result.robust[many], result.robust[few])
    ctx.check(
        "more_steps", regained, limit=chance, n=len(result.clean_correct),
        setting={"variant": variant}, meaning=f"{many} steps break fewer images than {few}: it has not converged",
    )  # fmt: skip


def check_gradients(share: float, n: int, setting: Mapping[str, Any], ctx: EvaluationContext) -> None:
    """Where the input gradient is zero in every pixel, an attack that follows gradients stands still."""
    ctx.check(
        "zero_gradients", share, limit=ZERO_GRADIENTS, n=n, setting=dict(setting),
        meaning="gradients vanish: ask for --attack autoattack before calling it robust",
    )  # fmt: skip


def check_ball(share: float, n: int, setting: Mapping[str, Any], ctx: EvaluationContext) -> None:
    """Where clipping takes more than half of what an attack changed, it undoes what the attack found."""
    ctx.check(
        "outside_ball", share, limit=OUTSIDE_BALL, n=n, setting=dict(setting),
        meaning="candidates lie far outside the L-infinity ball, and clipping undoes them: the attack is for another "
        "norm or radius",
    )  # fmt: skip


def check_tier(whole: AttackResult, setting: Mapping[str, Any], ctx: EvaluationContext) -> None:
    """What a fast tier left standing stands against the whole attack, which was run on some of these images."""
    ctx.check(
        "tier", 1 - whole.robust_accuracy(), limit=0.0, n=len(whole.robust), setting=dict(setting),
        meaning=f"{whole.setting['attack']} breaks images that its fast tier left standing: ask for it",
    )  # fmt: skip


def check_transfer(role: str, transferred: Tensor, white_box: Tensor, ctx: EvaluationContext) -> None:
    """Examples made on another network do not fool the student more than those made on itself, bool (n,) each."""
    lost, chance = excess(white_box, transferred)
    ctx.check(
        "transfer", lost, limit=chance, n=len(white_box),
        flags=["pgd"],
        meaning=f"examples of {role} break more images than its own: its gradients mislead the attack",
    )  # fmt: skip
