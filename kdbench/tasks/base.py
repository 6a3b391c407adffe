"""What a task author implements, and what the harness provides to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from kdbench.attacks.transfer import Keep
from kdbench.data import DataFacts, ImageSet, stratified_subset
from kdbench.errors import KdbenchError, unknown_name
from kdbench.hashes import integers_sha256
from kdbench.inference.order import sample
from kdbench.inference.prediction import is_random, predict
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.inference.randomness import SAMPLE
from kdbench.metrics import wilson_interval, with_draws
from kdbench.results.families import OTHER
from kdbench.results.headline import Headline
from kdbench.results.record import Check, Score
from kdbench.specs import Condition, Suite, first_problem
from kdbench.tasks.scorecard import Objection, Scorecard

if TYPE_CHECKING:
    from kdbench.corruptions import PublishedArrays
    from kdbench.methods.method import MethodSpec

DRAWS = 5
"""Passes over the images by a predictor that is random at test time, whose spread its intervals include."""
SUBSET_SEED = 0
"""Seed of the stratified test subset that costly tasks share, the same for every method."""
MOST = 10_000
"""Steps, restarts, draws or votes of an attack: what a record asks for is measured again, and has to end."""
TOP = 5
"""Classes that ``top5_accuracy`` looks at."""


class Settings(BaseModel):
    """Base of a task's settings: frozen, unknown ones refused. Field docstrings say what they mean."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, str_max_length=1000
    )


class CorrectSettings(Settings):
    """Of a task that counts correct answers."""

    top5: bool = False
    """Whether also to count the images whose true class is among the five largest logits, as ``top5_accuracy``."""


def check_top5(task: str, settings: CorrectSettings, classes: int) -> None:
    """Raise ``KdbenchError`` where ``top5`` would count every image."""
    if settings.top5 and classes <= TOP:
        raise KdbenchError(
            f"task '{task}': top5 found {classes} classes, expected more than {TOP}", "leave top5 out of its settings"
        )


def check_subset(task: str, settings: Any, data: DataFacts) -> None:
    """Raise ``KdbenchError`` where a suite asks for more test images than there are; a default means at most so many.

    ``settings``: with a field ``subset``, None for all test images.
    """
    asked = settings.subset if "subset" in settings.model_fields_set else None
    if asked is not None and data.test is not None and asked > data.test:
        raise KdbenchError(
            f"task '{task}' has subset {asked:,}, but '{data.name}' has {data.test:,} test images",
            f"say {data.test} or less in its settings, or leave it out",
        )


@dataclasses.dataclass(frozen=True)
class TestData:
    """What students are measured on."""

    __test__: ClassVar[bool] = False  # not a test class, whatever pytest thinks of its name

    test: ImageSet
    """The data set's test images and their true labels."""
    ood: ImageSet | None = None
    """Out-of-distribution images whose labels index the same classes."""
    published_corruptions: PublishedArrays | None = None
    """The published CIFAR-C arrays, as far as they are available."""
    outside: Mapping[str, ImageSet] = dataclasses.field(default_factory=dict)
    """Data set to its test images, of those that a task named in ``outside``; their labels are of their own classes."""

    @property
    def corruption_images(self) -> str:
        """Which corrupted images a task measures that uses corruptions: "generated", "published", or "published but
        for" what is generated."""
        return "generated" if self.published_corruptions is None else self.published_corruptions.origin


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


SAMPLED = frozenset({"seed", "subset", "subset_seed", "draws"})
"""Keys that ``EvaluationContext`` adds to the settings of scores."""


class Task:
    """A measurement of a trained student. A changed definition is a new ``version``; versions are never ranked
    together."""

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    Settings: ClassVar[type[BaseModel]] = Settings
    needs_training: ClassVar[bool] = False
    """Whether it measures how the student was trained, so that it says nothing of a model from elsewhere."""
    unattacked: ClassVar[str] = ""
    """Name of kept per-example results, bool (N,), that say of all test images as they are which are classified
    correctly; "" for a task that keeps none."""
    by_order: ClassVar[bool] = False
    """Whether its scores depend on the order of each image's logits alone: then those of sigmoid outputs are right."""
    family: ClassVar[str] = OTHER
    """What it is a measurement of: one of ``kdbench.results.families.FAMILIES``, or a word of its own. Columns of one
    family count once, together, in the order of a leaderboard."""
    beside: ClassVar[str] = ""
    """Name of a task without which its score misleads: its column stands beside that one's, in its family, and counts
    for no rank; "" for a task that is read by itself."""
    caution: ClassVar[str] = ""
    """What a reader must know before its score is read as better or worse, a sentence; "" where nothing is."""
    needs_ood: ClassVar[bool] = False
    """Whether it needs ``data.ood``."""
    uses_corruptions: ClassVar[bool] = False
    """Whether it measures corrupted images, so that its scores depend on ``data.corruption_images``."""
    shares: ClassVar[frozenset[str]] = frozenset()
    """Metrics that are shares of examples with Wilson's interval, so that value and n determine it."""
    other_metrics: ClassVar[frozenset[str] | None] = None
    """All other metrics of its scores; None: the task does not say."""
    lower_is_better: ClassVar[frozenset[str] | None] = None
    """Metrics of which less is better, of all others more; None: the task does not say, and only its headline is
    held against a record."""
    setting_keys: ClassVar[frozenset[str] | None] = None
    """Keys that the settings of its scores may have beside ``SAMPLED``; None: the task does not say, as where others
    decide."""

    def undeclared(self, scores: Iterable[Score]) -> tuple[set[str], set[str]]:
        """Metrics and keys of settings that scores have beyond what the task names, where it names them."""
        metrics, keys = set[str](), set[str]()
        for score in scores:
            if self.other_metrics is not None:
                metrics |= {score.metric} - self.shares - self.other_metrics
            if self.setting_keys is not None:
                keys |= score.setting.keys() - self.setting_keys - SAMPLED
        return metrics, keys

    def prepare(self, settings: Any) -> None:
        """Raise ``KdbenchError`` when something it needs is not installed; called before anything is trained."""

    def check_data(self, settings: Any, data: DataFacts) -> None:
        """Raise ``KdbenchError`` for data that it can't measure on: of another size, of too few classes or images.

        Called twice before anything is trained: with what the data set's registration says, where numbers of images may
        be None, and with what was read.
        """

    def evaluate(self, predictor: nn.Module, data: TestData, ctx: EvaluationContext) -> list[Score]:
        """Measure ``predictor`` (pixels (B, 3, H, W) in [0, 1] to logits, eval mode, frozen).

        It answers like the trained network, and may be a copy of it with batch norms folded into convolutions.
        """
        raise NotImplementedError(f"{type(self).__name__} must define evaluate(predictor, data, ctx)")

    def results_key(self, score: Score) -> str | None:
        """Name of the per-example results of one of its scores, as ``ctx.keep`` got it; None where none is kept.

        A score is the mean of bool results.
        """
        return None

    def remade(self, score: Score, data: TestData, index: Tensor, settings: Any, device: torch.device) -> Tensor | None:
        """The very images behind a score, for a reader to look at: uint8 (n, 3, H, W) on the CPU, one per result.

        ``index``: int64 (n,), the test images of the task's subset. None where data and settings alone do not decide
        them, as with adversarial examples, which hang on the model and the machine: see ``attacked``.
        """
        return None

    def attacked(
        self,
        score: Score,
        predictor: nn.Module,
        data: TestData,
        index: Tensor,
        rows: Tensor,
        settings: Any,
        device: torch.device,
    ) -> Tensor | None:
        """The adversarial images behind some results of a score: float32 (m, 3, H, W) in [0, 1], up to rounding.

        ``predictor`` is what was measured, ``index`` as in ``remade``, ``rows``: int64 (m,), which of it. None where
        the attack of a few images alone is not what it was among all.
        """
        return None

    def derives(self, score: Score) -> bool:
        """Whether ``audit`` recomputes one of its scores, from per-example results or from other scores; what it only
        holds against bounds is no such score."""
        return False

    def headline(self, settings: Any) -> Headline | None:
        """The score that is a leaderboard's column; None: the first that the task returned."""
        return None

    def audit(self, card: Scorecard) -> Iterable[Objection]:
        """What cannot be true together among the scores, checks and per-example results that it left in a record."""
        return ()

    def applies(self, condition: Condition) -> bool:
        """Whether the task means something for students of this condition."""
        return True

    def command_words(self, settings: Mapping[str, Any]) -> list[str]:
        """What a command line says beyond the task's name to ask for these settings, which are untrusted."""
        return []

    def outside(self, settings: Any) -> Iterable[str]:
        """Data sets of whatever classes whose test images it measures beside the suite's, as ``data.outside``."""
        return ()

    def attack_names(self, settings: Any) -> Iterable[str]:
        """Registered attacks that it runs, beside kdbench's own: their plugins are loaded where it measures."""
        return ()

    def sources(self, settings: Any) -> Iterable[str]:
        """Roles of the suite's networks that must be trained for this task."""
        return ()

    def predictors(self, method: MethodSpec) -> Mapping[str, Mapping[str, Any]]:
        """What else than the predictor it measures of the same training, by the name under ``ctx.networks``: values of
        parameters that only matter when it is measured. Raises ``KdbenchError`` for a method that has none such."""
        return {}

    def settings_in(self, suite: Suite) -> Any:
        """Its settings in a suite, resolved. What its plan leaves open and the suite's attack budget states, such as
        ``eps``, is the budget's; the rest are defaults."""
        budget = {} if suite.attack is None else suite.attack.model_dump()
        shared = {name: value for name, value in budget.items() if name in self.Settings.model_fields}
        return self.resolve({**shared, **(suite.tasks[self.name].settings if self.name in suite.tasks else {})})

    def resolve(self, settings: Mapping[str, Any]) -> Any:
        """The settings with defaults filled in; a mistake is an error that names it."""
        for key in settings:
            if key not in self.Settings.model_fields:
                raise unknown_name(f"setting of task '{self.name}'", key, self.Settings.model_fields)
        try:
            return self.Settings.model_validate(dict(settings))
        except ValidationError as error:
            raise KdbenchError(f"task '{self.name}', setting {first_problem(error)}", "fix the suite file") from None
