"""CNI: a network with learned coloured weight noise, trained on adversarial examples."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

import kdbench
from kdbench_smoothing.adversary import EPS, STEP_SIZE, STEPS, Eps, Steps, StepSize, adversarial
from kdbench_smoothing.noisy_network import ColouredNoise, NoisyNetwork
from kdbench_smoothing.smoothed import Draws, Smoothed, Smoothing


class CNI(kdbench.Method):
    """Adversarial training of a network whose weights carry learned coloured noise, its predictions smoothed.

    L = (1 - v) CE(f(x), y) + v CE(f(x'), y) + r/2 |F|^2, with x' the adversarial example of x and v the share of
    adversarial loss (1/2). Every convolution of f, stem and shortcuts included, has the weight
    w' = w + sqrt(|d| std(w) + 1e-8) n1 + F n2, with d and F (rank columns) learned and n1, n2 normal, drawn anew in
    every forward pass of training and test; the last linear layer has w + a n1 std(w).

    What is measured is smoothed over M draws (Katz & Reches 2022), each with Gaussian noise of ``input_sigma`` on the
    pixels: ``votes`` (prediction smoothing), ``soft`` (mean probability), ``mean-logit``, or ``none``, one draw. Soft
    smoothing averages probabilities in the paper's words and logits in its code. The paper's M is 512; an attack pays
    M passes for each gradient, so the default is small, and tasks that attack a random predictor average over draws of
    their own besides. With ``input_sigma`` .25 it is what the paper's Table 3 calls Smoothed CNI. None of the three is
    part of the training: one training serves all M, and ``kdbench evaluate CHECKPOINT --set draws=512`` measures a
    finished one. Memory does not grow with M: beyond 8 draws a gradient makes them twice instead.

    As in the code of the teacher that the paper took, F has an L2 penalty beside the optimiser's weight decay; its name
    there suggests the default 1e-3, times |F|^2 in that code, without the 1/2. That code's SGD with 400 epochs, and the
    paper's 100 epochs, are a suite's matter: CNI follows the suite's recipe. The attack starts from the image and keeps
    each image's worst iterate, in eval mode, with new noise in each step and in the training's own precision; the code
    of the teacher attacked with 7 steps, the paper says 10.

    The initial noise is the published one and meant for a long training: F shifts all weights of a layer alike, which
    batch statistics take out in training and running ones do not, so the network answers at random until F has shrunk.
    A training of a thousand steps wants a smaller ``factor`` and ``diagonal``.
    """

    def __init__(
        self,
        *,
        rank: Annotated[int, Field(ge=1, description="columns of F: directions of the coloured noise per layer")] = 5,
        diagonal: Annotated[float, Field(ge=0, description="initial d: white variance over the weights' std")] = 0.0625,
        factor: Annotated[float, Field(ge=0, description="initial F")] = 0.01,
        white: Annotated[float, Field(ge=0, description="initial a: noise of the last linear layer")] = 0.25,
        factor_decay: Annotated[float, Field(ge=0, description="L2 penalty of F beside weight decay")] = 1e-3,
        adversarial_share: Annotated[
            float, Field(ge=0, le=1, description="weight of the adversarial loss; 0 trains without an attack")
        ] = 0.5,
        eps: Eps = EPS,
        step_size: StepSize = STEP_SIZE,
        steps: Steps = STEPS,
        smoothing: Smoothing = "soft",
        draws: Draws = 8,
        input_sigma: Annotated[
            float, Field(ge=0, description="noise on the pixels of each draw when measured"), kdbench.MeasuredOnly()
        ] = 0.0,
    ) -> None:
        self.make_noise = partial(ColouredNoise, rank=rank, diagonal=diagonal, factor=factor, white=white)
        self.factor_decay, self.share = factor_decay, adversarial_share
        self.attack = partial(adversarial, eps=eps, step_size=step_size, steps=steps)
        self.smoothing: Smoothing = smoothing
        self.draws, self.input_sigma = draws, input_sigma

    def setup(self, ctx: kdbench.Context) -> None:
        self.noise = self.make_noise(ctx.student)
        self.noisy = NoisyNetwork(ctx.student, self.noise, ctx.generator)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"noise": self.noise}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        total = self.factor_decay * self.noise.factor_penalty()
        if self.share < 1:
            total = total + (1 - self.share) * self._cross_entropy(batch.images, batch.labels)
        if self.share > 0:
            attacked = self.attack(self.noisy, batch.images, batch.labels)
            total = total + self.share * self._cross_entropy(attacked, batch.labels)
        return total

    def _cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        return kdbench.losses.cross_entropy(self.noisy(images), labels).mean()

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        # Without a generator of its own: at test time the tasks seed torch's global one.
        noisy = NoisyNetwork(ctx.student, self.noise)
        return Smoothed(noisy, smoothing=self.smoothing, draws=self.draws, input_sigma=self.input_sigma)


cni = kdbench.method("cni", paper="https://arxiv.org/abs/2003.02188", recipes=Path(__file__).with_name("recipes.toml"))(
    CNI
)
