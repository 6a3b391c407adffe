"""The numbers that the plots of a run show: from a record, its predictions and its log to plain arrays.

The report draws them with matplotlib and the leaderboard's pages as SVG, so both show the same. Scores are found by
what their setting says (``corruption`` and ``severity``, ``source``), whatever the task's name; those of two tasks are
never in one table. What a file does not hold is None or empty here, never an error: records, logs and predictions may
be third-party.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.metrics import confidence_bins, wilson_interval
from kdbench.results.record import Score
from kdbench.results.wording import describe_setting, shared

Array = NDArray[np.float64]

LARGEST = 1e100
"""Of a log's numbers: differences and squares of larger ones overflow where they are drawn."""


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """Accuracy in [0, 1] by corruption and severity; NaN where it was not measured."""

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    value: Array
    """(corruptions, severities), as are the ends of the 95 % intervals."""
    ci_low: Array
    ci_high: Array
    n: int
    """Images per cell, the smallest number where they differ."""

    @property
    def by_corruption(self) -> Array:
        """Mean over severities, (corruptions,)."""
        means: Array = self.value.mean(1)
        return means


@dataclasses.dataclass(frozen=True)
class StepCurve:
    """Accuracy in [0, 1] against the number of attack steps, with 95 % intervals."""

    task: str
    label: str
    """What tells it from the other curves."""
    setting: Mapping[str, Any]
    """What its scores have in common."""
    x: Array
    """Steps k, ascending."""
    value: Array
    ci_low: Array
    ci_high: Array
    n: int


@dataclasses.dataclass(frozen=True)
class Reliability:
    """A reliability diagram: M bins of equal width over (0, 1], upper edges closed; NaN in empty bins."""

    lower: Array
    upper: Array
    count: NDArray[np.int64]
    confidence: Array
    """Mean confidence of the bin's examples."""
    accuracy: Array
    """Share of them that is right."""
    ci_low: Array
    """Wilson's 95 % interval of that share, for the bin's own number of examples."""
    ci_high: Array
    n: int
    ece: float
    """Mean gap between accuracy and confidence over examples, in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class TrainingCurves:
    """What one condition's training log says, epoch by epoch."""

    condition: str
    epoch: NDArray[np.int64]
    """From 1."""
    series: Mapping[str, Array]
    """Name of a number of the log to its value after each epoch, NaN where an entry has none: ``loss``, ``lr``,
    ``seconds``, ``threads``, ``test_accuracy`` and whatever the method adds."""
    test_n: int | None
    """Test images that ``test_accuracy`` is over."""

    @property
    def own(self) -> dict[str, Array]:
        """The numbers that the method added."""
        return {name: values for name, values in self.series.items() if name not in LOGGED_BY_THE_LOOP}

    def overfitting(self) -> Overfitting | None:
        """Peak and end of the test accuracy, None where the log has no accuracy at the end."""
        accuracy = self.series.get("test_accuracy", np.full(len(self.epoch), np.nan))
        if not len(accuracy) or math.isnan(accuracy[-1]):
            return None
        peak = int(np.nanargmax(accuracy))
        return Overfitting(int(self.epoch[peak]), float(accuracy[peak]), int(self.epoch[-1]), float(accuracy[-1]))


@dataclasses.dataclass(frozen=True)
class Overfitting:
    """How far test accuracy, in [0, 1], fell from its best epoch to the last."""

    peak_epoch: int
    peak: float
    last_epoch: int
    last: float

    @property
    def drop(self) -> float:
        """max_t accuracy - accuracy at the end (Shon et al. 2024, Fig. 4); the maximum itself is a lucky draw."""
        return self.peak - self.last


@dataclasses.dataclass(frozen=True)
class TransferTable:
    """Accuracy in [0, 1] on examples made on each source network."""

    sources: tuple[str, ...]
    accuracy: tuple[Score, ...]
    """Over all images, one per source."""
    conditional: tuple[Score | None, ...]
    """Over images that are right without an attack."""


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Shares of softmax outputs in bins on [0, 1], with 95 % intervals."""

    network: str
    """``student``, or the role of a network of the suite."""
    outputs: str
    """``all``, or ``largest``: one of each image."""
    edges: Array
    """(bins + 1,), ascending."""
    share: Array
    """(bins,), as are the ends of the intervals."""
    ci_low: Array
    ci_high: Array
    n: int
    """Images."""


MAGNITUDES = 50
"""Bins of a histogram of softmax outputs, each .02 wide."""

LOGGED_BY_THE_LOOP = (
    "compiled", "epoch", "lr", "loss", "seconds", "test_accuracy", "test_n", "test_pgd_accuracy", "test_pgd_n",
    "threads",
)  # fmt: skip
"""Numbers of a log entry that the training loop writes for every method."""


def corruption_maps(scores: Iterable[Score], condition: str) -> dict[str, HeatMap]:
    """Task to its accuracies for one condition's student by corruption and severity, in the order of the scores."""
    cells: dict[str, dict[tuple[str, int], Score]] = {}
    for score in scores:
        name, severity = score.setting.get("corruption"), score.setting.get("severity")
        if score.condition == condition and score.metric == "accuracy" and isinstance(severity, int):
            cells.setdefault(score.task, {}).setdefault((str(name), severity), score)
    return {task: _heat_map(found) for task, found in cells.items()}


def _heat_map(cells: Mapping[tuple[str, int], Score]) -> HeatMap:
    names = tuple(dict.fromkeys(name for name, _ in cells))
    severities = tuple(sorted({severity for _, severity in cells}))

    def table(field: str) -> Array:
        found = [[getattr(cells.get((name, severity)), field, np.nan) for severity in severities] for name in names]
        return np.array(found, dtype=np.float64)

    n = min(score.n for score in cells.values())
    return HeatMap(names, severities, table("value"), table("ci_low"), table("ci_high"), n)


def step_lines(scores: Iterable[Score], condition: str) -> list[StepCurve]:
    """Accuracy against the number of attack steps k, one curve per task and setting that differs in more than k."""
    groups: dict[tuple[str, tuple[tuple[str, Any], ...]], list[Score]] = {}
    for score in scores:
        counted = not math.isnan(_number(score.setting.get("steps")))
        if counted and (score.condition, score.metric) == (condition, "accuracy_at_step"):
            rest = tuple((key, value) for key, value in score.setting.items() if key != "steps")
            groups.setdefault((score.task, rest), []).append(score)
    common = shared([{**dict(rest), "task": task} for task, rest in groups])
    return [_step_curve(task, dict(rest), common, group) for (task, rest), group in groups.items()]


def _step_curve(task: str, setting: dict[str, Any], common: Mapping[str, Any], scores: Sequence[Score]) -> StepCurve:
    ordered = sorted(scores, key=lambda score: float(score.setting["steps"]))
    columns = [[float(score.setting["steps"]), score.value, score.ci_low, score.ci_high] for score in ordered]
    x, value, low, high = np.array(columns, dtype=np.float64).T
    own = {key: value for key, value in {"task": task, **setting}.items() if key not in common}
    label = ", ".join(describe_setting({key: value}) for key, value in own.items())
    return StepCurve(task, label or task, setting, x, value, low, high, min(score.n for score in scores))


def transfer_tables(scores: Iterable[Score], condition: str) -> dict[str, TransferTable]:
    """Task to its accuracies under one condition that name a source network."""
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for score in scores:
        if score.condition == condition and "source" in score.setting:
            target = score.setting.get("target")  # of a matrix; else it is the student
            source = str(score.setting["source"]) if target is None else f"{score.setting['source']} on {target}"
            found.setdefault(score.task, {}).setdefault(source, {}).setdefault(score.metric, score)
    tables = {}
    for task, by_source in found.items():
        whole = {source: by_metric for source, by_metric in by_source.items() if "accuracy" in by_metric}
        if whole:
            every = tuple(by_metric["accuracy"] for by_metric in whole.values())
            conditional = tuple(by_metric.get("conditional_accuracy") for by_metric in whole.values())
            tables[task] = TransferTable(tuple(whole), every, conditional)
    return tables


def magnitudes(probabilities: Array, bins: int = MAGNITUDES) -> tuple[Array, Array]:
    """Shares of all C*N softmax outputs (N, C), and of the N largest ones, in bins of equal width on [0, 1].

    >>> magnitudes(np.array([[0.9, 0.1], [0.6, 0.4]]), bins=2)
    (array([0.5, 0.5]), array([0., 1.]))
    """
    shares = []
    for values in (probabilities, probabilities.max(1)):
        count, _ = np.histogram(values, bins=bins, range=(0.0, 1.0))
        shares.append(count / values.size)
    return shares[0], shares[1]


def histograms(scores: Iterable[Score], condition: str) -> list[Histogram]:
    """Histograms of softmax outputs under one condition, in the order of the scores; bins that do not join are none."""
    found: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        numbers = [_number(score.setting.get(end)) for end in ("low", "high")]
        if score.condition == condition and score.metric == "output_share" and not any(map(math.isnan, numbers)):
            key = (str(score.setting.get("network")), str(score.setting.get("outputs")))
            found.setdefault(key, []).append(score)
    made = (_histogram(*key, sorted(bins, key=lambda one: float(one.setting["low"]))) for key, bins in found.items())
    return [one for one in made if one is not None]


def _histogram(network: str, outputs: str, bins: Sequence[Score]) -> Histogram | None:
    lows, highs = ([float(score.setting[end]) for score in bins] for end in ("low", "high"))
    if lows[1:] != highs[:-1] or not all(low < high for low, high in zip(lows, highs, strict=True)):
        return None
    share, low, high = (np.array([getattr(one, name) for one in bins]) for name in ("value", "ci_low", "ci_high"))
    return Histogram(network, outputs, np.array([*lows, highs[-1]]), share, low, high, min(one.n for one in bins))


def reliability(confidence: NDArray[Any], correct: NDArray[Any], bins: int = 15) -> Reliability:
    """The bins of ``kdbench.metrics.confidence_bins`` with an interval each; NaN where a bin is empty.

    ``confidence``: floating (n,) in (0, 1]; ``correct``: bool (n,).

    >>> reliability(np.array([0.75, 1.0]), np.array([False, True]), bins=4).accuracy.tolist()
    [nan, nan, 0.0, 1.0]
    """
    found = confidence_bins(confidence, correct, bins=bins)
    count: NDArray[np.int64] = found.count.numpy()
    accuracy, mean = (np.where(count, column.numpy(), np.nan) for column in (found.accuracy, found.confidence))
    hits = np.rint(found.accuracy.numpy() * count)
    bars = zip(hits.tolist(), count.tolist(), strict=True)
    intervals = [wilson_interval(hit, n) if n else (np.nan, np.nan) for hit, n in bars]
    low, high = np.array(intervals, dtype=np.float64).T
    return Reliability(
        lower=found.lower.numpy(),
        upper=found.upper.numpy(),
        count=count,
        confidence=mean,
        accuracy=accuracy,
        ci_low=low,
        ci_high=high,
        n=len(confidence),
        ece=found.calibration_error,
    )


def reliability_of(predictions: Mapping[str, NDArray[Any]], condition: str, *, bins: int = 15) -> Reliability | None:
    """The diagram of one condition's student from a run's predictions; None where they do not hold what it needs.

    The confidence is the array ``<condition>/<any task>/confidence``. What is right is the array ``correct`` of a task
    of that condition and of the same length: the accuracy on the same test images left it.
    """
    own = {name: name.split("/") for name in predictions if name.startswith(f"{condition}/") and name.count("/") == 2}
    confidence = next((predictions[name] for name, parts in own.items() if parts[2] == "confidence"), None)
    if confidence is None or confidence.ndim != 1 or not np.issubdtype(confidence.dtype, np.floating):
        return None
    if not len(confidence) or not ((confidence > 0) & (confidence <= 1)).all():
        return None
    for name, parts in own.items():
        if parts[2] == "correct":
            correct = predictions[name]
            if correct.dtype == np.bool_ and correct.shape == confidence.shape:
                return reliability(confidence, correct, bins)
    return None


def curves(log: Sequence[Mapping[str, Any]]) -> dict[str, TrainingCurves]:
    """Training curves by condition, from a run's log; entries without an epoch or a condition are left out."""
    by_condition: dict[str, dict[int, Mapping[str, Any]]] = {}
    for entry in log:
        condition, epoch = entry.get("condition"), entry.get("epoch")
        if isinstance(condition, str) and type(epoch) is int and 0 < epoch < 2**31:
            by_condition.setdefault(condition, {})[epoch] = entry
    return {condition: _curves(condition, entries) for condition, entries in by_condition.items()}


def _curves(condition: str, entries: Mapping[int, Mapping[str, Any]]) -> TrainingCurves:
    epochs = sorted(entries)
    names = dict.fromkeys(name for epoch in epochs for name, value in entries[epoch].items() if _is_number(value))
    series = {
        name: np.array([_number(entries[epoch].get(name)) for epoch in epochs], dtype=np.float64)
        for name in names
        if name not in ("epoch", "test_n", "test_pgd_n")
    }
    sizes = [entries[epoch].get("test_n") for epoch in epochs]
    test_n = min((size for size in sizes if type(size) is int and size > 0), default=None)
    return TrainingCurves(condition, np.array(epochs, dtype=np.int64), series, test_n)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    """As float64; NaN for what is no number or beyond ``LARGEST``."""
    try:
        number = float(value) if _is_number(value) else math.nan
    except OverflowError:
        return math.nan
    return number if abs(number) <= LARGEST else math.nan
