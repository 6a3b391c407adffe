"""Bookkeeping of PGD over batches and restarts: who still stands, at which number of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.attacks._engine import Iterate
from kdbench.attacks._result import PGDResult


@dataclass(frozen=True, eq=False)
class Part:
    """What one restart found on one batch: (K, n) bool twice, (max k,) int64, the last iterate (n, C, H, W)."""

    correct: Tensor
    survived: Tensor
    zero_gradients: Tensor
    last: Tensor


def read_off(iterates: Iterable[Iterate], labels: Tensor, ks: tuple[int, ...]) -> Part:
    """Walk one trajectory of max(ks) steps and note the state at each k of ``ks``, which is ascending.

    Args:
        iterates: x_0 ... x_max(ks).
        labels: int64 (n,).
        ks: numbers of steps to report.
    """
    standing = torch.ones_like(labels, dtype=torch.bool)
    correct, survived, zeros = [], [], []
    for t, iterate in enumerate(iterates):
        right = iterate.logits.argmax(dim=1).eq(labels)
        standing = standing & right
        if t in ks:
            correct.append(right)
            survived.append(standing)
        if iterate.zero_gradient is not None:
            zeros.append(iterate.zero_gradient.sum())
        last = iterate.images
    counts = torch.stack(zeros) if zeros else torch.zeros(0, dtype=torch.int64, device=labels.device)
    return Part(torch.stack(correct), torch.stack(survived), counts, last)


@dataclass(eq=False)
class Tally:
    """Accumulates parts over batches and restarts; rows of the (K, N) tensors follow ``ks``."""

    ks: tuple[int, ...]
    clean: Tensor
    full: Tensor
    runs: Tensor  # bool (K, R, N), right only where the image took part
    robust: Tensor
    survived: Tensor
    zero_gradients: Tensor
    stepped: int = 0
    examples: Tensor | None = None

    @classmethod
    def empty(cls, ks: tuple[int, ...], clean: Tensor, full: Tensor, restarts: int, pixels: Tensor | None) -> Tally:
        shape, device = (len(ks), len(clean)), clean.device
        return cls(
            ks, clean, full,
            runs=torch.zeros(len(ks), restarts, len(clean), dtype=torch.bool, device=device),
            robust=torch.ones(shape, dtype=torch.bool, device=device),
            survived=torch.ones(shape, dtype=torch.bool, device=device),
            zero_gradients=torch.zeros(ks[-1], dtype=torch.int64, device=device),
            examples=None if pixels is None else pixels.clone(),
        )  # fmt: skip

    def active(self, run: int) -> Tensor:
        """Index of the images that restart ``run`` still has to attack."""
        wanted = self.full | self.robust.any(dim=0)
        return (wanted if run else torch.ones_like(wanted)).nonzero().flatten()

    def add(self, run: int, part: Tensor, found: Part) -> None:
        if self.examples is not None:
            standing = self.robust[-1, part]
            self.examples[part[standing]] = found.last[standing]
        self.runs[:, run, part] = found.correct
        self.robust[:, part] &= found.correct
        self.survived[:, part] &= found.survived
        self.zero_gradients += found.zero_gradients
        self.stepped += len(part)

    def add_clean(self, run: int) -> None:
        """A ball of radius 0 holds the image alone."""
        self.runs[:, run] = self.clean
        self.robust &= self.clean
        self.survived &= self.clean

    def result(self) -> PGDResult:
        index = self.full.nonzero().flatten()
        share = self.zero_gradients.double() / self.stepped if self.stepped else self.zero_gradients.double()[:0]
        return PGDResult(
            clean_correct=self.clean,
            robust=dict(zip(self.ks, self.robust, strict=True)),
            survived=dict(zip(self.ks, self.survived, strict=True)),
            run_correct={k: runs[:, index] for k, runs in zip(self.ks, self.runs, strict=True)},
            full_index=index,
            zero_gradient_share=share,
            examples=self.examples,
        )
