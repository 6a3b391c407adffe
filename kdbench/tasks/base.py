"""What a task author implements: a task, and the images that it measures on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from kdbench.data import DataFacts, ImageSet
from kdbench.errors import KdbenchError, unknown_name
from kdbench.results.families import OTHER
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.specs import Condition, Suite, first_problem
from kdbench.tasks.context import SAMPLED, EvaluationContext
from kdbench.tasks.scorecard import Objection, Scorecard
from kdbench.tasks.settings import TaskSettings

if TYPE_CHECKING:
    from kdbench.corruptions import PublishedArrays
    from kdbench.methods.method import MethodSpec


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


class Task:
    """A measurement of a trained student. A changed definition is a new ``version``; versions are never ranked
    together."""

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    Settings: ClassVar[type[BaseModel]] = TaskSettings
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

    def check_networks(self, settings: Any, methods: Mapping[str, str]) -> None:
        """Raise ``KdbenchError`` where it can't measure beside the suite's networks; called before anything is trained.

        ``methods``: role of each of these networks, as ``teacher``, to the name of the method that trains it.
        """

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
