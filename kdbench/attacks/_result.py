"""What attacks return: masks for each image, and the accuracies read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from kdbench.devices import float64
from kdbench.errors import KdbenchError


def share(mask: Tensor) -> float:
    """The share of True, from bool (n,)."""
    return float(float64(mask).mean())


def conditional_share(robust: Tensor, clean: Tensor) -> float:
    """#{clean and robust} / #{clean}, both bool (N,).

    Raises:
        KdbenchError: no image is classified correctly without an attack, so that the ratio has no meaning.
    """
    if not bool(clean.any()):
        raise KdbenchError(
            "conditional accuracy of a model that gets no clean image right is undefined",
            "report the unconditional robust accuracy",
        )
    return share(robust[clean])


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack of R restarts found on N images; the core judged it.

    Attributes:
        clean_correct: bool (N,), the unattacked image is classified correctly.
        robust: bool (N,), it is, and so is every candidate of every restart (per-image worst case); never more than
            ``clean_correct``.
        examples: float32 (N, C, H, W) in [0, 1], within eps of the images: per image the candidate that broke it, else
            the last one. An image that is misclassified already is not attacked and stands here as it is.
        restart_correct: bool (R, N), what each restart alone left standing, where every image went through all of them
            (``every_restart``), else None.
        setting: what a record says of the attack: name, radius and parameters.
        gradients: input gradients that the attack asked for first in each of its calls, counted by example. Later
            ones count no more, as an objective may well be flat once an image is broken.
        zero_gradients: those among them that were zero in every pixel, or no numbers: they lead nowhere.
        candidates: those that the attack returned, over all restarts and stages.
        outside: those among them that clipping to the ball took more than half of their change from (Euclidean length),
            or that were no numbers.
    """

    clean_correct: Tensor
    robust: Tensor
    examples: Tensor
    restart_correct: Tensor | None
    setting: Mapping[str, str | int | float | bool]
    gradients: int
    zero_gradients: int
    candidates: int
    outside: int

    @property
    def zero_gradient_share(self) -> float | None:
        """A sign of masking from about 0.01 on; None for an attack that follows no gradient."""
        return self.zero_gradients / self.gradients if self.gradients else None

    @property
    def outside_share(self) -> float | None:
        """Near 1 where clipping undoes the attack, as of one for another norm; None where nothing was attacked."""
        return self.outside / self.candidates if self.candidates else None

    def clean_accuracy(self) -> float:
        """Share of the N images that are classified correctly without an attack."""
        return share(self.clean_correct)

    def robust_accuracy(self) -> float:
        """Share of the N images that are classified correctly with and without the attack."""
        return share(self.robust)

    def conditional_accuracy(self) -> float:
        """#{clean correct and robust} / #{clean correct}; ``KdbenchError`` where no clean image is correct."""
        return conditional_share(self.robust, self.clean_correct)


@dataclass(frozen=True, eq=False)
class PGDResult:
    """What an attack of R restarts on N images found, for each requested number of steps k.

    The iterate that counts at k is the last, x_k, or under the rule "best" the one with the highest objective among
    x_0 ... x_k.

    Attributes:
        clean_correct: bool (N,), the unattacked image is classified correctly.
        robust: k -> bool (N,), in every restart the iterate that counts is classified correctly (per-image worst case).
        survived: k -> bool (N,), *every* iterate x_0 ... x_k of every restart is classified correctly; never exceeds
            ``robust``. Under votes every iterate that is reported.
        run_correct: k -> bool (R, M), the iterate that counts of each restart, for the M images of ``full_index``.
        full_index: int64 (M,), ascending: the images that went through every restart.
        first_run: bool (max k + 1, N), iterate x_t of the first restart is classified correctly: accuracy against
            steps, by one forward pass also for a model that is random.
        zero_gradients: int64 (max k,), at each step the examples of all restarts whose input gradient was zero in every
            pixel; 0 when eps is 0, as nothing is stepped then.
        stepped: int64 (max k,), the examples that took that step.
        examples: float32 (N, C, H, W) in [0, 1] or None: per image the iterate that counts at the largest k of the
            first restart that broke it, else of its last restart, so that the accuracy on them is
            ``robust_accuracy(max k)``.
    """

    clean_correct: Tensor
    robust: Mapping[int, Tensor]
    survived: Mapping[int, Tensor]
    run_correct: Mapping[int, Tensor]
    full_index: Tensor
    first_run: Tensor
    zero_gradients: Tensor
    stepped: Tensor
    examples: Tensor | None = None

    @property
    def zero_gradient_share(self) -> Tensor:
        """Float64 (max k,): share of zero gradients at each step; a sign of masking from about 0.01 on."""
        return float64(self.zero_gradients) / float64(self.stepped.clamp(min=1))

    @property
    def any_iterate(self) -> Tensor:
        """Bool (N,): no iterate of any restart up to the largest k was misclassified."""
        return self.survived[max(self.survived)]

    def clean_accuracy(self) -> float:
        """Share of the N images that are classified correctly without an attack."""
        return share(self.clean_correct)

    def robust_accuracy(self, k: int) -> float:
        """Share of the N images that stand in every restart: the per-image worst case.

        Counts over all N, whatever the clean prediction; see ``conditional_accuracy`` for the other convention.
        """
        return share(_of(self.robust, k))

    def any_iterate_accuracy(self, k: int) -> float:
        """Share of the N images that no iterate up to k of any restart broke; never above ``robust_accuracy``."""
        return share(_of(self.survived, k))

    def conditional_accuracy(self, k: int) -> float:
        """#{clean correct and robust} / #{clean correct}; ``KdbenchError`` where no clean image is correct."""
        return conditional_share(_of(self.robust, k), self.clean_correct)

    def min_run(self, k: int) -> float:
        """The lowest of the R accuracies of single restarts over ``full_index``; at least the worst case over them."""
        return float(self._run_accuracies(k).min())

    def mean(self, k: int) -> float:
        """The mean of the R accuracies of single restarts over ``full_index``."""
        return float(self._run_accuracies(k).mean())

    def _run_accuracies(self, k: int) -> Tensor:
        if len(self.full_index) == 0:
            raise KdbenchError(
                "no image went through every restart, so that no accuracy of a single restart is known",
                "ask for it: full_restarts=True for all images, or a mask or an index of some",
            )
        return float64(_of(self.run_correct, k)).mean(dim=1)


def _of(by_steps: Mapping[int, Tensor], k: int) -> Tensor:
    if k not in by_steps:
        known = ", ".join(map(str, by_steps))
        raise KdbenchError(f"no result for k = {k}, this attack read off k = {known}", "add it to steps")
    return by_steps[k]
