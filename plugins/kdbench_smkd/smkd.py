"""Selective mutual knowledge distillation: SMKD-S and SMKD-P (Li et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from kdbench_distillation.peers import Evaluated, PeerModel, Peers
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

RECIPES = Path(__file__).with_name("recipes.toml")


class SelectiveDistillation(Peers):
    """Two peers, each with a self-correction, that pass on the targets of which they are sure."""

    def __init__(
        self,
        target: SelfTarget,
        *,
        eta: float | Literal["inf"],
        b2: float,
        denominator: str,
        peer: PeerModel,
        evaluate: Evaluated,
    ) -> None:
        super().__init__(peer=peer, evaluate=evaluate)
        self.eta, self.b2, self.denominator = float(eta), b2, denominator
        self.corrections = {"student": target.make(), "peer": target.make()}

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        for correction in self.corrections.values():
            correction.setup(ctx)
        self.exchanged = torch.zeros((), dtype=torch.int64, device=ctx.device)

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        super().on_epoch_start(ctx)
        self.exchanged = torch.zeros((), dtype=torch.int64, device=ctx.device)

    def epoch_log(self, ctx: kdbench.Context) -> Mapping[str, float]:
        """``exchanged``: targets passed on in the epoch, both ways, from 0 to twice the training set (Fig. 2)."""
        return {"exchanged": float(self.exchanged)}

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

    What is passed on is the target, not the prediction. The paper's Algorithm 1 divides the sum over the samples that B
    passes on by the number of those that A does, its comments and equations say otherwise; here it is the mean over the
    samples that are passed on, 0 if there are none (``denominator``). eta and the self-correction's parameters are not
    given for the main tables; the ablation that varies eta is best at 4, the largest tried, which is the default,
    although the conclusion calls smaller values better. Both peers see the same augmented batch. The epsilon of label
    smoothing and of the confidence penalty as self-corrections are not given either; the latter's target has negative
    entries, so that the loss of the peer that receives it has no lower bound. The paper reports the mean accuracy of
    both peers; a record measures one predictor (``evaluate``).
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
        denominator: Denominator = "own",
        peer: PeerModel = "",
        evaluate: Evaluated = "student",
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
        denominator: Denominator = "own",
        peer: PeerModel = "",
        evaluate: Evaluated = "student",
    ) -> None:
        target = SelfTarget(self_target, b1, rho, reliability, b, offset, epsilon, penalty, target_gradient)
        super().__init__(target, eta=eta, b2=b2, denominator=denominator, peer=peer, evaluate=evaluate)


smkd_s = kdbench.method("smkd-s", paper=PAPER, recipes=RECIPES)(SMKDS)
smkd_p = kdbench.method("smkd-p", paper=PAPER, recipes=RECIPES)(SMKDP)
