"""A run's scores beside those of the suite's reference method among the published records, before anything heavy is
loaded; and what to do next."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.cli.options import PUBLISHED
from kdbench.errors import KdbenchError
from kdbench.results.headline import RANKED_SEEDS
from kdbench.results.record import read_record
from kdbench.results.wording import name, percent

if TYPE_CHECKING:
    from rich.table import Table

    from kdbench.results.headline import Headline, HeadlineOf
    from kdbench.results.record import Record, Score
    from kdbench.specs import Suite


def published_folder() -> Path | None:
    """The published records: of the working folder, else of the checkout that kdbench runs from."""
    places = (PUBLISHED, Path(__file__).parents[2] / PUBLISHED)
    return next((place for place in places if place.is_dir()), None)


def reference_method(suite: Suite) -> str | None:
    """The method that most of the suite's own networks are trained by."""
    counted = Counter(network.method for network in suite.networks.values())
    return counted.most_common(1)[0][0] if counted else None


def reference_records(record: Record, folder: Path | None = None) -> tuple[Path | None, list[Record]]:
    """Where the published records of the reference method lie, and those that may stand beside ``record``: finished,
    without parameters of their own, of the very suite, data, corruptions and versions of tasks."""
    where, suite = folder or published_folder(), record.spec.suite
    method = reference_method(suite)
    if where is None or method is None:
        return None, []
    place, found = where / suite.name / method, []
    for path in sorted(place.glob("*.json")):
        try:
            one = read_record(path)
        except KdbenchError:
            continue  # not of this version; `kdbench leaderboard build` says why
        if one.status == "finished" and not one.params_passed and one.evaluated is None and _alike(one, record):
            found.append(one)
    return place, sorted(found, key=lambda one: one.spec.seed)


def _alike(one: Record, other: Record) -> bool:
    return _setting(one) == _setting(other) and all(
        other.spec.tasks.get(task, version) == version for task, version in one.spec.tasks.items()
    )


def _setting(record: Record) -> tuple[Any, ...]:
    spec = record.spec
    return spec.suite.model_dump(exclude={"title", "why"}), spec.datasets, spec.corruption_images


def beside_table(record: Record, headlines: HeadlineOf, folder: Path | None = None) -> Table | None:
    """The scores that stand for tasks, beside the mean of the published ones; None where nothing is published."""
    place, others = reference_records(record, folder)
    if not others:
        return None
    from kdbench.cli.tables import numbers

    rows = list(_rows(record, others, headlines))
    if not rows:
        return None
    method, seeds = others[0].spec.method, ", ".join(str(one.spec.seed) for one in others)
    title = f"beside {method}, mean of seed {seeds} of the published records in {place}"
    mine = f"{record.spec.method}, seed {record.spec.seed}"
    return numbers(title, ("measured", mine, method, "lowest - highest"), rows)


def _rows(record: Record, others: Sequence[Record], headlines: HeadlineOf) -> Iterator[tuple[str, ...]]:
    found: dict[str, Headline | None] = {task: headlines(record.spec.suite, task) for task in record.spec.tasks}
    kept = [{_key(score): score.value for score in one.scores} for one in others]
    for score in record.scores:
        headline = found.get(score.task)
        values = [by_key[_key(score)] for by_key in kept if _key(score) in by_key]
        if headline is None or not headline.picks(score) or len(values) < len(others):
            continue
        known = {key: value for key, value in score.setting.items() if key not in headline.setting}
        mean = score.model_copy(
            update={"value": statistics.mean(values), "ci_low": min(values), "ci_high": max(values)}
        )
        own, other, ends = percent(score)[0], *percent(mean)
        yield f"{score.condition} {name(score, known)}", own, other, ends


def _key(score: Score) -> tuple[Any, ...]:
    return score.condition, score.task, score.metric, repr(sorted(score.setting.items()))


def next_commands(
    records: Sequence[Record], folders: Mapping[str, Path], asked: Sequence[str]
) -> list[tuple[str, str]]:
    """Three commands that go on from finished runs, each with what it is for.

    Args:
        folders: run id to its folder.
        asked: the words of the command that ran them, without seeds.
    """
    last = str(folders[records[-1].run_id])
    suite = records[-1].spec.suite
    seeds = {record.spec.seed for record in records}
    more = [seed for seed in range(RANKED_SEEDS + len(seeds)) if seed not in seeds][: RANKED_SEEDS - len(seeds)]
    again = [*asked, *(word for seed in sorted([*seeds, *more]) for word in ("--seed", str(seed)))]
    out = str(folders[records[-1].run_id].parents[2])
    first = (
        (shlex.join(again), "three seeds, without which there is no test and no rank") if more
        else (shlex.join(["kdbench", "leaderboard", "show", out, "--suite", suite.label]), "what there is, ranked")
    )  # fmt: skip
    shown = [str(folders[record.run_id]) for record in records[-MOST_SIDE_BY_SIDE:]]
    return [
        first,
        (shlex.join(["kdbench", "report", *shown]), "figures and numbers on one page"),
        (shlex.join(["kdbench", "leaderboard", "submit", last]), "put it among the published records"),
    ]


MOST_SIDE_BY_SIDE = 4
"""Runs of a report that still fit beside each other."""
