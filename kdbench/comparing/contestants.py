"""Who is compared: from words (a method, a record, a folder, a study) to methods with one run per seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError, unknown_name
from kdbench.leaderboard.grouping import comparable
from kdbench.leaderboard.method_runs import MethodRuns, by_method
from kdbench.plugin.parameters import parse_assignments
from kdbench.results.evidence import Evidence, Excluded
from kdbench.results.store import read_evidence, read_records
from kdbench.results.untrusted import plain
from kdbench.specs import Suite
from kdbench.suites.changes import is_of_suite

if TYPE_CHECKING:
    from kdbench.studies.folder import StudyFolder


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A method with one setting of its parameters, or a model from elsewhere."""

    title: str
    """Its own among all that are compared."""
    runs: MethodRuns

    @property
    def finished(self) -> tuple[Evidence, ...]:
        """By seed, one per seed."""
        return self.runs.finished

    @property
    def evaluated(self) -> bool:
        """Whether it is a model that was not trained here, which has no seed."""
        return any(run.record.evaluated is not None for run in self.finished)


@dataclasses.dataclass(frozen=True)
class Field:
    """All that are compared: runs of one setting."""

    suite: Suite
    contestants: tuple[Contestant, ...]
    """In the order of the words; each has a finished run."""
    notes: tuple[str, ...]
    """What was left out, and why."""

    @property
    def runs(self) -> list[Evidence]:
        """All finished ones."""
        return [run for one in self.contestants for run in one.finished]


@dataclasses.dataclass(frozen=True)
class Meant:
    """Runs as they were read, by the word that means them: what they compare by is asked of them as often as needed."""

    words: Mapping[str, Sequence[Evidence]]
    notes: tuple[str, ...]
    """What could not be read."""

    def compared(self, suite: str | None = None, *, varied: str = "") -> Field:
        """Who is compared; arguments and errors as for ``find``."""
        notes = list(self.notes)
        changed = {key for runs in self.words.values() for run in runs for key in run.record.spec.suite.changed}
        if is_of_suite(varied) and varied not in changed:
            raise unknown_name("value of the suite in which these runs differ", varied, changed)
        chosen, left = _of_one_suite(self.words, suite, varied)
        notes += left
        kept: list[Evidence] = []
        excluded: list[Excluded] = []
        for same in _by_label([run for runs in chosen.values() for run in runs]):
            alike, others = comparable(same)
            kept += alike
            excluded += others
            notes += [
                f"{plain(run.record.spec.method)} {run.record.run_id}: {plain(task)} left out: {why}"
                for run in alike
                for task, why in run.left_out.items()
            ]
        notes += [_reason(one) for one in excluded]
        found: list[tuple[str, MethodRuns]] = []
        by_path = {run.path: run for run in kept}
        for word, runs in chosen.items():
            alike = [by_path[run.path] for run in runs if run.path in by_path]
            if not alike:
                reason = next(one.reason for one in excluded if one.path in {run.path for run in runs})
                raise KdbenchError(f"'{word}' does not compare with the others: {reason}", "run it again as it is now")
            for same in _by_label(alike):
                methods, surplus = by_method(same)
                notes += [_reason(one) for one in surplus]
                value = same[0].record.spec.suite.changed.get(varied)
                more = {} if value is None else {varied: value}
                found += [(word, dataclasses.replace(one, params={**one.params, **more})) for one in methods]
        contestants, unfinished = _named(found)
        of_all = _without(kept[0].record.spec.suite, varied)
        return Field(of_all, tuple(contestants), tuple(dict.fromkeys([*notes, *unfinished])))


def find(words: Sequence[str], folder: Path, suite: str | None = None, *, varied: str = "") -> Field:
    """Who the words mean.

    A word is a method that has records in ``folder``, with ``name=value`` behind it to choose among its settings; a
    study of that folder; or a path: a record, a run's folder, a folder of records.

    Args:
        folder: of records, as ``kdbench run`` leaves it or published.
        suite: its name, or its label where values were changed by hand; None: the only one that all words have.
        varied: a value of the suite, as ``recipe.lr``, in which runs may differ: it counts as one of their parameters.

    Raises:
        KdbenchError: a word means nothing, or what it means is of another suite, setting or version than the others.
    """
    lookup = _Lookup(folder)
    meant = {word: lookup.runs(word) for word in dict.fromkeys(words)}
    return Meant(meant, tuple(lookup.notes)).compared(suite, varied=varied)


def of_study(study: StudyFolder) -> Meant:
    """The runs of a study. Raises ``KdbenchError`` where none is finished."""
    lookup = _Lookup(study.out)
    return Meant({study.name: lookup.of_study(study)}, tuple(lookup.notes))


class _Lookup:
    """Words to the runs that they mean."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.notes: list[str] = []

    def runs(self, word: str) -> list[Evidence]:
        """The runs; raises ``KdbenchError`` for a word that means none."""
        path = Path(word)
        if path.suffix == ".json" or ("/" in word and path.exists() and path.suffix != ".toml"):
            return self._at(path)
        name, *texts = word.split()
        if name in self._methods:
            return _with_values(name, self._methods[name], parse_assignments(f"'{word}'", texts))
        if name.endswith(".toml") or name in self._studies:
            from kdbench.studies.sweep import find_study  # seconds, for studies alone

            return self.of_study(find_study(self._folder, name))
        if path.exists():
            return self._at(path)
        where = f"{self._folder} has no record of it, and there is no such path"
        raise unknown_name("method, study or record", name, [*self._methods, *self._studies], where)

    def _at(self, path: Path) -> list[Evidence]:
        file = path / "record.json" if (path / "record.json").exists() else path
        if file.is_dir():
            found = self._read(file)
            if not found:
                raise KdbenchError(f"no record in {path}", "give a record, a run's folder or a folder of records")
            return found
        one = read_evidence(file)
        if isinstance(one, Excluded):
            raise KdbenchError(f"{file}: {one.reason}", "give a record, a run's folder or a folder of records")
        return [one]

    def _read(self, folder: Path) -> list[Evidence]:
        runs, excluded = read_records(folder)
        self.notes += [_reason(one) for one in excluded]
        return list(runs)

    def of_study(self, study: StudyFolder) -> list[Evidence]:
        """Those of a study that were started; raises ``KdbenchError`` where none is finished."""
        nodes = [node for node in study.plan().nodes if node.kind == "run"]
        states = study.states(nodes)
        there = [study.out / node.path for node in nodes if states[node.key] != "open"]
        read = [read_evidence(path) for path in there if path.exists()]
        found = [one for one in read if isinstance(one, Evidence)]
        done = sum(one.record.status == "finished" for one in found)
        if not done:
            raise KdbenchError(
                f"study '{study.name}' has no finished run of {len(nodes)}", f"kdbench sweep status {study.name}"
            )
        if done < len(nodes):
            self.notes.append(f"study '{study.name}': {done} of {len(nodes)} runs are finished")
        return found

    @functools.cached_property
    def _methods(self) -> dict[str, list[Evidence]]:
        """Of the folder, by name; a folder that is not there has none."""
        by_name: dict[str, list[Evidence]] = {}
        for run in self._read(self._folder) if self._folder.is_dir() else []:
            by_name.setdefault(run.record.spec.method, []).append(run)
        return by_name

    @functools.cached_property
    def _studies(self) -> list[str]:
        from kdbench.studies.folder import STUDIES

        return sorted(path.parent.name for path in (self._folder / STUDIES).glob("*/plan.json"))


def _with_values(name: str, runs: Sequence[Evidence], wanted: Mapping[str, Any]) -> list[Evidence]:
    """Those whose resolved parameters are so under every condition."""
    known = {key for run in runs for params in run.record.spec.params.values() for key in params}
    for key in wanted:
        if key not in known:
            raise unknown_name(f"parameter of '{name}'", key, known)
    found = [run for run in runs if all(wanted.items() <= params.items() for params in run.record.spec.params.values())]
    if not found:
        given = " ".join(f"{key}={value}" for key, value in wanted.items())
        settings = dict.fromkeys(method.title for method in by_method(runs)[0])
        raise KdbenchError(f"no record of '{name}' with {given}", f"there are: {'; '.join(settings)}")
    return found


def _without(suite: Suite, varied: str) -> Suite:
    """The suite named as if nothing was changed in the value that runs differ in."""
    return suite.model_copy(update={"changed": {key: one for key, one in suite.changed.items() if key != varied}})


def _by_label(runs: Iterable[Evidence]) -> list[list[Evidence]]:
    """Runs of one setting of the suite together."""
    by_label: dict[str, list[Evidence]] = {}
    for run in runs:
        by_label.setdefault(run.record.spec.suite.label, []).append(run)
    return list(by_label.values())


def _of_one_suite(
    meant: Mapping[str, Sequence[Evidence]], asked: str | None, varied: str
) -> tuple[dict[str, list[Evidence]], list[str]]:
    """The runs of the suite that was asked for, or of the only one that all words have; and what that leaves out."""

    def label(run: Evidence) -> str:
        return _without(run.record.spec.suite, varied).label

    labels = {word: {label(run) for run in runs} for word, runs in meant.items()}
    every = set().union(*labels.values())
    if asked is None:
        wanted = set.intersection(*labels.values())
    else:
        every_run = [run for runs in meant.values() for run in runs]
        wanted = {label(run) for run in every_run if asked in (label(run), run.record.spec.suite.name)}
        if not wanted:
            raise unknown_name("suite with these records", asked, every)
    if not wanted:
        said = "; ".join(f"'{word}' is of {' and '.join(sorted(map(plain, own)))}" for word, own in labels.items())
        raise KdbenchError(f"the records have no suite in common: {said}", "records of one suite compare")
    if len(wanted) > 1:
        raise KdbenchError(
            f"there are records of suites {'; '.join(sorted(map(plain, wanted)))}", "choose one with --suite"
        )
    chosen = {word: [run for run in runs if label(run) in wanted] for word, runs in meant.items()}
    for word, runs in chosen.items():
        if not runs:
            raise KdbenchError(
                f"'{word}' has no record of suite '{asked}'", f"it has: {'; '.join(sorted(labels[word]))}"
            )
    others = sorted(map(plain, every - wanted))
    return chosen, [f"records of other suites are left out: {'; '.join(others)}"] if others and not asked else []


def _named(found: Sequence[tuple[str, MethodRuns]]) -> tuple[list[Contestant], list[str]]:
    """Each once, with a title of its own; and those of which no run is finished, in words."""
    notes: list[str] = []
    once: dict[tuple[Path, ...], tuple[str, MethodRuns]] = {}
    for word, runs in found:
        notes += [f"{runs.title}, seed {one.record.spec.seed} failed: {_error(one)}" for one in runs.failed]
        if runs.finished:
            once.setdefault(tuple(run.path.resolve() for run in runs.finished), (word, runs))
        else:
            notes.append(f"{runs.title} is left out: no run of it is finished")
    titles = [runs.title for _, runs in once.values()]
    contestants = []
    for number, (word, runs) in enumerate(once.values(), 1):
        title = plain(runs.title, 80)
        if titles.count(runs.title) > 1:
            title = f"{title} [{number}]"
            notes.append(f"{title} is of {plain(word)}")
        contestants.append(Contestant(title, runs))
    return contestants, notes


def _error(run: Evidence) -> str:
    return plain(run.record.error or "", 120)


def _reason(one: Excluded) -> str:
    return f"left out: {' '.join(filter(None, (plain(one.method), one.run_id or str(one.path))))}: {one.reason}"


def require_several(field: Field, words: Iterable[str]) -> None:
    """Raise ``KdbenchError`` where there is nothing to compare."""
    if len(field.contestants) < 2:
        only = [one.title for one in field.contestants]
        why = f"; {field.notes[-1]}" if field.notes else ""
        raise KdbenchError(
            f"{' '.join(words)}: {f'only {only[0]}' if only else 'nothing'} to compare{why}",
            "name two methods, records or studies, or one with several settings",
        )
