"""S2E: searching how many examples to keep (Yao et al. 2020), by random search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_sample_selection.keep_schedule import draw_schedule
from kdbench_sample_selection.small_loss import LEAST_STEPS, exchanged

PAPER = "https://arxiv.org/abs/1911.02377"

SearchSeed = Annotated[int, Field(ge=0, description="of the schedules and of the part held out")]
HoldOut = Annotated[float, Field(gt=0, lt=1, description="share of the training set that candidates are judged on")]


class Candidate(kdbench.TwoNetworks):
    """One candidate of S2E's search: co-teaching by one random schedule, without the examples held out.

    L as for co-teaching on the examples not held out, with R(t) the ``number``-th schedule of the search. Where this
    departs from the source is said at ``s2e``, which needs such trainings.
    """

    def __init__(
        self,
        *,
        number: Annotated[int, Field(ge=0, description="of the schedule in the search")] = 0,
        search_seed: SearchSeed = 0,
        holdout: HoldOut = 0.1,
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.schedule, self.holdout, self.search_seed = draw_schedule(search_seed, number), holdout, search_seed

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        self.learnt = ~ctx.held_out(self.holdout, self.search_seed)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = (kdbench.losses.cross_entropy(n(batch.images), batch.labels) for n in (ctx.student, self.peer))
        return exchanged(ours, theirs, self.schedule(ctx.progress), self.learnt[batch.index])


class SearchToExploit(kdbench.TwoNetworks):
    """Co-teaching by that one of several random schedules that did best on held-out noisy labels.

    L as for co-teaching, with R(t) = sum_i w_i [f_i + (1 - f_i) g_i(t)] (an exponential, a power and a logarithm that
    fall from 1), drawn at random; ``candidates`` of them are tried, each by a short training of its own, and the one
    with the highest accuracy on the held-out part of the training set trains the student, on all of it. No noise rate
    is needed.

    Yao et al. search twelve parameters in ten rounds of six trainings, by a natural gradient of accuracy on validation
    data; their public code takes half the test set for those. Here it is a random search over ten parameters, on noisy
    labels, and small by default: ``candidates`` trainings of ``search_share`` of the budget each, kept and shared like
    every other network, and judged by the first of its two. The schedule is a function of the share of training that is
    done, so that it carries over.
    """

    def __init__(
        self,
        *,
        candidates: Annotated[int, Field(ge=1, le=100, description="schedules that are tried")] = 6,
        search_share: Annotated[
            float, Field(gt=0, le=1, description="share of the suite's epochs for each of them")
        ] = 0.2,
        least_steps: Annotated[
            int, Field(ge=0, description="steps that each of them gets at least, up to half of the suite's")
        ] = LEAST_STEPS,
        search_seed: SearchSeed = 0,
        holdout: HoldOut = 0.1,
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.candidates, self.search_seed, self.holdout = candidates, search_seed, holdout
        self.chosen = 0

    def state(self) -> Mapping[str, Tensor]:
        return {"chosen": torch.tensor(self.chosen)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.chosen = int(state["chosen"])

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            held = ctx.held_out(self.holdout, self.search_seed)
            labels = ctx.train.labels[held]
            predicted = (ctx.predict(ctx.networks[role(number)])[held].argmax(1) for number in range(self.candidates))
            self.chosen = int(torch.stack([(each == labels).sum() for each in predicted]).argmax())

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = (kdbench.losses.cross_entropy(n(batch.images), batch.labels) for n in (ctx.student, self.peer))
        return exchanged(ours, theirs, draw_schedule(self.search_seed, self.chosen)(ctx.progress))


def role(number: int) -> str:
    """Under what name a candidate is needed."""
    return f"candidate{number}"


def tried(params: Mapping[str, Any]) -> dict[str, kdbench.Network]:
    """The trainings that S2E needs."""
    shared = {key: params[key] for key in ("search_seed", "holdout")}
    return {
        role(number): kdbench.Network(
            like="student",
            method=s2e_candidate.name,
            params={"number": number, **shared},
            epochs_share=params["search_share"],
            least_steps=params["least_steps"],
        )
        for number in range(params["candidates"])
    }


s2e_candidate = kdbench.method("s2e-candidate", paper=PAPER)(Candidate)
s2e = kdbench.method("s2e", needs=tried, paper=PAPER)(SearchToExploit)
