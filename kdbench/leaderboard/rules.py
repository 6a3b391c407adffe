"""What must hold in a record. Each rule yields the place of what is wrong, and a message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256
from kdbench.leaderboard.case import Case, Finding
from kdbench.leaderboard.forgeries import fingerprint, noise_did_something, recipes
from kdbench.leaderboard.genuine import foreign_data
from kdbench.leaderboard.staleness import computation
from kdbench.metrics import wilson_interval
from kdbench.noise.observed import SHARE_TOLERANCE
from kdbench.results.headline import Headline, headline_of, unattacked_keys
from kdbench.results.record import Check, NoiseFacts, Score
from kdbench.results.untrusted import Where, plain
from kdbench.specs import Suite
from kdbench.suites.changes import with_changes
from kdbench.suites.reading import read_suite
from kdbench.tasks.scorecard import Scorecard

SAME = 1e-9
"""Room for the rounding of a mean."""


def names_and_versions(case: Case) -> Iterator[Finding]:
    """What the record names is installed here, in the same version."""
    spec, plugins = case.record.spec, case.plugins
    if case.record.evaluated is not None:
        pass  # it is of no method
    elif spec.method not in plugins.methods:
        yield ("spec", "method"), f"method '{spec.method}' is not installed here", "warning"
    elif plugins.methods.get(spec.method).source != spec.method_source:
        found = computation(case.record, plugins.methods.get(spec.method))
        yield ("spec", "method_source"), found.sentence(spec.method), "warning"
    if spec.suite.name not in plugins.suites:
        yield ("spec", "suite", "name"), f"suite '{spec.suite.name}' is not installed here", "warning"
    else:
        yield from _same_suite(spec.suite, read_suite(plugins.suites.get(spec.suite.name)))
    for name, version in spec.tasks.items():
        if name not in plugins.tasks:
            yield ("spec", "tasks", name), f"task '{name}' is not installed here: its scores are not checked", "warning"
        elif plugins.tasks.get(name).version != version:
            here = plugins.tasks.get(name).version
            yield ("spec", "tasks", name), f"version {version} of task '{name}', here is {here}", "warning"
    if case.record.provenance.kdbench_dirty:
        yield ("provenance", "kdbench_dirty"), "measured with changes that no commit has", "warning"


_NAMES_A_FILE = re.compile(r'[".]path"\s*:')


def _same_suite(found: Suite, ours: Suite) -> Iterator[Finding]:
    """A suite of that name and version is the one that is installed, but for what it says was changed by hand; more
    tasks may be added."""
    if found.version != ours.version:
        text = f"version {found.version} of suite '{ours.name}', here is {ours.version}"
        yield ("spec", "suite", "version"), text, "warning"
        return
    if _NAMES_A_FILE.search(json.dumps(found.changed)):  # it would be read here, and its hash be told
        yield ("spec", "suite", "changed"), "names a file of whoever made the record, expected its hash", "error"
        return
    try:
        ours = with_changes(ours, found.changed).without_paths()
    except KdbenchError as error:
        yield ("spec", "suite", "changed"), f"no change that suite '{ours.name}' allows: {error.message}", "error"
        return
    theirs, own = (suite.model_dump(mode="json", exclude={"title", "why", "tasks"}) for suite in (found, ours))
    for field in sorted({*theirs, *own}):  # at its default, what came later is in neither
        if theirs.get(field) != own.get(field):
            text = f"differs from '{field}' of suite '{ours.name}', version {ours.version}"
            yield ("spec", "suite", field), text, "error"
    for name, plan in ours.tasks.items():
        if found.tasks.get(name) != plan:
            text = f"differs from the plan of task '{name}' in suite '{ours.name}', version {ours.version}"
            yield ("spec", "suite", "tasks", name), text, "error"


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DIGEST = re.compile(r"[0-9a-f]{16}")


def specification(case: Case) -> Iterator[Finding]:
    """The parts of the specification belong together."""
    spec = case.record.spec
    if not _NAME.fullmatch(spec.method):
        yield ("spec", "method"), "is no name of a folder: letters, digits, '.', '_' and '-'", "error"
    for name, digest in spec.trainings.items():
        if not _DIGEST.fullmatch(digest):
            yield ("spec", "trainings", name), f"{digest!r} is no digest of a training", "error"
    trained = case.record.evaluated is None
    for condition in spec.params:
        if condition not in spec.suite.conditions:
            yield ("spec", "params", condition), f"the suite has no condition '{condition}'", "error"
        if trained and f"{condition}/student" not in spec.trainings:
            yield ("spec", "trainings"), f"the student of condition '{condition}' is missing", "error"
    if trained and spec.params.keys() != spec.recipes.keys():
        yield ("spec", "recipes"), f"recipes of {sorted(spec.recipes)}, parameters of {sorted(spec.params)}", "error"
    for condition, params in spec.params.items():
        for name in case.record.params_passed.keys() - params.keys():
            yield ("params_passed", name), f"not among the parameters of condition '{condition}'", "error"


_SHA256 = re.compile(r"[0-9a-f]{64}")
FEWEST_DIGITS = 8
"""Of sixteen that a hash has: in one of 10^17 there are fewer, in one that somebody filled in there may be one."""


def is_sha256(text: str) -> bool:
    """Whether a text can be a SHA-256.

    >>> [is_sha256(text) for text in (64 * "0", 64 * "g", 4 * "0123456789abcdef")]
    [False, False, True]
    """
    return bool(_SHA256.fullmatch(text)) and len(set(text)) >= FEWEST_DIGITS


def hashes(case: Case) -> Iterator[Finding]:
    """Hashes are there, look like hashes, and are of what the specification names."""
    record = case.record
    spec, found = record.spec, record.hashes
    for field in ("datasets", "subsets", "evidence"):
        for name, digest in getattr(found, field).items():
            if not is_sha256(digest):
                yield ("hashes", field, name), f"{digest!r} is no SHA-256", "error"
    for name, genuine in foreign_data(record).items():
        text = f"incomplete or other images and labels: found {spec.datasets[name]}, '{name}' has {genuine}"
        yield ("spec", "datasets", name), text, "error"
    if found.datasets != spec.datasets:
        yield ("hashes", "datasets"), "differs from spec.datasets", "error"
    if spec.suite.dataset not in found.datasets:
        yield ("hashes", "datasets"), f"'{spec.suite.dataset}' is missing", "error"
    if record.evaluated is not None and not is_sha256(record.evaluated.sha256):
        yield ("evaluated", "sha256"), f"{record.evaluated.sha256!r} is no SHA-256", "error"
    students = {f"{name}/student": network for name, network in found.students.items()}
    for name, network in {**students, **found.networks}.items():
        place: Where = ("students", name.removesuffix("/student")) if name in students else ("networks", name)
        if not is_sha256(network.sha256):
            yield ("hashes", *place, "sha256"), f"{network.sha256!r} is no SHA-256", "error"
        if network.training != spec.trainings.get(name):
            yield ("hashes", *place, "training"), f"spec.trainings has {spec.trainings.get(name)} for {name}", "error"
    if record.status == "finished":
        for name in spec.trainings.keys() - students.keys() - found.networks.keys():
            yield ("hashes",), f"the checkpoint of {name} is missing", "error"


def label_noise(case: Case) -> Iterator[Finding]:
    """What noise did to labels is what the conditions ask for, fits itself, and is of the labels that its kind has."""
    record = case.record
    conditions, found = record.spec.suite.conditions, record.hashes.label_noise
    for name, facts in found.items():
        noise = conditions[name].noise if name in conditions else None
        if noise is None or (noise.kind, noise.rate, noise.seed) != (facts.kind, facts.rate, facts.seed):
            yield ("hashes", "label_noise", name), "is not the label noise of that condition", "error"
        elif noise.sha256 is not None and noise.sha256 != facts.file_sha256:
            text = f"labels of the file {facts.file_sha256}, the condition names {noise.sha256}"
            yield ("hashes", "label_noise", name, "file_sha256"), text, "error"
        for field, text in _noise_facts(case, name, facts):
            yield ("hashes", "label_noise", name, field), text, "error"
    for name in record.spec.params if record.evaluated is None else ():
        if name in conditions and conditions[name].noise is not None and name not in found:
            yield ("hashes", "label_noise"), f"the label noise of condition '{name}' is missing", "error"


def _noise_facts(case: Case, condition: str, facts: NoiseFacts) -> Iterator[tuple[str, str]]:
    """What can't be true of a training set's labels: the field and why."""
    for field in ("sha256", "file_sha256"):
        digest = getattr(facts, field)
        if digest is not None and not is_sha256(digest):
            yield field, f"{digest!r} is no SHA-256"
    if not 0 <= facts.realised <= 1:
        yield "realised", f"{facts.realised:.6g} is no share"
    if facts.confusion is not None:
        counts = [(true, seen, n) for true, row in facts.confusion.items() for seen, n in row.items()]
        total, wrong = sum(n for *_, n in counts), sum(n for true, seen, n in counts if true != seen)
        if min((n for *_, n in counts), default=0) < 0 or total != facts.count:
            yield "confusion", f"{total:,} examples in all, there are {facts.count} labels"
        elif total and abs(wrong / total - facts.realised) > SAME:
            yield "realised", f"{facts.realised:.6g}, but the confusions give {wrong / total:.6g}"
    kind, setting = case.plugins.label_noises.find(facts.kind), case.record.spec.suite.conditions.get(condition)
    if kind is None or kind.read is None:
        return
    if facts.confusion is None:
        yield "confusion", f"is missing: labels of '{facts.kind}' exist already, and their confusions are counted"
    if kind.sha256 not in (None, facts.file_sha256):
        yield "file_sha256", f"{facts.file_sha256}, the file of '{facts.kind}' has {kind.sha256}"
    whole = setting is not None and setting.train_size is None
    if kind.share is not None and whole and abs(facts.realised - kind.share) > SHARE_TOLERANCE:
        yield "realised", f"{facts.realised:.4%} of the labels are wrong, those of '{facts.kind}' are {kind.share:.2%}"


def scores(case: Case) -> Iterator[Finding]:
    """Each score is of a task and condition of the run, once, within its interval, and as its examples say."""
    record = case.record
    seen: set[tuple[Any, ...]] = set()
    headlines = {name: headline_of(record.spec.suite, name) for name in record.spec.tasks}
    for number, score in enumerate(record.scores):
        where: Where = ("scores", number)
        if score.task not in record.spec.tasks:
            yield (*where, "task"), f"the run has no task '{score.task}'", "error"
        if score.condition not in record.spec.params:
            yield (*where, "condition"), f"the run has no condition '{score.condition}'", "error"
        key = (score.condition, score.task, score.metric, *sorted(score.setting.items()))
        if key in seen:
            yield where, "the same score is there twice", "error"
        seen.add(key)
        yield from ((where + at, text, level) for at, text, level in _score(case, score, headlines.get(score.task)))
    if record.status == "finished":
        measured = {score.task for score in record.scores}
        for name in record.spec.tasks.keys() - measured:
            if any(record.spec.suite.plans(name, condition) for condition in record.spec.params):
                yield ("scores",), f"task '{name}' has no score", "warning"


def _score(case: Case, score: Score, headline: Headline | None) -> Iterator[Finding]:
    """One score by itself."""
    if not score.ci_low - SAME <= score.value <= score.ci_high + SAME:
        interval = f"{score.ci_low:.6g} to {score.ci_high:.6g}"
        yield ("value",), f"{score.value:.6g} lies outside its interval, {interval}", "error"
    known = case.task(score.task)
    if known is None:
        return
    task, _ = known
    metrics, keys = task.undeclared([score])
    if metrics:
        yield ("metric",), f"task '{task.name}' has no metric '{plain(score.metric)}'", "error"
    if keys:
        text = f"task '{task.name}' has no '{plain(min(keys))}' in the settings of its scores"
        yield ("setting",), text, "error"
    if headline is not None and headline.means(score) and not headline.agrees(score):
        found = f"{score.unit}, {_direction(score.higher_is_better)}"
        said = f"{headline.unit}, {_direction(headline.higher_is_better)}"
        yield ("higher_is_better",), f"{found} is better, but task '{task.name}' says {said} is better", "error"
    elif task.lower_is_better is not None and score.higher_is_better != (score.metric not in task.lower_is_better):
        found, said = _direction(score.higher_is_better), _direction(not score.higher_is_better)
        text = f"{found} is better, but task '{task.name}' says {said} is better of '{plain(score.metric)}'"
        yield ("higher_is_better",), text, "error"
    if score.metric in task.shares and score.unit != "fraction":
        yield ("unit",), f"{plain(score.unit)!r}, but '{score.metric}' of task '{task.name}' is a fraction", "error"
    if score.metric in task.shares and score.unit == "fraction":
        low, high = wilson_interval(min(max(score.value, 0.0), 1.0) * score.n, score.n)
        for field, ours, theirs in (("ci_low", low, score.ci_low), ("ci_high", high, score.ci_high)):
            inside = theirs - ours if field == "ci_low" else ours - theirs
            wrong = inside > 1e-6 if "draws" in score.setting else abs(inside) > 1e-6  # draws widen it
            if wrong:
                yield (field,), f"{theirs:.6g}, but {score.value:.6g} of n = {score.n} gives {ours:.6g}", "error"
    name = task.results_key(score)
    if name is None or case.predictions is None:
        return
    array = case.predictions.get(f"{score.condition}/{score.task}/{name}")
    if array is None:
        yield ("value",), f"predictions.npz has no '{score.condition}/{score.task}/{name}'", "error"
    elif array.shape != (score.n,):
        yield ("n",), f"{score.n}, but there are per-example results of shape {array.shape}", "error"
    elif score.metric in task.shares and array.dtype != bool:
        yield ("value",), f"the per-example results are {array.dtype}, expected truth values", "error"
    elif array.dtype == bool and abs(float(array.mean()) - score.value) > SAME:
        yield ("value",), f"{score.value:.6g}, but the per-example results give {float(array.mean()):.6g}", "error"


def _direction(higher_is_better: bool) -> str:
    return "higher" if higher_is_better else "lower"


def checks(case: Case) -> Iterator[Finding]:
    """A check passed or not as its value and limit say."""
    for number, check in enumerate(case.record.checks):
        if check.passed != (check.value <= check.limit):
            text = f"{check.passed}, but {check.value:.6g} found and at most {check.limit:.6g} passes"
            yield ("checks", number, "passed"), text, "error"
        if check.task not in check.flags:
            yield ("checks", number, "flags"), f"lacks its own task '{check.task}'", "error"


def tasks(case: Case) -> Iterator[Finding]:
    """What the tasks themselves object to, and whether the images are those of the recorded subset."""
    record = case.record
    places = {id(item): ("scores", number) for number, item in enumerate(record.scores)}
    places |= {id(item): ("checks", number) for number, item in enumerate(record.checks)}
    all_scores, all_checks = _by_place(record.scores), _by_place(record.checks)
    for name in record.spec.tasks:
        for condition in record.spec.params:
            measured = all_scores.get((name, condition), ())
            known = case.task(name)
            if known is None or not measured:
                continue
            task, settings = known
            results = case.results(condition)
            checked = all_checks.get((name, condition), ())
            for objection in task.audit(Scorecard(name, settings, measured, checked, results, unattacked_keys())):
                if objection.subject is None:
                    yield (objection.field,), f"{condition}: {objection.message}", "error"
                else:
                    yield (*places[id(objection.subject)], objection.field), objection.message, "error"
            index = results.get(f"{name}/index")
            digest = None if index is None else integers_sha256(index)
            if digest is not None and digest != record.hashes.subsets.get(name):
                yield ("hashes", "subsets", name), f"{condition}: the images are not those of this hash", "error"


Item = TypeVar("Item", Score, Check)


def _by_place(items: Iterable[Item]) -> dict[tuple[str, str], tuple[Item, ...]]:
    """Task and condition to what is of both."""
    found: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        found.setdefault((item.task, item.condition), []).append(item)
    return {place: tuple(those) for place, those in found.items()}


def log(case: Case) -> Iterator[Finding]:
    """The training log is of the run's conditions, epoch by epoch to the last."""
    if case.log is None:
        return
    epochs: dict[str, list[Any]] = {}
    for entry in case.log:
        epochs.setdefault(str(entry.get("condition")), []).append(entry.get("epoch"))
    recipes = case.record.spec.recipes
    for condition, found in epochs.items():
        if condition not in recipes:
            yield ("hashes", "evidence", "log.jsonl"), f"has a condition '{condition}'", "error"
        elif found != list(range(1, len(found) + 1)):
            yield ("hashes", "evidence", "log.jsonl"), f"{condition}: the epochs are not 1, 2, 3, ...", "error"
    if case.record.status == "finished":
        for condition, recipe in recipes.items():
            found = epochs.get(condition, [])
            if len(found) != recipe.epochs:
                text = f"{condition}: {len(found)} epochs, the recipe has {recipe.epochs}"
                yield ("hashes", "evidence", "log.jsonl"), text, "error"


RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    names_and_versions, specification, recipes, fingerprint, hashes, label_noise, noise_did_something, scores, checks,
    tasks, log,
)  # fmt: skip


def judge(case: Case) -> Iterator[Finding]:
    """All findings of all rules."""
    for rule in RULES:
        try:
            yield from rule(case)
        except KdbenchError as error:  # settings of a suite that a task refuses, say
            yield ("spec",), f"{error.message}", "error"
