"""From the per-example results beside records to samples that can be compared.

This is the one way: a leaderboard and a claim that compare the same records get the same interval. Which results a
score comes from, its task says (``Headline.results``, ``Headline.confidence``, ``Task.results_key``).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdbench.results.comparison import Sample, calibration_errors, from_intervals, shares
from kdbench.results.evidence import Evidence
from kdbench.results.headline import headline_of, installed_task, unattacked_keys
from kdbench.results.record import Score

BINS = 15
"""Of a calibration error whose setting does not say."""
MOST_BINS = 1000
"""An untrusted suite might ask for more than memory has."""
ROUNDING = 1e-6
"""Room for the rounding of a mean."""


@dataclasses.dataclass(frozen=True, eq=False)
class PerExample:
    """The results on single test examples that one score is the mean of."""

    values: NDArray[Any]
    """(n,): whether the answer is right, or the share of right ones, or the confidence."""
    correct: NDArray[np.bool_] | None
    """(n,): beside confidence, for a calibration error."""
    examples: str
    """Which test examples they are, and of which data; only results on the same are paired."""


def per_example(run: Evidence, score: Score) -> PerExample | None:
    """The results that a score of a run comes from, None where its predictions hold nothing usable."""
    if run.predictions is None:
        return None
    task, headline = installed_task(score.task), headline_of(run.record.spec.suite, score.task)
    folder = f"{score.condition}/{score.task}/"
    index, spec = run.predictions.get(f"{folder}index"), run.record.spec
    which = "all" if index is None else hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()
    examples = f"{spec.datasets.get(spec.suite.dataset, '')}:{which}"
    if headline is not None and headline.confidence and score.metric == headline.metric:
        return _confidence(run.predictions, score, f"{folder}{headline.confidence}", examples)
    if headline is not None and headline.results and headline.picks(score):
        names = [name for name in run.predictions if name.startswith(folder)]
        names = [name for name in names if fnmatchcase(name.removeprefix(folder), headline.results)]
    else:
        key = None if task is None else task.results_key(score)
        names = [name for name in [f"{folder}{key}"] if name in run.predictions]
    arrays = [run.predictions[name] for name in names]
    if not arrays or not all(array.dtype == np.bool_ and array.shape == (score.n,) for array in arrays):
        return None
    values = arrays[0] if len(arrays) == 1 else np.stack(arrays).mean(0, dtype=np.float64)
    return PerExample(values, None, examples)


def _confidence(predictions: Mapping[str, NDArray[Any]], score: Score, name: str, examples: str) -> PerExample | None:
    peaks = predictions.get(name)
    keys = [f"{score.condition}/{key}" for key in unattacked_keys()]
    correct = next((predictions[key] for key in keys if key in predictions), None)
    if peaks is None or correct is None or not peaks.shape == correct.shape == (score.n,):
        return None
    if not 1 <= _bins(score) <= MOST_BINS:
        return None
    if peaks.dtype.kind != "f" or correct.dtype != np.bool_ or not bool(((peaks >= 0) & (peaks <= 1)).all()):
        return None
    return PerExample(peaks, correct, examples)


def _bins(score: Score) -> int:
    return int(score.setting.get("bins", BINS))


def sample(scores: Sequence[Score], found: Sequence[PerExample | None]) -> tuple[Sample, bool]:
    """What is to be compared of a method, from its score for each seed and the per-example results of each; and
    whether these results fail to give those scores.

    Results count where they are on the same examples and give the score that the record states, for all seeds;
    otherwise the scores' own intervals do.
    """
    whole = [one for one in found if one is not None]
    if len(whole) == len(scores) and len({(one.examples, one.values.shape) for one in whole}) == 1:
        paired = _paired(scores, whole)
        # Confidences are kept in float32, and one of them may lie on the edge of a bin.
        slack = ROUNDING + 2 / paired.n * (whole[0].correct is not None)
        if np.allclose(paired.values, [score.value for score in scores], rtol=0, atol=slack):
            return paired, False
    alone = from_intervals(
        [score.value for score in scores],
        [score.ci_low for score in scores],
        [score.ci_high for score in scores],
        n=min(score.n for score in scores),
        fraction=scores[0].unit == "fraction",
    )
    return alone, bool(whole)


def _paired(scores: Sequence[Score], found: Sequence[PerExample]) -> Sample:
    values, examples = np.stack([one.values for one in found]), found[0].examples
    correct = [one.correct for one in found if one.correct is not None]
    if not correct:
        return shares(values, examples=examples)
    interval = (scores[0].ci_low, scores[0].ci_high) if len(scores) == 1 else None
    return calibration_errors(values, np.stack(correct), bins=_bins(scores[0]), examples=examples, interval=interval)
