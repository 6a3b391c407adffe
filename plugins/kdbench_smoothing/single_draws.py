"""A random network as the published attacks and votes see it: one draw in each forward pass."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

import kdbench
from kdbench_smoothing.smoothed import Smoothed

FEWEST = 8
"""Draws that a gradient must be averaged over before surviving an attack says anything."""


class TaskSettings(BaseModel):
    """Base of a task's settings here."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class AttackSettings(TaskSettings):
    """Of a task that transfers examples: the budget of the attack and the images it is run on."""

    eps: Annotated[float, Field(ge=0, le=1)] = 8 / 255
    """Radius of the L-infinity ball."""
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.006
    """Of one step of the attack."""
    steps: Annotated[int, Field(ge=1)] = 10
    """Steps of the attack."""
    subset: Annotated[int, Field(ge=1)] | None = 1000
    """Test images, stratified; none: all."""

    def budget(self) -> dict[str, Any]:
        """As attacks take it, and as a score's setting says it."""
        return {"eps": self.eps, "step_size": self.step_size, "steps": self.steps}


RULE = {"restarts": 1, "start": "zero", "iterate": "best"}
"""Of the attack, ``kdbench.attacks.pgd_best_iterate``, as a score's setting says it."""


def smoothed_within(network: nn.Module) -> Smoothed | None:
    """The smoothed network that a predictor is or wraps, None where there is none."""
    return next((module for module in network.modules() if isinstance(module, Smoothed)), None)


def single(network: nn.Module, input_sigma: float | None = None) -> nn.Module:
    """One draw of a smoothed network in each call, with its own noise on the pixels or another; any other network as it
    is. It shares the network's tensors."""
    found = smoothed_within(network)
    if found is None:
        return network
    sigma = found.input_sigma if input_sigma is None else input_sigma
    return Smoothed(found.network, smoothing="none", draws=1, input_sigma=sigma).eval()


def how_judged(network: nn.Module, images: Tensor, gradient_draws: int, votes: int) -> dict[str, Any]:
    """How a random network is attacked and judged, as a score's setting says it; {} for one that is not random."""
    random = kdbench.attacks.is_random(network, images)
    return {"gradient_draws": gradient_draws, "votes": votes} if random else {}


def check_draws(found: dict[str, Any], n: int, ctx: kdbench.EvaluationContext) -> None:
    """Doubt whatever a random network keeps under attacks that follow the gradients of fewer than ``FEWEST`` draws."""
    missing = FEWEST - found.get("gradient_draws", FEWEST)
    ctx.check(
        "few_draws", float(max(0, missing)), limit=0.0, n=n, setting={},
        meaning=f"attacked through gradients of fewer than {FEWEST} draws, as published: no evidence of robustness",
    )  # fmt: skip
