"""Projected gradient descent (Madry et al. 2018) with per-image worst case over restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from kdbench.attacks._inputs import Probe, as_targets, check_call, probe
from kdbench.attacks._judge import correct_predictions, judge
from kdbench.attacks._result import PGDResult
from kdbench.attacks._starts import Begin, starting
from kdbench.attacks._tally import Part, Tally, read_off
from kdbench.attacks.objective import Objective, likeliest_wrong, objective_of
from kdbench.attacks.spec import AttackContext, attack
from kdbench.attacks.trajectory import ITERATES, Ascent, Trajectory, ascend
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import mixed
from kdbench.inference.prediction import frozen
from kdbench.inference.randomness import varies


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int | Sequence[int],
    restarts: int = 1,
    start: str | Tensor = "uniform",
    objective: str | Objective = "cross-entropy",
    targets: Tensor | None = None,
    step_rule: str = "sign",
    iterate: str = "last",
    generator: torch.Generator | None = None,
    batch_size: int | None = None,
    full_restarts: bool | Tensor = False,
    gradient_draws: int = 1,
    votes: int = 1,
    keep_examples: bool = False,
    fold: bool = True,
) -> PGDResult:
    """L-infinity PGD on every image, per-image worst case over restarts.

    By default x_{t+1} = clip01(clip_eps(x_t + step_size * sign grad CE(f(x_t), y))) from x_0 = clip01(x + U(-eps, eps))
    and the last iterate: equations 3 and 4 of Arani et al. 2021, the semantics of ``torchattacks.PGD``. All requested k
    are read off one trajectory of max(steps) steps. ``robust_accuracy`` counts what is correct *under attack* over N,
    whatever it is clean. With eps 0 the clean predictions are returned. An image that is broken at every k leaves after
    that restart, unless ``full_restarts`` keeps it. Restart r starts where the generator's state and r say, whatever
    ``batch_size``, ``restarts`` and the other images.

    Args:
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); frozen meanwhile and restored.
        images, labels: float32 (N, C, H, W) in [0, 1], or uint8; integer (N,), the true classes.
        eps, step_size: in pixels, 0 to 1; the step above 0.
        steps: one k or several, each >= 0 and one at least 1.
        start: "uniform" in the ball, "zero": the image, or float32 (restarts, N, C, H, W) of points ((N, ...) for one).
        objective: one of ``OBJECTIVES``, or one of your own; a targeted one needs ``targets``, integer (N,).
        step_rule, iterate: "sign" or "momentum"; the iterate that counts, "last" or "best" (highest objective so far).
        generator: draws the starts; its device is where they are drawn. None: a fixed one, seeded with 0.
        batch_size: images per forward pass; None: what the memory allows. Halved when the memory is too small.
        full_restarts: images that go through every restart, which ``min_run`` and ``mean`` need and which is slower:
            False: none beside those of a single restart, True: all, or bool (N,) or int (M,).
        gradient_draws, votes: for models that are random at test time: gradients summed per step; fresh forward passes
            whose majority decides whether an image is correct.
        keep_examples: return the adversarial images too.
        fold: fold batch norms for speed; False to compare with another implementation bit for bit.

    Raises:
        KdbenchError: an argument out of its range, or a model that gives no finite logits of the right shape.
    """
    ks = _step_counts(steps)
    ascent = Ascent.checked(eps, step_size, ks[-1], objective, step_rule, iterate, gradient_draws)
    counts = {"restarts": restarts, "gradient_draws": gradient_draws, "votes": votes}
    labels = check_call(images, labels, batch_size=batch_size, **counts)
    targets = None if targets is None else as_targets(targets, labels, images)
    full = _full_mask(full_restarts, restarts, images)
    begin = starting(start, images, eps, restarts, generator)
    with frozen(model, images, fold=fold) as fast:
        facts = probe(fast, images, labels, batch_size)
        ascent.objective.check(facts.classes, targets)
        clean = correct_predictions(fast, images, labels, probe=facts, votes=votes)
        tally = Tally.empty(ks, clean, full, restarts, as_float(images).clone() if keep_examples else None)
        search = _Search(fast, images, labels, targets, ascent, ks, begin, votes)
        search.fill(tally, restarts, facts)
    return tally.result()


@dataclass(frozen=True, eq=False)
class _Search:
    """The restarts of one call of ``pgd``."""

    model: Model
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    ascent: Ascent
    ks: tuple[int, ...]
    begin: Begin
    votes: int

    def fill(self, tally: Tally, restarts: int, facts: Probe) -> None:
        """Run the restarts, each on the images that it can change something at."""
        left = list(range(restarts)) if self.ascent.eps > 0 else []
        while left:
            wanted = tally.wanted() if left[0] else None
            active = mixed(torch.ones_like(tally.full) if wanted is None else wanted >= 0)
            # A few images cost a step hardly less than a full batch: then the restarts that are left go together.
            few = left[0] > 0 and len(left) > 1 and len(active) * len(left) <= facts.batch_size
            # Not of a random model: one draw may serve a whole batch.
            together = left if few and not varies(self.model, self.images) else left[:1]
            for part, found in in_batches(partial(self._part, together, wanted), active, facts.batch_size):
                for run, one in zip(together, found.split(len(together)), strict=True):
                    tally.add(run, part, one)
            left = left[len(together) :]
        if self.ascent.eps == 0:
            tally.add_clean()

    def _part(self, runs: Sequence[int], wanted: Tensor | None, part: Tensor) -> Part:
        """These restarts of the images ``part`` in one batch, a restart after the other."""
        pixels, truth = as_float(self.images[part]), self.labels[part].repeat(len(runs))
        start = torch.cat([self.begin(run, part, pixels) for run in runs])
        targets = None if self.targets is None else self.targets[part].repeat(len(runs))
        origin = pixels.repeat(len(runs), 1, 1, 1)
        trajectory = Trajectory(self.model, origin, truth, start, self.ascent, targets)
        vote = partial(judge, self.model, votes=self.votes) if self.votes > 1 else None
        asked = None if wanted is None else wanted[part].repeat(len(runs))
        return read_off(trajectory, ITERATES[self.ascent.iterate](start), truth, self.ks, asked, vote)


def _step_counts(steps: int | Sequence[int]) -> tuple[int, ...]:
    """Ascending, without repetitions."""
    ks = tuple(sorted({int(k) for k in ([steps] if isinstance(steps, int) else steps)}))
    if not ks or ks[0] < 0:
        raise KdbenchError(f"steps is {steps}, expected one or more numbers >= 0", "e.g. steps=20 or (10, 15, 20)")
    return ks


def _full_mask(full_restarts: bool | Tensor, restarts: int, images: Tensor) -> Tensor:
    """Bool (N,) from a mask, an index, True or False; a single restart is every restart."""
    count, device = len(images), images.device
    if isinstance(full_restarts, bool):
        return torch.full((count,), full_restarts or restarts == 1, dtype=torch.bool, device=device)
    chosen = full_restarts.to(device)
    if chosen.dtype == torch.bool and chosen.shape == (count,):
        return chosen
    mask = torch.zeros(count, dtype=torch.bool, device=device)
    if chosen.numel() == 0:
        return mask
    if chosen.dtype == torch.bool or chosen.is_floating_point() or chosen.ndim != 1:
        found = f"{chosen.dtype} of shape {tuple(chosen.shape)}"
        raise KdbenchError(f"full_restarts is {found}, expected bool ({count},) or int (M,)", "pass a mask or an index")
    if int(chosen.min()) < 0 or int(chosen.max()) >= count:
        raise KdbenchError(
            f"full_restarts reaches from {int(chosen.min())} to {int(chosen.max())}, expected 0 to {count - 1}",
            "index the images that are passed in this call",
        )
    mask[chosen.long()] = True
    return mask


def _usual_step(eps: float, steps: int) -> float:
    """Of Madry et al. 2018: the steps could cross the ball two and a half times."""
    return min(1.0, 2.5 * eps / steps)


@attack(
    "pgd",
    paper="https://arxiv.org/abs/1706.06083",
    restarts=5,
    batch_size=None,
    averages=True,
    least_classes=lambda params: objective_of(params["objective"]).classes,
    filled=lambda params, eps: {"step_size": _usual_step(eps, params["steps"])},
)
def pgd_attack(
    model: Model,
    images: Tensor,
    labels: Tensor,
    ctx: AttackContext,
    *,
    steps: Annotated[int, Field(ge=1, description="gradient steps")] = 20,
    step_size: Annotated[
        float | None, Field(gt=0, le=1, description="in [0, 1] pixels; none: 2.5 eps / steps, as Madry et al. do")
    ] = None,
    objective: Annotated[
        Literal["cross-entropy", "margin", "dlr", "targeted-cross-entropy", "targeted-margin", "targeted-dlr"],
        Field(description="what is ascended; a targeted one aims at the likeliest wrong classes, a restart at each"),
    ] = "cross-entropy",
    start: Annotated[
        Literal["uniform", "zero"],
        Field(description="a random point of the ball; the image, where restarts of one aim agree"),
    ] = ("uniform"),
    step_rule: Annotated[Literal["sign", "momentum"], Field(description="of the present gradient, or of their sum")] = (
        "sign"
    ),
    iterate: Annotated[
        Literal["last", "best"], Field(description="the candidate: x_steps, or the iterate with the highest objective")
    ] = "last",
) -> Tensor:
    """Projected gradient descent (Madry et al. 2018), the engine of ``kdbench.attacks.pgd``."""
    aim = objective_of(objective)
    targets = None
    if aim.targeted:
        with torch.no_grad():
            targets = likeliest_wrong(model(images), labels, ctx.restart)
    aim.check(ctx.num_classes, targets)
    begin = ctx.uniform(images) if start == "uniform" else images
    size = _usual_step(ctx.eps, steps) if step_size is None else step_size
    return ascend(
        model, images, labels, begin, Ascent(ctx.eps, size, aim, step_rule, iterate, ctx.draws), steps, targets
    )
