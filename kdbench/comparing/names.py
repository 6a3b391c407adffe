"""Scores by the names that people write: ``clean``, ``pgd-20``, ``ece``, ``gaussian_noise 3``."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence

from kdbench.errors import KdbenchError, unknown_name
from kdbench.leaderboard.axes import Column, column_of, columns
from kdbench.results.evidence import Evidence
from kdbench.results.headline import Headline
from kdbench.results.record import Score
from kdbench.results.wording import describe_setting, name, shared
from kdbench.specs import Suite

MOST_NAMED = 6
"""Scores that an error lists."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Named:
    """One score, under each condition that has it."""

    title: str
    columns: tuple[Column, ...]
    names: frozenset[str]
    """Whole names, as ``_canonical`` writes them."""
    words: frozenset[str]
    """What may stand in a name, in any order; nothing where only whole names mean it."""
    short: str
    """The shortest name, for an error."""
    distance: int
    """In how much its metric and setting differ from the task's headline: of several scores that fit the nearest is
    meant."""


def choose(
    suite: Suite,
    runs: Sequence[Evidence],
    wanted: Sequence[str] | None = None,
    *,
    tasks: Sequence[str] | None = None,
    conditions: Sequence[str] | None = None,
) -> list[Column]:
    """The columns of the scores that are wanted, score by score and condition by condition.

    Args:
        wanted: names of scores: a task, a leaderboard's heading or its beginning (``pgd-20``), or words of metric and
            setting that no other score has together (``gaussian_noise 3``); None: the headline of every task.
        tasks: only these; None: all.
        conditions: only under these; None: all.

    Raises:
        KdbenchError: a name that nothing has, with the nearest right one, or that several scores have; or that none
            of the conditions has.
    """
    named = _named(suite, runs)
    _check("condition with scores", conditions, {c.axis.condition for one in named for c in one.columns})
    _check("task with scores", tasks, {c.axis.task for one in named for c in one.columns})
    left = [kept for one in named if (kept := _kept(one, tasks, conditions)) is not None]
    if wanted is None:
        found = [one for one in left if one.distance == 0]
    else:
        found = list(dict.fromkeys(_resolve(text, left, named) for text in wanted))
    if not found:
        raise KdbenchError("the records have no score that was asked for", "drop --tasks or --condition")
    chosen = [column for one in found for column in one.columns]
    order = list(suite.conditions)
    return chosen if wanted else sorted(chosen, key=lambda column: order.index(column.axis.condition))


def _check(kind: str, asked: Sequence[str] | None, known: Iterable[str]) -> None:
    known = set(known)
    for one in asked or ():
        if one not in known:
            raise unknown_name(kind, one, known)


def _kept(one: _Named, tasks: Sequence[str] | None, conditions: Sequence[str] | None) -> _Named | None:
    """With the columns of these tasks and conditions alone; None where none is left."""
    columns = tuple(
        column
        for column in one.columns
        if (tasks is None or column.axis.task in tasks) and (conditions is None or column.axis.condition in conditions)
    )
    return dataclasses.replace(one, columns=columns) if columns else None


def _resolve(text: str, named: Sequence[_Named], every: Sequence[_Named]) -> _Named:
    """The score of that name among those that are asked about; ``every`` there is, for a better answer."""
    found = _fitting(text, named)
    if len(found) == 1:
        return found[0]
    if found:
        raise _ambiguous(text, found)
    if _fitting(text, every):
        raise KdbenchError(f"'{text}' was measured, but of no task and condition that was asked for", "ask for more")
    near, heads = ({one.short for one in named if one.distance <= most} for most in (1, 0))
    known = near if difflib.get_close_matches(text, near, n=1, cutoff=0.5) else heads
    raise unknown_name("score", text, known, "`kdbench describe suite` shows what is measured")


def _fitting(text: str, named: Sequence[_Named]) -> list[_Named]:
    """Those that a text means; of several that it fits the nearest to a headline."""
    whole, words = _canonical(text), frozenset(_words(text))
    fitting = [one for one in named if whole in one.names] or [one for one in named if words and words <= one.words]
    nearest = min((one.distance for one in fitting), default=0)
    return [one for one in fitting if one.distance == nearest]


def _ambiguous(text: str, found: Sequence[_Named]) -> KdbenchError:
    listed = [f"'{one.title}'" for one in found[:MOST_NAMED]]
    more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return KdbenchError(f"'{text}' means {len(found)} scores: {', '.join([*listed, *more])}", "write more of the name")


def _named(suite: Suite, runs: Sequence[Evidence]) -> list[_Named]:
    """Every score of the runs: headlines first, in a leaderboard's order."""
    heads = columns(suite, runs)
    found = []
    for place in dict.fromkeys((column.axis.task, column.headline.title) for column in heads):
        own = tuple(column for column in heads if (column.axis.task, column.headline.title) == place)
        found.append(_headline(own))
    taken = {column.axis.key: column.headline for column in heads}
    others: dict[tuple[str, str], list[tuple[Column, int]]] = {}
    for (condition, task), scores in _by_place(suite, runs).items():
        head = taken.get(f"{condition}/{task}")
        known = shared([score.setting for score in scores]) if len(scores) > 1 else {}
        for title, score in {name(score, known): score for score in scores}.items():
            if head is None or not head.picks(score):
                one = _column(suite, condition, title, score, scores, known)
                others.setdefault((task, title), []).append((one, _distance(score, head)))
    return found + [
        _Named(
            title, tuple(one for one, _ in own), frozenset([_canonical(title)]), frozenset(_words(title)), title,
            min(distance for _, distance in own),
        )
        for (_, title), own in others.items()
    ]  # fmt: skip


def _distance(score: Score, head: Headline | None) -> int:
    """At least 1: it is not the headline."""
    if head is None:
        return 1
    apart = sum(score.setting.get(key) != value for key, value in head.setting.items())
    return max(1, apart + (score.metric != head.metric))


def _by_place(suite: Suite, runs: Sequence[Evidence]) -> dict[tuple[str, str], list[Score]]:
    """Condition and task to all scores, in the suite's order of conditions."""
    found: dict[tuple[str, str], list[Score]] = {}
    for condition in suite.conditions:
        for run in runs:
            for score in run.record.scores:
                if score.condition == condition:
                    found.setdefault((condition, score.task), []).append(score)
    return found


def _column(
    suite: Suite, condition: str, title: str, score: Score, scores: Sequence[Score], known: dict[str, object]
) -> Column:
    setting = {key: value for key, value in score.setting.items() if key not in known}
    headline = Headline(
        title.removesuffix(" (lower is better)"), score.metric, setting, noisy=True, unit=score.unit,
        higher_is_better=score.higher_is_better,
    )  # fmt: skip
    key = f"/{score.metric} {describe_setting(setting)}".rstrip()
    return column_of(suite, condition, score.task, headline, scores, key)


def _headline(own: tuple[Column, ...]) -> _Named:
    axis, title = own[0].axis, own[0].headline.title
    parts = title.split()
    beginnings = [" ".join(parts[: count + 1]) for count in range(len(parts))]
    names = [axis.task, axis.metric, f"{axis.task}/{axis.metric}", axis.title, *beginnings]
    return _Named(title, own, frozenset(map(_canonical, names)), frozenset(), parts[0].lower(), 0)


def _canonical(text: str) -> str:
    """One spelling of a name.

    >>> _canonical("PGD-20 ε 2/255"), _canonical("gaussian_noise 3")
    ('pgd 20 2/255', 'gaussian noise 3')
    """
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    """Words and numbers: "2/255" and ".031" are one each."""
    return re.findall(r"[a-z]+|\.?\d[\d./]*", text.lower())
