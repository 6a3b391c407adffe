"""Bookkeeping of PGD over batches and restarts: who still stands, at which number of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.attacks._result import PGDResult
from kdbench.attacks.trajectory import LastIterate, Trajectory


@dataclass(frozen=True, eq=False)
class Part:
    """What one restart found on one batch of n images; T = max k.

    Attributes:
        correct, survived: bool (K, n), the iterate that counts at k is correct, and so is each up to k; both False at
            those k for which the image was not wanted any more.
        walked: bool (T + 1, n), iterate x_t is correct; False behind the last wanted k.
        zero: bool (T, n), the input gradient at x_t is zero in every pixel.
        last: float32 (n, C, H, W), the iterate that counts of those that were wanted to the end, else the start.
    """

    correct: Tensor
    survived: Tensor
    walked: Tensor
    zero: Tensor
    last: Tensor

    def split(self, count: int) -> list[Part]:
        """``count`` parts of equally many images, one after the other."""
        pieces = (tensor.chunk(count, dim=1) for tensor in (self.correct, self.survived, self.walked, self.zero))
        return [Part(*piece) for piece in zip(*pieces, self.last.chunk(count), strict=True)]


def read_off(
    trajectory: Trajectory,
    counted: LastIterate,
    labels: Tensor,
    ks: tuple[int, ...],
    wanted: Tensor | None,
    judge: Callable[[Tensor, Tensor], Tensor] | None,
) -> Part:
    """Walk one trajectory of max(ks) steps and note the state at each k of ``ks``, which is ascending.

    Args:
        trajectory: at x_0.
        counted: rule over the iterates; at k the image is as correct as the iterate that counts by then.
        labels: int64 (n,).
        ks: numbers of steps to report.
        wanted: int64 (n,), the largest k that is asked of each image; it leaves behind it. None: all to the end.
        judge: says of images and labels which are classified correctly, where a single look at the logits is not
            enough (a random model); then ``survived`` means every iterate that is reported, not every single one.
    """
    n, steps, device = len(labels), ks[-1], labels.device
    correct, survived = (torch.zeros(len(ks), n, dtype=torch.bool, device=device) for _ in range(2))
    walked = torch.zeros(steps + 1, n, dtype=torch.bool, device=device)
    zeros = torch.zeros(steps, n, dtype=torch.bool, device=device)
    alive = torch.arange(n, device=device)
    standing = torch.ones_like(alive, dtype=torch.bool)
    counts = standing  # whether the iterate that counts is correct
    last, truth = trajectory.images.clone(), labels
    for t in range(steps + 1):
        logits, zero = trajectory.look(last=t == steps)
        right = logits.argmax(dim=1).eq(truth)
        walked[t, alive] = right
        counts = torch.where(counted.offer(trajectory, logits), right, counts)
        if t in ks and judge is not None:
            right = judge(trajectory.images, truth)
            counts = right if counted.images is trajectory.images else judge(counted.images, truth)
        if judge is None or t in ks:
            standing = standing & right & counts
        if t in ks:
            correct[ks.index(t), alive], survived[ks.index(t), alive] = counts, standing
        if zero is None:
            break
        zeros[t, alive] = zero
        if t in ks and wanted is not None:
            stay = (wanted[alive] > t).nonzero().flatten()
            if len(stay) == 0:
                trajectory.check()
                return Part(correct, survived, walked, zeros, last)
            alive, standing, counts, truth = alive[stay], standing[stay], counts[stay], truth[stay]
            trajectory.keep(stay)
            counted.keep(stay)
        trajectory.step()
    last[alive] = counted.images
    return Part(correct, survived, walked, zeros, last)


@dataclass(eq=False)
class Tally:
    """Accumulates parts over batches and restarts; rows of the (K, N) tensors follow ``ks``."""

    ks: tuple[int, ...]
    clean: Tensor
    full: Tensor
    runs: Tensor  # bool (K, R, N), right only where the image went through every restart
    robust: Tensor
    survived: Tensor
    walked: Tensor
    zero_gradients: Tensor
    stepped: Tensor
    examples: Tensor | None = None

    @classmethod
    def empty(cls, ks: tuple[int, ...], clean: Tensor, full: Tensor, restarts: int, pixels: Tensor | None) -> Tally:
        shape, device = (len(ks), len(clean)), clean.device
        return cls(
            ks, clean, full,
            runs=torch.zeros(len(ks), restarts, len(clean), dtype=torch.bool, device=device),
            robust=torch.ones(shape, dtype=torch.bool, device=device),
            survived=torch.ones(shape, dtype=torch.bool, device=device),
            walked=torch.zeros(ks[-1] + 1, len(clean), dtype=torch.bool, device=device),
            zero_gradients=torch.zeros(ks[-1], dtype=torch.int64, device=device),
            stepped=torch.zeros(ks[-1], dtype=torch.int64, device=device),
            examples=pixels,
        )  # fmt: skip

    def wanted(self) -> Tensor:
        """Int64 (N,): the largest k that a further restart can change something at; -1: none."""
        ks = torch.tensor(self.ks, device=self.robust.device)
        largest = torch.where(self.robust, ks[:, None], -1).amax(dim=0)
        return torch.where(self.full, self.ks[-1], largest)

    def add(self, run: int, part: Tensor, found: Part) -> None:
        """Take what restart ``run`` found on the images ``part``, int64 (n,), of which some may be settled already."""
        wanted = self.wanted()[part] if run else torch.full_like(part, self.ks[-1])
        if self.examples is not None:
            standing = self.robust[-1, part]
            self.examples[part[standing]] = found.last[standing]
        self.runs[:, run, part] = found.correct
        self.robust[:, part] &= found.correct
        self.survived[:, part] &= found.survived
        took = torch.arange(self.ks[-1], device=part.device)[:, None] < wanted
        self.zero_gradients += (found.zero & took).sum(dim=1)
        self.stepped += took.sum(dim=1)
        if run == 0:
            self.walked[:, part] = found.walked

    def add_clean(self) -> None:
        """A ball of radius 0 holds the image alone."""
        self.runs[:] = self.clean
        self.robust &= self.clean
        self.survived &= self.clean
        self.walked[:] = self.clean

    def result(self) -> PGDResult:
        index = self.full.nonzero().flatten()
        return PGDResult(
            clean_correct=self.clean,
            robust=dict(zip(self.ks, self.robust, strict=True)),
            survived=dict(zip(self.ks, self.survived, strict=True)),
            run_correct={k: runs[:, index] for k, runs in zip(self.ks, self.runs, strict=True)},
            full_index=index,
            first_run=self.walked,
            zero_gradients=self.zero_gradients,
            stepped=self.stepped,
            examples=self.examples,
        )
