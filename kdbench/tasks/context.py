"""What the harness provides to a task for one student: predictions, subsets, scores with intervals, checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.attacks.transfer import Keep
from kdbench.data import ImageSet, stratified_subset
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256
from kdbench.inference.order import sample
from kdbench.inference.prediction import is_random, predict
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.inference.randomness import SAMPLE
from kdbench.metrics import wilson_interval, with_draws
from kdbench.results.record import Check, Score
from kdbench.tasks.settings import TOP, check_top5

DRAWS = 5
"""Passes over the images by a predictor that is random at test time, whose spread its intervals include."""
SUBSET_SEED = 0
"""Seed of the stratified test subset that costly tasks share, the same for every method."""
SAMPLED = frozenset({"seed", "subset", "subset_seed", "draws"})
"""Keys that ``EvaluationContext`` adds to the settings of scores."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingLabels:
    """A condition's training images with the labels that the student saw and the true ones, which it never did."""

    images: Tensor
    """uint8 (N, 3, H, W)."""
    observed: Tensor
    """int64 (N,)."""
    true: Tensor
    """int64 (N,)."""


def _not_trained_here() -> TrainingLabels:
    raise KdbenchError("there are no training images of a model that was not trained here", "ask `kdbench run` for it")


@dataclasses.dataclass
class EvaluationContext:
    """What the harness provides to a task for one student."""

    condition: str
    device: torch.device
    settings: Any
    """The task's ``Settings``, resolved."""
    networks: Mapping[str, nn.Module] = dataclasses.field(default_factory=dict)
    """The networks that the task asked for in ``sources`` and ``predictors``: eval mode, frozen, logits."""
    kept: Mapping[str, Keep] = dataclasses.field(default_factory=dict)
    """Where adversarial examples of the suite's networks are kept from run to run, by role."""
    training: Callable[[], TrainingLabels] = _not_trained_here
    """The student's training images, read when a task asks for them; ``KdbenchError`` where it has none."""
    advance: Callable[[float], None] = lambda share: None
    """Report progress as a share of the task in [0, 1]."""
    task: str = ""
    correct: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """Per-example results that are kept beside the record, by name."""
    subsets: dict[str, str] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Task to the most test images that it asked for."""
    checks: list[Check] = dataclasses.field(default_factory=list)
    cache: dict[tuple[int, str], tuple[nn.Module, Tensor]] = dataclasses.field(default_factory=dict)

    def logits(self, predictor: nn.Module, images: ImageSet) -> Tensor:
        """Logits (N, C) float32 of a whole image set, of a random predictor the first of its ``draws``."""
        return self.draws(predictor, images)[0]

    def draws(self, predictor: nn.Module, images: ImageSet) -> Tensor:
        """Logits (D, N, C) float32 of a whole image set; computed once for all tasks of a student.

        D is 1, or ``DRAWS`` passes for a predictor that is random at test time. These depend on the images alone:
        neither on the task that asks first, nor does asking move the draws of the task.
        """
        key = (id(predictor), images.sha256)
        if key not in self.cache:
            # The network is kept with its logits: an id is its own only while it lives.
            with own_random_numbers(int(images.sha256[:14], 16), self.device):
                random = is_random(predictor, sample(images.images, SAMPLE).to(self.device))
                passes = [predict(predictor, images.images, device=self.device) for _ in range(DRAWS if random else 1)]
                self.cache[key] = predictor, torch.stack(passes)
        return self.cache[key][1]

    def is_correct(self, predictor: nn.Module, images: ImageSet) -> Tensor:
        """Bool (N,): which images of a set are classified correctly; by a random predictor in its first draw."""
        return self.correct_draws(predictor, images)[0]

    def correct_draws(self, predictor: nn.Module, images: ImageSet) -> Tensor:
        """Bool (D, N): which images of a set are classified correctly in each of the ``draws``."""
        return self.draws(predictor, images).argmax(2) == images.labels

    def answers(self, predictor: nn.Module, images: ImageSet, folder: str = "") -> Tensor:
        """Bool (D, N): as ``correct_draws``. What a whole image set was taken for is kept for tables of confusion.

        The first draw's as ``<folder>correct``, bool (N,), ``<folder>answer`` and ``<folder>label``, int16 (N,).
        """
        chosen = self.draws(predictor, images).argmax(2)
        correct = chosen == images.labels
        self.keep(f"{folder}correct", correct[0])
        self.keep(f"{folder}answer", chosen[0].to(torch.int16))
        self.keep(f"{folder}label", images.labels.to(torch.int16))
        return correct

    def correct_shares(self, predictor: nn.Module, images: ImageSet, folder: str = "", **options: Any) -> list[Score]:
        """``accuracy``, and ``top5_accuracy`` where ``CorrectSettings`` ask for it, on a whole image set.

        The per-example results are kept as by ``answers``, and as ``<folder>top5``; ``options`` are those of a score.
        """
        correct = self.answers(predictor, images, folder)
        scores = [self.share("accuracy", correct, **options)]
        if self.settings.top5:
            logits = self.draws(predictor, images)
            check_top5(self.task, self.settings, logits.shape[2])
            among = (logits.topk(TOP).indices == images.labels[:, None]).any(2)
            self.keep(f"{folder}top5", among[0])
            scores.append(self.share("top5_accuracy", among, **options))
        return scores

    def subset(self, images: ImageSet, size: int | None) -> Tensor:
        """Indices (n,) int64 of the fixed stratified subset of that size, all of them for None; recorded."""
        if size is None or size >= len(images):
            index = torch.arange(len(images))
        else:
            index = stratified_subset(images.labels, size, SUBSET_SEED)
        if size is not None:
            self.sizes[self.task] = size
        self.correct["index"] = index
        self.subsets[self.task] = integers_sha256(index)
        return index

    def part(self, images: ImageSet, size: int | None) -> tuple[Tensor, Tensor]:
        """Images uint8 (n, 3, H, W) and labels (n,) of that subset, on the device; not copied where it is all."""
        index = self.subset(images, size)
        whole = len(index) == len(images)
        pixels, labels = (images.images, images.labels) if whole else (images.images[index], images.labels[index])
        return pixels.to(self.device), labels.to(self.device)

    def keep(self, name: str, correct: Tensor) -> None:
        """Keep per-example results beside the record."""
        self.correct[name] = correct

    def score(self, metric: str, value: float, n: int, interval: tuple[float, float], **options: Any) -> Score:
        """A score of this task for this student. ``options``: setting, unit, higher_is_better.

        Its setting gets what else it takes to measure it again: the task's seed and its subset, where it has them.
        """
        low, high = interval
        own = options.pop("setting", {})
        options["setting"] = {**own, **self._sampled(), **own}  # in the task's order, and its word counts
        options |= {"task": self.task, "condition": self.condition}
        return Score(metric=metric, value=value, n=n, ci_low=low, ci_high=high, **options)

    def _sampled(self) -> dict[str, int]:
        """Seed and size of what the task drew."""
        seed, size = getattr(self.settings, "seed", None), self.sizes.get(self.task)
        found = {"seed": seed, "subset": size, "subset_seed": None if size is None else SUBSET_SEED}
        return {name: value for name, value in found.items() if value is not None}

    def share(self, metric: str, correct: Tensor, *, setting: Mapping[str, Any] | None = None, **options: Any) -> Score:
        """A share of examples, from a bool tensor (n,), with its Wilson 95 % interval.

        From bool (D, n) of the D draws of a random predictor as ``drawn`` makes it: the share is that of the first.
        """
        each, n = correct.reshape(-1, correct.shape[-1]), correct.shape[-1]
        hits = [int(one.sum()) for one in each]
        values = [count / n for count in hits]
        return self.drawn(metric, values, n, wilson_interval(hits[0], n), setting=setting, **options)

    def drawn(
        self,
        metric: str,
        values: Sequence[float],
        n: int,
        interval: tuple[float, float],
        *,
        setting: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Score:
        """A score whose value is that of the first of a predictor's draws, as are the per-example results.

        Its interval, over examples, is widened by the spread of the draws (``metrics.with_draws``), and its setting
        says how many there were; of one draw it is what it is.
        """
        setting = {**(setting or {}), **({"draws": len(values)} if len(values) > 1 else {})}
        return self.score(metric, values[0], n, with_draws(interval, values), setting=setting, **options)

    def check(self, name: str, value: float, *, limit: float, n: int, meaning: str, **options: Any) -> None:
        """Record whether ``value`` is at most ``limit``; a failed check flags this task's scores.

        ``options``: ``setting``, to flag those scores alone that don't differ from it, and ``flags``, more tasks.
        """
        flags = [self.task, *options.pop("flags", ())]
        options |= {"task": self.task, "condition": self.condition, "flags": flags, "passed": value <= limit}
        self.checks.append(Check(name=name, value=value, limit=limit, n=n, meaning=meaning, **options))
