"""Selective mutual knowledge distillation: SMKD-S and SMKD-P (Li et al. 2023)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench_smkd.correction import MIDDLE, PAPER, SLOPE, Prediction, TargetGradient
from kdbench_smkd.exchange import Denominator, Eta, passed_on, received
from kdbench_smkd.mylc import Reliability, Rho
from kdbench_smkd.mylc import Slope as ReliabilitySlope
from kdbench_smkd.proselflc import Offset
from kdbench_smkd.proselflc import Slope as ProgressSlope
from kdbench_smkd.self_target import Choice, Epsilon, Penalty, SelfTarget

ALIVE = 0.01
"""Share of the targets of an epoch late in training, when nearly all are meant to be passed on."""
RECIPES = Path(__file__).with_name("recipes.toml")


class SelectiveDistillation(kdbench.TwoNetworks):
    """Two peers, each with a self-correction, that pass on the targets of which they are sure."""

    def __init__(
        self,
        target: SelfTarget,
        *,
        eta: float | Literal["inf"],
        b2: float,
        denominator: str,
        peer: kdbench.TwoNetworks.PeerModel,
        evaluate: kdbench.TwoNetworks.Evaluated,
    ) -> None:
        super().__init__(peer=peer, evaluate=evaluate)
        self.eta, self.b2, self.denominator = float(eta), b2, denominator
        self.corrections = {"student": target.make(), "peer": target.make()}
        self.warned = False

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        for correction in self.corrections.values():
            correction.setup(ctx)
        self.exchanged, self.seen = torch.zeros((), dtype=torch.int64, device=ctx.device), 0

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        super().on_epoch_start(ctx)
        self.exchanged, self.seen = torch.zeros((), dtype=torch.int64, device=ctx.device), 0

    def epoch_log(self, ctx: kdbench.Context) -> Mapping[str, float]:
        """``exchanged``: targets passed on in the epoch, both ways, from 0 to twice the training set (Fig. 2);
        ``exchange_died``: 1 where that is less than ``ALIVE`` in the second half of training, which warns once."""
        exchanged = int(self.exchanged)
        late = 2 * (ctx.epoch + 1) > ctx.epochs
        died = late and self.eta != math.inf and exchanged < ALIVE * self.seen
        if died and not self.warned:
            self.warned = True
            warnings.warn(
                f"the exchange of the two peers has died: {exchanged:,} of {self.seen:,} targets were passed on in "
                f"epoch {ctx.epoch + 1} of {ctx.epochs}, so the scores are all but those of networks without a peer",
                stacklevel=2,
            )
        return {"exchanged": float(exchanged), "exchange_died": float(died)}

    def state(self) -> Mapping[str, Tensor]:
        return {
            f"{owner}.{name}": tensor
            for owner, correction in self.corrections.items()
            for name, tensor in correction.state().items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for owner, correction in self.corrections.items():
            start = f"{owner}."
            correction.load_state({key.removeprefix(start): t for key, t in state.items() if key.startswith(start)})

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        ours, theirs = Prediction.of(ctx.student(batch.images)), Prediction.of(self.peer(batch.images))
        our_target = self.corrections["student"].target(ours, batch, ctx)
        their_target = self.corrections["peer"].target(theirs, batch, ctx)
        ours_pass, theirs_pass = (passed_on(p, ctx.progress, self.eta, self.b2) for p in (ours, theirs))
        self.exchanged += ours_pass.sum() + theirs_pass.sum()
        self.seen += 2 * len(batch.labels)
        return (
            kdbench.losses.soft_cross_entropy(ours.logits, our_target).mean()
            + kdbench.losses.soft_cross_entropy(theirs.logits, their_target).mean()
            + received(ours.logits, their_target, theirs_pass, ours_pass, self.denominator)
            + received(theirs.logits, our_target, ours_pass, theirs_pass, self.denominator)
        )


class SMKDS(SelectiveDistillation):
    """Two peers that correct their labels and pass on the corrected targets of which they are sure: static threshold.

    L = L_A + L_B, L_A = H(q_A, p_A) + [H(p_B) < chi] H(stop(q_B), p_A) and L_B the same with A and B exchanged,
    chi = ln C / eta; p = softmax(logits), stop a stopped gradient, q_A and q_B the targets that each peer makes from
    the label and its own prediction (``self_target``, by default as mylc does). eta <= 1 passes everything on ("all"),
    eta = inf nothing: two self-corrected networks that do not know of each other ("zero").

    What is passed on is the target, not the prediction. Equations 4 and 5 of the paper are per sample, with an
    indicator, so the sum over the samples that are passed on is divided by the size of the batch (``denominator``). Its
    Algorithm 1 divides what B passes on by the number that A does. A mean over the samples that are passed on (``own``)
    lets one of them weigh as much as a batch while they are few: weights blow up, predictions turn unsure and the
    exchange dies. In two epochs of clean CIFAR-10 (suite cifar10-lite) it ends with 4 of 100,000 targets passed on and
    42.2 % accuracy, the default with 19,686 and 68.2 %; in the paper's Fig. 2 nearly all are passed on in the end. The
    log has the number (``exchanged``) and whether that happened (``exchange_died``), which is a warning too. eta and
    the self-correction's parameters are not given for the main tables; the ablation that varies eta is best at 4, the
    largest tried, which is the default, although the conclusion calls smaller values better. Both peers see the same
    augmented batch. The epsilon of label smoothing and of the confidence penalty as self-corrections are not given
    either; the latter's target has negative entries, so that the loss of the peer that receives it has no lower bound.
    The paper reports the mean accuracy of both peers; a record measures one predictor (``evaluate``), and task
    ``peers`` that mean.
    """

    def __init__(
        self,
        *,
        self_target: Choice = "mylc",
        eta: Eta = 4.0,
        b1: ReliabilitySlope = SLOPE,
        rho: Rho = MIDDLE,
        reliability: Reliability = "record",
        b: ProgressSlope = SLOPE,
        offset: Offset = MIDDLE,
        epsilon: Epsilon = 0.5,
        penalty: Penalty = 0.1,
        target_gradient: TargetGradient = "keep",
        denominator: Denominator = "batch-mean",
        peer: kdbench.TwoNetworks.PeerModel = "",
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        target = SelfTarget(self_target, b1, rho, reliability, b, offset, epsilon, penalty, target_gradient)
        super().__init__(target, eta=eta, b2=0.0, denominator=denominator, peer=peer, evaluate=evaluate)


class SMKDP(SelectiveDistillation):
    """Two peers that correct their labels and pass on the corrected targets of which they are sure: moving threshold.

    As smkd-s, but chi = (ln C / eta) 2 h(t / T - .5, b2), h(x, b) = 1 / (1 + exp(-x b)), with t of T steps done: for
    b2 < 0 a peer must be surer as training goes on, for b2 > 0 less sure, and b2 = 0 is smkd-s.

    b2 of the main tables is not given. In the ablation lower values are better; the default is -4. With a b2 other than
    0 nothing guarantees that eta <= 1 passes everything on.
    """

    def __init__(
        self,
        *,
        self_target: Choice = "mylc",
        eta: Eta = 4.0,
        b2: Annotated[float, Field(description="how fast the threshold moves; < 0: it falls")] = -4.0,
        b1: ReliabilitySlope = SLOPE,
        rho: Rho = MIDDLE,
        reliability: Reliability = "record",
        b: ProgressSlope = SLOPE,
        offset: Offset = MIDDLE,
        epsilon: Epsilon = 0.5,
        penalty: Penalty = 0.1,
        target_gradient: TargetGradient = "keep",
        denominator: Denominator = "batch-mean",
        peer: kdbench.TwoNetworks.PeerModel = "",
        evaluate: kdbench.TwoNetworks.Evaluated = "student",
    ) -> None:
        target = SelfTarget(self_target, b1, rho, reliability, b, offset, epsilon, penalty, target_gradient)
        super().__init__(target, eta=eta, b2=b2, denominator=denominator, peer=peer, evaluate=evaluate)


smkd_s = kdbench.method("smkd-s", paper=PAPER, recipes=RECIPES)(SMKDS)
smkd_p = kdbench.method("smkd-p", paper=PAPER, recipes=RECIPES)(SMKDP)
