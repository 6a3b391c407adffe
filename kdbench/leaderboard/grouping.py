"""Which records may stand in one table: the same suite, versions of tasks, images and methods; why others are excluded.

What is installed here decides which of several versions is ranked, if a record has it; otherwise the newest does. So a
stranger's record of a version yet unheard of cannot push everybody else's aside.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.untrusted import plain
from kdbench.specs import Suite, read_suite


@dataclasses.dataclass
class Group:
    """The records of one suite that can be compared."""

    suite: Suite
    tasks: Mapping[str, int]
    runs: list[Evidence]
    excluded: list[Excluded]
    installed: bool
    """Whether the suite is, as these records have it, installed here."""


def group(found: Sequence[Evidence]) -> list[Group]:
    """One group a suite's name, in order of names."""
    by_name: dict[str, list[Evidence]] = {}
    for one in found:
        by_name.setdefault(one.record.spec.suite.name, []).append(one)
    return [_comparable(runs) for _, runs in sorted(by_name.items())]


def _comparable(runs: Sequence[Evidence]) -> Group:
    here = _installed_suite(runs[0].record.spec.suite.name)
    wanted = _content(here) if here is not None else ""
    excluded: list[Excluded] = []

    def rank(content: str, same: Sequence[Evidence]) -> tuple[Any, ...]:
        versions = sum(_newest(same).values())
        return content == wanted, same[0].record.spec.suite.version, versions, len(same), content

    left = _split(runs, lambda one: _content(one.record.spec.suite), rank, _other_suite, excluded)
    left = _split(
        left,
        lambda one: one.record.spec.corruption_images,
        lambda images, same: (len(same), images),
        lambda one, ranked: (
            f"{one.record.spec.corruption_images} corruption images; here they are "
            f"{ranked.record.spec.corruption_images}"
        ),
        excluded,
    )
    left, tasks = _of_versions(left, excluded)
    left = _of_images(left, excluded)
    suite = here if here is not None and _content(left[0].record.spec.suite) == wanted else left[0].record.spec.suite
    return Group(suite, tasks, left, excluded, suite is here)


def _split(
    runs: Sequence[Evidence],
    key: Callable[[Evidence], str],
    rank: Callable[[str, Sequence[Evidence]], tuple[Any, ...]],
    reason: Callable[[Evidence, Evidence], str],
    excluded: list[Excluded],
) -> list[Evidence]:
    """The runs of the key that ranks first; to the others, the reason, from one of them and one of those."""
    by_key: dict[str, list[Evidence]] = {}
    for one in runs:
        by_key.setdefault(key(one), []).append(one)
    best = max(by_key, key=lambda name: rank(name, by_key[name]))
    kept = by_key[best]
    excluded += [exclude(one, reason(one, kept[0])) for one in runs if key(one) != best]
    return kept


def _of_versions(runs: list[Evidence], excluded: list[Excluded]) -> tuple[list[Evidence], dict[str, int]]:
    """The runs whose tasks all have the ranked versions, and these."""
    tasks = load_plugins().tasks
    here = {name: tasks.get(name).version for name in tasks.names() if name not in tasks.clashes()}
    seen = {(name, version) for one in runs for name, version in one.record.spec.tasks.items()}
    ranked = {name: here[name] if (name, here.get(name)) in seen else v for name, v in _newest(runs).items()}
    kept = []
    for one in runs:
        other = [name for name, version in one.record.spec.tasks.items() if version != ranked[name]]
        if other:
            version = one.record.spec.tasks[other[0]]
            excluded.append(exclude(one, f"version {version} of task {plain(other[0])}; here it is {ranked[other[0]]}"))
        else:
            kept.append(one)
    return (kept, ranked) if kept else _fallback(runs, excluded)


def _fallback(runs: list[Evidence], excluded: list[Excluded]) -> tuple[list[Evidence], dict[str, int]]:
    """No run has all ranked versions: those with the same as most."""
    del excluded[-len(runs) :]

    def versions(one: Evidence) -> str:
        return json.dumps(one.record.spec.tasks, sort_keys=True)

    kept = _split(
        runs, versions, lambda text, same: (len(same), text), lambda *_: "other versions of tasks than most", excluded
    )
    return kept, dict(kept[0].record.spec.tasks)


def _newest(runs: Iterable[Evidence]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for one in runs:
        for name, version in one.record.spec.tasks.items():
            newest[name] = max(version, newest.get(name, version))
    return dict(sorted(newest.items()))


def _of_images(runs: list[Evidence], excluded: list[Excluded]) -> list[Evidence]:
    """The runs on the data sets that most have; one that needed fewer of them is still comparable."""
    counted = Counter(json.dumps(one.record.spec.datasets, sort_keys=True) for one in runs)
    ranked = json.loads(max(counted, key=lambda text: (counted[text], len(text), text)))
    kept = []
    for one in runs:
        other = [name for name, sha256 in one.record.spec.datasets.items() if ranked.get(name) != sha256]
        if not other:
            kept.append(one)
        elif other[0] in ranked:
            excluded.append(exclude(one, f"other images of data set {plain(other[0])} than most records here"))
        else:
            excluded.append(exclude(one, f"data set {plain(other[0])}; here it is {', '.join(map(plain, ranked))}"))
    return kept


def _installed_suite(name: str) -> Suite | None:
    """Never by path: the name is a stranger's text."""
    try:
        return read_suite(load_plugins().suites.get(name))
    except KdbenchError:
        return None


def _content(suite: Suite) -> str:
    return json.dumps(_values(suite), sort_keys=True)


def _values(suite: Suite) -> dict[str, Any]:
    """Without its prose."""
    return suite.model_dump(mode="json", exclude={"title", "why"})


def _other_suite(one: Evidence, ranked: Evidence) -> str:
    ours, theirs = _values(ranked.record.spec.suite), _values(one.record.spec.suite)
    if ours["version"] != theirs["version"]:
        return f"version {theirs['version']} of the suite; here it is {ours['version']}"
    return f"another suite of this name: {_difference(ours, theirs)}"


def _difference(ours: Any, theirs: Any, where: str = "") -> str:
    """The first place where two values differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                return _difference(ours.get(key), theirs.get(key), f"{where}.{plain(key, 60)}".lstrip("."))
    return f"{where} is {plain(json.dumps(theirs), 80)}; here it is {plain(json.dumps(ours), 80)}"
