"""What may stand in one table: the same suite, corruptions, versions of tasks and images; and why the rest may not.

What is installed here decides which of several versions is ranked, if a record has it; otherwise the newest does. So a
third-party record of an unknown version cannot exclude all the others. A record of which some tasks do not compare
loses these columns and keeps the others.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdbench.leaderboard.installed import installed_suite
from kdbench.leaderboard.method_runs import MethodRuns, by_method
from kdbench.leaderboard.narrowing import Reason, narrowed
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.headline import installed_task, outside_of
from kdbench.results.untrusted import plain
from kdbench.specs import Suite
from kdbench.tasks.base import Task

OTHER_IMAGES = "other images of data set {} than most records here"


@dataclasses.dataclass(frozen=True)
class Group:
    """The records of one suite that can be compared."""

    suite: Suite
    installed: bool
    """Whether the suite is, as these records have it, installed here."""
    tasks: Mapping[str, int]
    """Task to the version that is ranked."""
    methods: tuple[MethodRuns, ...]
    """By name and parameters."""
    excluded: tuple[Excluded, ...]


Selection = tuple[list[Evidence], list[Excluded]]
"""The runs that stay, and those that do not."""


def group(runs: Sequence[Evidence]) -> list[Group]:
    """One group per name of a suite, and per setting that was changed by hand; in order of names."""
    by_suite: dict[str, list[Evidence]] = {}
    for run in runs:
        by_suite.setdefault(run.record.spec.suite.label, []).append(run)
    return [_group(same) for _, same in sorted(by_suite.items())]


def other_versions(runs: Sequence[Evidence], ranked: Group) -> list[Group]:
    """The groups of the other versions of a group's suite, newest first: they compare with nothing but themselves."""
    by_version: dict[int, list[Evidence]] = {}
    for run in runs:
        suite = run.record.spec.suite
        if suite.label == ranked.suite.label and suite.version != ranked.suite.version:
            by_version.setdefault(suite.version, []).append(run)
    return [_group(same) for _, same in sorted(by_version.items(), reverse=True)]


def comparable(runs: Sequence[Evidence]) -> Selection:
    """Of runs whose suites have one name and changes, those that may stand in one table; and why the others may not."""
    here = _installed(runs)
    kept: list[Evidence] = list(runs)
    excluded: list[Excluded] = []
    steps = (functools.partial(_of_one_suite, here), _of_one_kind_of_corruptions, _of_ranked_versions, _of_one_data)
    for step in steps:
        kept, others = step(kept)
        excluded += others
    return kept, excluded


def _installed(runs: Sequence[Evidence]) -> Suite | None:
    asked = runs[0].record.spec.suite
    return installed_suite(asked.name, asked.changed)


def _group(runs: Sequence[Evidence]) -> Group:
    here = _installed(runs)
    kept, excluded = comparable(runs)
    suite = kept[0].record.spec.suite
    installed = here is not None and _content(here) == _content(suite)
    methods, surplus = by_method(kept)
    return Group(
        suite=here if here is not None and installed else suite,
        installed=installed,
        tasks=_newest(kept),
        methods=tuple(methods),
        excluded=(*excluded, *surplus),
    )


def _split(
    runs: Sequence[Evidence],
    key: Callable[[Evidence], str],
    preference: Callable[[str, Sequence[Evidence]], tuple[Any, ...]],
    reason: Callable[[Evidence, Evidence], str],
) -> Selection:
    """The runs of the key that is preferred; the others with the reason, which is made from one of each."""
    by_key: dict[str, list[Evidence]] = {}
    for run in runs:
        by_key.setdefault(key(run), []).append(run)
    best = max(by_key, key=lambda name: preference(name, by_key[name]))
    kept = by_key[best]
    return kept, [exclude(run, reason(run, kept[0])) for run in runs if key(run) != best]


def _of_one_suite(here: Suite | None, runs: Sequence[Evidence]) -> Selection:
    """The suite as it is installed here, else its newest version."""
    wanted = _content(here) if here is not None else ""

    def preference(content: str, same: Sequence[Evidence]) -> tuple[Any, ...]:
        versions = sum(_newest(same).values())
        return content == wanted, same[0].record.spec.suite.version, versions, len(same), content

    def reason(run: Evidence, ranked: Evidence) -> str:
        return other_suite(run.record.spec.suite, ranked.record.spec.suite)

    return _split(runs, lambda run: _content(run.record.spec.suite), preference, reason)


def _of_one_kind_of_corruptions(runs: Sequence[Evidence]) -> Selection:
    """Generated or published corruptions, whichever most have of those that measured any."""

    def measured(run: Evidence) -> list[str]:
        return _tasks(run, lambda task: task.uses_corruptions)

    kinds = Counter(run.record.spec.corruption_images for run in runs if measured(run))
    ranked = max(kinds, key=lambda kind: (kinds[kind], kind), default="")

    def reason(run: Evidence) -> Reason:
        images = run.record.spec.corruption_images
        return measured(run) if images != ranked else (), f"{images} corruption images; here they are {ranked}"

    return narrowed(runs, reason)


def _of_ranked_versions(runs: Sequence[Evidence]) -> Selection:
    """What was measured by the ranked version of each task, the installed one where a run has it, else the newest."""
    tasks = load_plugins().tasks
    here = {name: tasks.get(name).version for name in tasks.names() if name not in tasks.clashes()}
    seen = {(name, version) for run in runs for name, version in run.record.spec.tasks.items()}
    ranked = {name: here[name] if (name, here.get(name)) in seen else v for name, v in _newest(runs).items()}

    def reason(run: Evidence) -> Reason:
        other = {name: version for name, version in run.record.spec.tasks.items() if version != ranked[name]}
        said = (
            f"version {version} of task {plain(name)}; here it is {ranked[name]}" for name, version in other.items()
        )
        return other, ", ".join(said)

    return narrowed(runs, reason)


def _newest(runs: Iterable[Evidence]) -> dict[str, int]:
    """Task to the newest version that a run has, by name."""
    newest: dict[str, int] = {}
    for run in runs:
        for name, version in run.record.spec.tasks.items():
            newest[name] = max(version, newest.get(name, version))
    return dict(sorted(newest.items()))


def _of_one_data(runs: Sequence[Evidence]) -> Selection:
    """What was measured on the images that most have. Those of the suite decide on a whole record; those of an
    out-of-distribution set on the tasks that need one; those of another set on the tasks that measured it besides."""
    same, excluded = _of_one_choice(runs)
    for narrow in (_of_one_away, _of_ones_besides):
        same, others = narrow(same)
        excluded += others
    return same, excluded


def _of_one_choice(runs: Sequence[Evidence]) -> Selection:
    """The runs on the data sets on which most was measured; one that needed fewer of them is still comparable."""
    counted: dict[str, int] = {}
    for run in runs:
        text, spec = json.dumps(_suites_own(run), sort_keys=True), run.record.spec
        counted[text] = counted.get(text, 0) + len(spec.tasks) * len(spec.params)
    sets = {text: json.loads(text).items() for text in counted}
    # A record of fewer data sets speaks for each larger choice that holds its own: parts never outvote the whole.
    support = {text: sum(count for part, count in counted.items() if sets[part] <= sets[text]) for text in counted}
    ranked = json.loads(max(counted, key=lambda text: (support[text], len(text), text)))
    kept: list[Evidence] = []
    excluded: list[Excluded] = []
    for run in runs:
        other = [name for name, sha256 in _suites_own(run).items() if ranked.get(name) != sha256]
        if not other:
            kept.append(run)
        elif other[0] in ranked:
            excluded.append(exclude(run, OTHER_IMAGES.format(plain(other[0]))))
        else:
            excluded.append(exclude(run, f"data set {plain(other[0])}; here it is {', '.join(map(plain, ranked))}"))
    return kept, excluded


def _of_one_away(runs: Sequence[Evidence]) -> Selection:
    """What was measured on the out-of-distribution set that most have."""
    counted = Counter(item for run in runs for item in _away(run).items())
    if len(counted) < 2:
        return list(runs), []
    name, sha256 = max(counted, key=lambda item: (counted[item], item))

    def reason(run: Evidence) -> Reason:
        other = next((one for one, found in _away(run).items() if (one, found) != (name, sha256)), None)
        if other is None:
            return (), ""
        why = (
            OTHER_IMAGES.format(plain(name)) if other == name else f"data set {plain(other)}; here it is {plain(name)}"
        )
        return _tasks(run, lambda task: task.needs_ood), why

    return narrowed(runs, reason)


def _of_ones_besides(runs: Sequence[Evidence]) -> Selection:
    """What was measured on those images of each set besides the suite's that most have."""
    counted = Counter((name, run.record.spec.datasets[name]) for run in runs for name in _besides(run))
    ranked = dict(sorted(counted, key=lambda item: (counted[item], item)))  # of each name the one that most have

    def reason(run: Evidence) -> Reason:
        spec, tasks = run.record.spec, _besides(run)
        other = [name for name in tasks if spec.datasets[name] != ranked[name]]
        return [task for name in other for task in tasks[name]], OTHER_IMAGES.format(", ".join(map(plain, other)))

    return narrowed(runs, reason)


def _suites_own(run: Evidence) -> dict[str, str]:
    """A run's data sets without those that only some of its tasks need."""
    some = _away(run).keys() | _besides(run).keys()
    return {name: sha256 for name, sha256 in run.record.spec.datasets.items() if name not in some}


def _away(run: Evidence) -> dict[str, str]:
    """The out-of-distribution set that a run's tasks measured: of its suite, or one that nothing else explains."""
    spec, besides = run.record.spec, _besides(run)
    if not _tasks(run, lambda task: task.needs_ood):
        return {}
    return {name: found for name, found in spec.datasets.items() if name != spec.suite.dataset and name not in besides}


def _besides(run: Evidence) -> dict[str, list[str]]:
    """Data sets that a run's tasks measured beside those that its suite names, and which tasks did."""
    spec = run.record.spec
    others = sorted(spec.datasets.keys() - {spec.suite.dataset, *spec.suite.ood})
    tasks = {name: [task for task in spec.tasks if name in outside_of(spec.suite, task)] for name in others}
    return {name: found for name, found in tasks.items() if found}


def _tasks(run: Evidence, which: Callable[[Task], bool]) -> list[str]:
    """Those of a run that are installed here and are such."""
    found = ((name, installed_task(name)) for name in run.record.spec.tasks)
    return [name for name, task in found if task is not None and which(task)]


def _content(suite: Suite) -> str:
    return json.dumps(_values(suite), sort_keys=True)


def _values(suite: Suite) -> dict[str, Any]:
    """Without its prose."""
    return suite.model_dump(mode="json", exclude={"title", "why"})


def other_suite(theirs: Suite, ours: Suite) -> str:
    """How a suite differs from one of the same name in more than its prose, "" where it does not."""
    found, here = _values(theirs), _values(ours)
    if found == here:
        return ""
    if theirs.version != ours.version:
        return f"version {theirs.version} of the suite; here it is {ours.version}"
    return f"another suite of this name: {_difference(here, found)}"


def _difference(ours: Any, theirs: Any, where: str = "") -> str:
    """The first place where two values differ, and how."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                return _difference(ours.get(key), theirs.get(key), f"{where}.{plain(key, 60)}".lstrip("."))
    return f"{where} is {plain(json.dumps(theirs), 80)}; here it is {plain(json.dumps(ours), 80)}"
