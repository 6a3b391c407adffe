"""DivideMix (Li et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

import kdbench
from kdbench_sample_selection.loss_mixture import clean_probability, normalised
from kdbench_sample_selection.mixing import larger_share, mix, partners, sharpen
from kdbench_sample_selection.small_loss import LEAST_STEPS, LeastSteps


class DivideMix(kdbench.TwoNetworks):
    """Two networks that tell each other which labels look clean, and learn from the rest without labels.

    Warm-up: cross-entropy. Then, before each epoch, a mixture of two Gaussians over each network's losses gives the
    probability w that a label is clean; each network uses the other's w. Clean where w > threshold: the target is
    w q + (1 - w) p, p the network's mean prediction for two views; elsewhere the mean prediction of both networks for
    both. Targets are sharpened (T), views and targets mixed in pairs by max(l, 1 - l), l ~ Beta(alpha, alpha), and
    L = L_x + lambda_u(t) L_u + sum_c (1/C) ln((1/C) / p_c), for each network, with L_x the cross-entropy of the clean
    ones, L_u the mean squared error of the others, and p_c the mean prediction. lambda_u rises from 0 along a line.

    Here both networks learn from each batch of one shuffled pass, which holds clean and other examples as they come,
    and L_x and L_u are means over those of the batch. In the authors' code the networks take turns by epochs, and each
    step has as many clean examples as others, so an epoch is as long as there are clean ones. Guesses are made in train
    mode, as there for the network that learns. Where all losses are equal there is no mixture, and the epoch is one of
    warm-up. With noise that depends on the class, the warm-up adds -H(p), so that losses stay apart. Defaults are those
    for CIFAR-10 with 50 % symmetric noise; 10 of 300 epochs are warm-up, at least ``least_steps``, and lambda_u rises
    within 16.
    """

    own_views = False

    def __init__(
        self,
        *,
        warmup_share: Annotated[float, Field(gt=0, le=1, description="share of epochs for warm-up, at least one")] = (
            1 / 30
        ),
        least_steps: LeastSteps = LEAST_STEPS,
        warmup_penalty: Annotated[
            Literal["class-dependent", "always", "never"], Field(description="for which noise warm-up rewards entropy")
        ] = "class-dependent",
        threshold: Annotated[float, Field(ge=0, lt=1, description="probability above which a label is clean")] = 0.5,
        temperature: Annotated[float, Field(gt=0, le=1, description="sharpens the targets")] = 0.5,
        alpha: Annotated[float, Field(gt=0, description="of the Beta distribution of mixing")] = 4.0,
        lambda_u: Annotated[float, Field(ge=0, description="weight of the examples without label")] = 25.0,
        ramp_share: Annotated[float, Field(ge=0, le=1, description="share of training in which it rises")] = 16 / 300,
        averaged_epochs: Annotated[int, Field(ge=1, description="last epochs whose losses are averaged")] = 1,
        evaluate: kdbench.TwoNetworks.Evaluated = "ensemble",
    ) -> None:
        super().__init__(evaluate=evaluate)
        self.warmup_share, self.penalty, self.ramp_share = warmup_share, warmup_penalty, ramp_share
        self.least_steps = least_steps
        self.threshold, self.temperature, self.alpha = threshold, temperature, alpha
        self.lambda_u, self.averaged_epochs = lambda_u, averaged_epochs

    def setup(self, ctx: kdbench.Context) -> None:
        super().setup(ctx)
        share = ctx.share_at_least(self.warmup_share, self.least_steps)
        self.warmup = math.ceil(round(share * ctx.epochs, 6))  # 30 of 300 epochs, not 31 by rounding
        self.history = torch.zeros(0, 2, ctx.train_size, device=ctx.device)
        self.clean: Tensor | None = None

    def state(self) -> Mapping[str, Tensor]:
        return {"history": self.history}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.history = state["history"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        self.clean = None
        if ctx.epoch < self.warmup:
            return
        networks = ctx.student, self.peer
        losses = [normalised(kdbench.losses.cross_entropy(ctx.predict(n), ctx.train.labels)) for n in networks]
        self.history = torch.cat([self.history, torch.stack(losses)[None]])[-self.averaged_epochs :]
        place = ctx.generator.device
        seeds = torch.randint(2**31, (2,), generator=ctx.generator, device=place).tolist()
        ours, theirs = (clean_probability(*pair) for pair in zip(self.history.mean(0), seeds, strict=True))
        if ours is not None and theirs is not None:
            self.clean = torch.stack([theirs, ours])  # each network is told by the other

    def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
        return {"images": ctx.augment(images), "second": ctx.augment(images)}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        networks = ctx.student, self.peer
        if self.clean is None:
            ours, theirs = (self._warm(network(batch.images), batch.labels, ctx) for network in networks)
            return ours + theirs
        views = batch.images, batch.views["second"]
        with torch.no_grad():
            own = [torch.stack([network(view).softmax(1) for view in views]).mean(0) for network in networks]
        guess = (own[0] + own[1]) / 2
        labels = F.one_hot(batch.labels, ctx.num_classes).to(guess.dtype)
        total = torch.zeros((), device=ctx.device)
        for network, clean, refining in zip(networks, self.clean, own, strict=True):
            weight = clean[batch.index, None].to(guess.dtype)
            labelled = weight > self.threshold
            targets = torch.where(labelled, weight * labels + (1 - weight) * refining, guess)
            targets = sharpen(targets, self.temperature)
            total = total + self._mixmatch(network, torch.cat(views), targets, labelled.squeeze(1), ctx)
        return total

    def _warm(self, logits: Tensor, labels: Tensor, ctx: kdbench.Context) -> Tensor:
        """Cross-entropy, with the penalty where the noise asks for it."""
        loss = kdbench.losses.cross_entropy(logits, labels).mean()
        class_dependent = ctx.noise_kind is not None and not ctx.noise_kind.startswith("symmetric")
        if self.penalty == "always" or (self.penalty == "class-dependent" and class_dependent):
            loss = loss - kdbench.losses.soft_cross_entropy(logits, logits.softmax(1)).mean()
        return loss

    def _mixmatch(
        self, network: nn.Module, images: Tensor, targets: Tensor, labelled: Tensor, ctx: kdbench.Context
    ) -> Tensor:
        """L of one network for both views (2 B, 3, H, W) of a batch with targets (B, C), labelled (B,) or not."""
        share, partner = larger_share(self.alpha, ctx.generator), partners(len(images), ctx.generator)
        mixed = mix(torch.cat([targets, targets]), partner, share)
        logits = network(mix(images, partner, share))
        return self.objective(logits, mixed, torch.cat([labelled, labelled]), self.unlabelled_weight(ctx))

    def unlabelled_weight(self, ctx: kdbench.Context) -> float:
        """lambda_u(t): from 0 at the end of warm-up along a line."""
        since = ctx.progress - self.warmup / ctx.epochs
        return self.lambda_u * (min(max(since / self.ramp_share, 0), 1) if self.ramp_share else 1)

    @staticmethod
    def objective(logits: Tensor, targets: Tensor, labelled: Tensor, lambda_u: float) -> Tensor:
        """L_x + lambda_u L_u + the prior's term, from logits and targets (B, C) and ``labelled`` (B,) bool; scalar."""
        predictions = logits.softmax(1)
        clean = labelled.to(logits.dtype)
        supervised = (clean * kdbench.losses.soft_cross_entropy(logits, targets)).sum() / clean.sum().clamp(min=1)
        errors = (predictions - targets).square().mean(1)
        unsupervised = ((1 - clean) * errors).sum() / (1 - clean).sum().clamp(min=1)
        mean, even = predictions.mean(0).clamp(min=torch.finfo(logits.dtype).tiny), 1 / logits.shape[1]
        prior = -(even * (mean / even).log()).sum()
        return supervised + lambda_u * unsupervised + prior


dividemix = kdbench.method(
    "dividemix",
    paper="https://arxiv.org/abs/2002.07394",
    recipes=Path(__file__).with_name("recipes.toml"),
)(DivideMix)
