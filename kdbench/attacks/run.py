"""The one way to run any attack: it returns candidates, and everything else happens here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.attacks._inputs import Probe, check_budget, check_call, probe
from kdbench.attacks._judge import correct_predictions, judge
from kdbench.attacks._result import AttackResult
from kdbench.attacks._starts import restart_seeds
from kdbench.attacks.spec import AttackContext, AttackSpec, Candidates, find_attack, stages_of
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.model import Model, as_float
from kdbench.inference.order import mixed
from kdbench.inference.prediction import frozen
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.inference.randomness import varies

DRAWS, VOTES = 20, 32
"""For a model that is random at test time: gradients averaged (AutoAttack's own number), and fresh answers counted."""
HALF = 0.5
"""Share of a change; where clipping takes more, the candidate lay far outside the ball."""


def run(
    attack: str | AttackSpec,
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    every_restart: bool = False,
    gradient_draws: int | None = None,
    votes: int | None = None,
) -> AttackResult:
    """Attack the images that are classified correctly, and judge the candidates in float32 (L-infinity, white box).

    The worst case per image over restarts: a later one runs on the images that still stand. Each candidate is clipped
    to the ball and to [0, 1]; what the attack says of it counts for nothing. With eps 0 the examples are the images and
    the robust accuracy is the clean one. The model is frozen and in eval mode meanwhile, batch norms folded, and
    restored afterwards; so are the global random numbers. The same seed and batch size give the same result.

    Args:
        attack: its registered name, "torchattacks:FGSM" for a member of a family, or the attack itself.
        model: maps float32 (n, C, H, W) in [0, 1] to logits (n, classes); any normalisation is inside.
        images: float32 (N, C, H, W) in [0, 1], or uint8.
        labels: integer (N,), the true classes.
        eps: radius in [0, 1] pixels.
        options: parameters of the attack, e.g. {"steps": 50, "restarts": 10}.
        seed: of all random numbers, from 0.
        batch_size: images per call; None: the attack's own. Halved when the device's memory is too small.
        every_restart: run each restart on all images, for ``restart_correct``; the worst case stays what it is.
        gradient_draws: forward passes that a gradient is averaged over (expectation over transformation, Athalye et al.
            2018); None: 1, or 20 where the model answers differently on the same images.
        votes: fresh forward passes whose majority is the model's answer; None: 1, or 32 there.

    Raises:
        KdbenchError: an unknown attack or option, an argument out of its range, something that is not installed, a
            model that gives no finite logits of the right shape, or candidates that are no such images.
    """
    spec = find_attack(attack) if isinstance(attack, str) else attack
    spec.check(options or {})
    check_budget(eps, 1.0, 1)
    counts = {"gradient_draws": gradient_draws, "votes": votes}
    labels = check_call(images, labels, batch_size=batch_size, **{k: n for k, n in counts.items() if n is not None})
    params = spec.validate(options or {})
    pixels = as_float(images).clone(memory_format=torch.contiguous_format)
    with own_random_numbers(seed, pixels.device), frozen(model, pixels) as fast:
        facts = probe(fast, pixels, labels, batch_size or spec.batch_size)
        random = None in (gradient_draws, votes) and varies(fast, pixels)
        draws = gradient_draws or (DRAWS if random else 1)
        votes = votes or (VOTES if random else 1)
        seen = _Watched(fast, 1 if spec.averages else draws)
        search = _Search(spec.make(params), fast, seen, pixels, labels, eps, facts, draws, votes)
        found = search.over(_seeds(seed, 1 if spec.restarts is None else params["restarts"]), every_restart)
    return AttackResult(*found, _setting(spec, params, eps, draws, votes), *search.counted)


def inside_ball(found: object, images: Tensor, eps: float) -> Tensor:
    """Candidates, clipped to the L-infinity ball of radius eps (up to rounding) and to [0, 1].

    A pixel that is not a number becomes the image's. A candidate that lies inside already keeps its bits.

    Args:
        found: what an attack returned for ``images``.
        images: float32 (n, C, H, W) in [0, 1].

    Raises:
        KdbenchError: it is no tensor of the images' shape.

    >>> inside_ball(torch.tensor([[[[0.9, float("nan")]]]]), torch.tensor([[[[0.5, 0.25]]]]), 0.25).tolist()
    [[[[0.75, 0.25]]]]
    """
    if not isinstance(found, Tensor) or found.shape != images.shape:
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise KdbenchError(
            f"the attack returned {what}, expected images of shape {tuple(images.shape)}",
            "an attack returns one candidate for each image that it is given: tell its author",
        )
    found = found.detach().to(images.device, torch.float32)
    return torch.where(found.isfinite(), found, images).clamp(images - eps, images + eps).clamp(0, 1)


def far_outside(found: Tensor, images: Tensor, eps: float) -> Tensor:
    """How many candidates, float32 (n, C, H, W), lose more than half of their change when they are clipped to the ball.

    By Euclidean length: an int64 scalar. A step past the ball's faces loses little, an example of another norm most.
    """
    change = (found.detach().to(images.device, torch.float32) - images).flatten(1)
    lost = (change - change.clamp(-eps, eps)).norm(dim=1) / change.norm(dim=1).clamp(min=1e-12)
    count: Tensor = (~(lost <= HALF)).sum()  # written so that NaN counts
    return count


@dataclass(frozen=True, eq=False)
class _Search:
    """One attack on its way over restarts and batches."""

    attack: Candidates
    model: Model
    seen: _Watched
    """The model as the attack gets it."""
    pixels: Tensor
    labels: Tensor
    eps: float
    facts: Probe
    draws: int
    votes: int
    counted: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """First gradients of each call, and those that were zero; candidates, and those far outside the ball."""

    def over(self, seeds: Sequence[int], every_restart: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Clean and robust bool (N,), examples, and bool (R, N) of single restarts or None."""
        clean = correct_predictions(self.model, self.pixels, self.labels, probe=self.facts, votes=self.votes)
        examples, robust, alone = self.pixels.clone(), clean.clone(), []
        for restart, seed in enumerate(seeds if self.eps > 0 else ()):
            left = clean.clone() if every_restart else robust.clone()
            for stage in stages_of(self.attack, self.draws):
                work = partial(self._candidates, restart, seed, stage)
                for part, (found, right, counts) in in_batches(work, mixed(left), self.facts.batch_size):
                    fresh = robust[part]  # not of an image that an earlier restart broke
                    examples[part[fresh]] = found[fresh]
                    left[part] = right
                    self.counted[:] = [total + int(more) for total, more in zip(self.counted, counts, strict=True)]
            robust &= left
            alone.append(left)
        if not every_restart:
            return clean, robust, examples, None
        return clean, robust, examples, torch.stack(alone or [clean for _ in seeds])

    def _candidates(
        self, restart: int, seed: int, stage: str, part: Tensor
    ) -> tuple[Tensor, Tensor, tuple[int | Tensor, ...]]:
        """Candidates for the images of ``part``, inside the ball, whether the model is still right on them, and what is
        ``counted`` of them."""
        images, labels = self.pixels[part], self.labels[part]
        drawn = torch.Generator(images.device)
        # The multiplier keeps neighbouring batches and neighbouring seeds off each other's streams.
        drawn.manual_seed((seed + 0x9E3779B97F4A7C15 * (1 + int(part[0]))) % 2**63)
        ctx = AttackContext(self.eps, drawn, self.facts.classes, seed, restart, stage, self.draws, part)
        self.seen.counts = None
        made = self.attack(self.seen, images.clone(), labels.clone(), ctx)  # copies, which it may write into
        self.seen.eval()  # an attack that left it in train mode must not decide how it is judged
        found = inside_ball(made, images, self.eps)
        counts = (*(self.seen.counts or (0, 0)), len(part), far_outside(made, images, self.eps))
        return found, judge(self.model, found, labels, votes=self.votes), counts


class _Watched(nn.Module):
    """The model as an attack sees it: the mean logits of some draws, and an eye on the first input gradient."""

    counts: tuple[int, Tensor] | None = None
    """Examples of the first backward pass since this was None, and those whose gradient leads nowhere."""

    def __init__(self, model: Model, draws: int) -> None:
        super().__init__()
        self.model, self.draws = model, draws
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        entered: Tensor = _Count.apply(images, self) if images.requires_grad else images
        logits = self.model(entered)
        for _ in range(self.draws - 1):
            logits = logits + self.model(entered)
        return logits / self.draws if self.draws > 1 else logits


class _Count(torch.autograd.Function):
    """The identity, whose first backward counts the examples, and those whose gradient leads nowhere."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, seen: _Watched) -> Tensor:
        ctx.seen = seen
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if ctx.seen.counts is None:
            largest = gradients[0].detach().abs().flatten(1).amax(dim=1)
            ctx.seen.counts = len(largest), (~(largest.gt(0) & largest.isfinite())).sum()
        return gradients[0], None


def _seeds(seed: int, restarts: int) -> list[int]:
    """One per restart: the first is the run's own, the others don't depend on how many there are."""
    return [seed, *restart_seeds(torch.Generator().manual_seed(seed), restarts, 2**31 - 1)[1:]]


def _setting(
    spec: AttackSpec, params: Mapping[str, Any], eps: float, draws: int, votes: int
) -> dict[str, str | int | float | bool]:
    """Everything that it takes to attack again."""
    filled = {} if spec.filled is None else spec.filled(params, eps)
    params = {key: filled.get(key) if value is None else value for key, value in params.items()}
    known = {
        "option eps" if key == "eps" else key: value  # of the attack's own, whatever the ball's
        for key, value in params.items()
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    }
    random = {"gradient_draws": draws, "votes": votes} if max(draws, votes) > 1 else {}
    return {"attack": spec.name, "eps": eps, **known, **random}
