"""Each rule by itself: what it finds in a record that breaks it, and nothing in one that keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from kdbench.leaderboard import rules
from kdbench.leaderboard.rules import RULES, Case, Finding, judge
from kdbench.metrics import wilson_interval
from kdbench.noise.human import CIFAR10N
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import NoiseFacts, Score
from kdbench.specs import LabelNoise, TaskPlan
from kdbench.suites.changes import with_changes
from tests.leaderboard.evidence import HASH, Made, digits, make

Rule = Callable[[Case], Iterator[Finding]]


def case(made: Made) -> Case:
    return Case(made.record, load_plugins(), dict(made.predictions), list(made.log))


def installed(**options: object) -> Made:
    """A record of ce as it is installed here."""
    return make(source=load_plugins().methods.get("ce").source, **options)  # type: ignore[arg-type]  # passed on


def found(rule: Rule, made: Made) -> list[tuple[str, str, str]]:
    """Place with dots, message, severity."""
    return [(".".join(map(str, where)), message, severity) for where, message, severity in rule(case(made))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("options", [{}, {"failed": "diverged"}, {"conditions": ["clean"], "tasks": ["clean", "pgd"]}])
def test_an_honest_record_keeps_every_rule(rule: Rule, options: dict[str, object]) -> None:
    assert found(rule, installed(**options)) == []


def test_names_and_versions_are_warnings_but_for_another_suite_of_the_same_version() -> None:
    stranger = installed()
    spec = stranger.record.spec.model_copy(update={"method": "unheard", "tasks": {"pgd": 9, "unheard": 1}})
    provenance = stranger.record.provenance.model_copy(update={"kdbench_dirty": True})
    assert found(rules.names_and_versions, stranger.changed(spec=spec, provenance=provenance)) == [
        ("spec.method", "method 'unheard' is not installed here", "warning"),
        ("spec.tasks.pgd", "version 9 of task 'pgd', here is 2", "warning"),
        ("spec.tasks.unheard", "task 'unheard' is not installed here: its scores are not checked", "warning"),
        ("provenance.kdbench_dirty", "measured with changes that no commit has", "warning"),
    ]
    assert found(rules.names_and_versions, make(source=HASH)) == [
        ("spec.method_source", "the source of 'ce' here is another one", "warning")
    ]


def test_a_suite_may_have_more_tasks_and_nothing_else() -> None:
    plans = digits().tasks
    more = digits().model_copy(update={"tasks": {**plans, "extra": TaskPlan()}, "title": "Other words"})
    assert found(rules.names_and_versions, installed(suite=more, tasks=["clean"])) == []
    fewer = digits().model_copy(update={"tasks": {name: plans[name] for name in plans if name != "pgd"}, "flip": True})
    assert found(rules.names_and_versions, installed(suite=fewer, tasks=["clean"])) == [
        ("spec.suite.flip", "differs from 'flip' of suite 'digits', version 2", "error"),
        ("spec.suite.tasks.pgd", "differs from the plan of task 'pgd' in suite 'digits', version 2", "error"),
    ]
    for changed in ({"view": "strong"}, {"pretrained": True}, {"family": "mine"}):
        [name] = changed
        stranger = digits().model_copy(update=changed)  # fields that are left out at their defaults
        assert found(rules.names_and_versions, installed(suite=stranger, tasks=["clean"])) == [
            (f"spec.suite.{name}", f"differs from '{name}' of suite 'digits', version 2", "error")
        ]
    pair = (digits(), digits().model_copy(update={"attack": None}))
    for installed_one, other in (pair, pair[::-1]):
        assert list(rules._same_suite(other, installed_one)) == [
            (("spec", "suite", "attack"), "differs from 'attack' of suite 'digits', version 2", "error")
        ]
    later = digits().model_copy(update={"version": 3, "flip": True})
    assert found(rules.names_and_versions, installed(suite=later, tasks=["clean"])) == [
        ("spec.suite.version", "version 3 of suite 'digits', here is 2", "warning")
    ]
    gone = digits().model_copy(update={"name": "gone"})
    assert found(rules.names_and_versions, installed(suite=gone, tasks=["clean"])) == [
        ("spec.suite.name", "suite 'gone' is not installed here", "warning")
    ]


def test_the_parts_of_a_specification_belong_together() -> None:
    made = make()
    spec = made.record.spec
    trainings = {**spec.trainings, "clean/student": "../../x"}
    del trainings["sym-40/student"]
    changed = {
        "method": "../x", "trainings": trainings, "params": {**spec.params, "unheard": {"alpha": 1}},
    }  # fmt: skip
    broken = made.changed(spec=spec.model_copy(update=changed), params_passed={"alpha": 1})
    assert sorted((place, message) for place, message, _ in found(rules.specification, broken)) == [
        ("params_passed.alpha", "not among the parameters of condition 'clean'"),
        ("params_passed.alpha", "not among the parameters of condition 'sym-40'"),
        ("spec.method", "is no name of a folder: letters, digits, '.', '_' and '-'"),
        ("spec.params.unheard", "the suite has no condition 'unheard'"),
        ("spec.recipes", "recipes of ['clean', 'sym-40'], parameters of ['clean', 'sym-40', 'unheard']"),
        ("spec.trainings", "the student of condition 'sym-40' is missing"),
        ("spec.trainings", "the student of condition 'unheard' is missing"),
        ("spec.trainings.clean/student", "'../../x' is no digest of a training"),
    ]


def with_hashes(made: Made, **fields: object) -> Made:
    return made.changed(hashes=made.record.hashes.model_copy(update=fields))


def test_hashes_are_those_of_what_the_specification_names() -> None:
    made = make()
    hashes = made.record.hashes
    wrong = hashes.students["clean"].model_copy(update={"training": "0" * 16, "sha256": "x"})
    broken = with_hashes(made, students={"clean": wrong}, datasets={"digits-fonts": "x"}, label_noise={}, networks={})
    trained = made.record.spec.trainings["clean/student"]
    missing = ("clean/teacher", "sym-40/student", "sym-40/teacher")
    assert sorted(found(rules.hashes, broken)) == [
        *(("hashes", f"the checkpoint of {name} is missing", "error") for name in missing),
        ("hashes.datasets", "'digits' is missing", "error"),
        ("hashes.datasets", "differs from spec.datasets", "error"),
        ("hashes.datasets.digits-fonts", "'x' is no SHA-256", "error"),
        ("hashes.students.clean.sha256", "'x' is no SHA-256", "error"),
        ("hashes.students.clean.training", f"spec.trainings has {trained} for clean/student", "error"),
    ]


def test_label_noise_is_that_of_its_condition() -> None:
    made = make()
    facts = made.record.hashes.label_noise["sym-40"]
    for name, noise in (("sym-40", facts.model_copy(update={"rate": 0.2})), ("clean", facts)):
        noises = {**made.record.hashes.label_noise, name: noise}
        assert found(rules.label_noise, with_hashes(made, label_noise=noises)) == [
            (f"hashes.label_noise.{name}", "is not the label noise of that condition", "error")
        ]
    assert found(rules.label_noise, with_hashes(made, label_noise={})) == [
        ("hashes.label_noise", "the label noise of condition 'sym-40' is missing", "error")
    ]
    odd = facts.model_copy(update={"sha256": "x", "realised": 1.5})
    assert found(rules.label_noise, with_hashes(made, label_noise={"sym-40": odd})) == [
        ("hashes.label_noise.sym-40.sha256", "'x' is no SHA-256", "error"),
        ("hashes.label_noise.sym-40.realised", "1.5 is no share", "error"),
    ]


def of_people(noise: LabelNoise, facts: dict[str, object], **condition: object) -> list[tuple[str, str, str]]:
    """What is found where a condition has this noise, and the record says this of it beside the rest."""
    changed = digits().conditions["sym-40"].model_copy(update={"noise": noise, **condition})
    suite = digits().model_copy(update={"conditions": {**digits().conditions, "sym-40": changed}})
    said = {"kind": noise.kind, "rate": noise.rate, "seed": 0, "realised": 0.4, "sha256": HASH, "count": 10}
    table = {"cat": {"cat": 6, "dog": 4}}
    values = NoiseFacts.model_validate({**said, "confusion": table, "file_sha256": HASH, **facts})
    return found(rules.label_noise, with_hashes(make(suite=suite), label_noise={"sym-40": values}))


@pytest.mark.parametrize(
    ("facts", "where", "message"),
    [
        ({}, "", ""),
        ({"file_sha256": "f" * 64}, ".file_sha256", f"labels of the file {'f' * 64}, the condition names {HASH}"),
        ({"count": 11}, ".confusion", "10 examples in all, there are 11 labels"),
        ({"realised": 0.3}, ".realised", "0.3, but the confusions give 0.4"),
        (
            {"confusion": None},
            ".confusion",
            "is missing: labels of 'file' exist already, and their confusions are counted",
        ),
    ],
)
def test_labels_that_exist_already_are_counted_and_their_file_is_named(
    facts: dict[str, object], where: str, message: str
) -> None:
    expected = [(f"hashes.label_noise.sym-40{where}", message, "error")] if message else []
    assert of_people(LabelNoise(kind="file", sha256=HASH), facts) == expected


def test_published_labels_have_their_published_share() -> None:
    noise = LabelNoise(kind="cifar10n-worse")
    file = {"file_sha256": CIFAR10N.sha256}
    right = {"realised": 0.4021, "count": 10_000, "confusion": {"cat": {"cat": 5979, "dog": 4021}}, **file}
    assert of_people(noise, right) == []
    [(where, message, _)] = of_people(noise, {**right, "file_sha256": HASH})
    assert (where, message) == (
        "hashes.label_noise.sym-40.file_sha256", f"{HASH}, the file of 'cifar10n-worse' has {CIFAR10N.sha256}"
    )  # fmt: skip
    [(where, message, _)] = of_people(noise, file)
    assert where == "hashes.label_noise.sym-40.realised"
    assert message == "40.0000% of the labels are wrong, those of 'cifar10n-worse' are 40.21%"
    assert of_people(noise, file, train_size=10) == [], "a part may have another share"


def test_a_failed_run_may_lack_checkpoints() -> None:
    assert found(rules.hashes, with_hashes(make(failed="diverged"), networks={})) == []


def with_score(**changes: object) -> tuple[Made, Score]:
    """A record whose clean accuracy is another one."""
    made = make(tasks=["clean"], conditions=["clean"])
    [score] = made.record.scores
    return made.changed(scores=[score.model_copy(update=changes)]), score


def test_a_score_lies_within_the_interval_that_its_n_gives() -> None:
    [score] = with_score()[1:]
    low, high = wilson_interval(score.value * 500, 500)
    assert (score.ci_low, score.ci_high) == (low, high)
    made, _ = with_score(ci_low=low + 0.01)
    assert found(rules.scores, made) == [
        ("scores.0.ci_low", f"{low + 0.01:.6g}, but {score.value:.6g} of n = 500 gives {low:.6g}", "error")
    ]
    made, _ = with_score(value=high + 0.01)
    [outside, *_] = found(rules.scores, made)
    assert outside[1] == f"{high + 0.01:.6g} lies outside its interval, {low:.6g} to {high:.6g}"


def test_the_interval_of_a_random_model_is_no_narrower_than_its_n_gives() -> None:
    """Its draws widen it, by what the record doesn't keep."""
    [score] = with_score()[1:]
    low, high = wilson_interval(score.value * 500, 500)
    made, _ = with_score(ci_low=low - 0.02, ci_high=high + 0.02, setting={"draws": 5})
    assert found(rules.scores, made) == []
    made, _ = with_score(ci_low=low + 0.01, setting={"draws": 5})
    [(where, _, _)] = found(rules.scores, made)
    assert where == "scores.0.ci_low"


def test_a_score_is_the_mean_of_its_per_example_results() -> None:
    made = make(tasks=["clean"], conditions=["clean"])
    [score] = made.record.scores
    results = made.predictions["clean/clean/correct"]
    results[np.flatnonzero(results)[0]] = False
    assert found(rules.scores, made) == [
        ("scores.0.value", f"{score.value:.6g}, but the per-example results give {score.value - 1 / 500:.6g}", "error")
    ]
    made.predictions["clean/clean/correct"] = results[:400]
    [problem] = found(rules.scores, made)
    assert problem[:2] == ("scores.0.n", "500, but there are per-example results of shape (400,)")
    made.predictions.clear()
    [problem] = found(rules.scores, made)
    assert problem[:2] == ("scores.0.value", "predictions.npz has no 'clean/clean/correct'")
    assert list(rules.scores(dataclasses.replace(case(made), predictions=None))) == []


def test_a_score_is_of_a_task_and_condition_of_the_run_and_there_once() -> None:
    made = make(tasks=["clean"], conditions=["clean"])
    [score] = made.record.scores
    strange = score.model_copy(update={"task": "unheard", "condition": "sym-40"})
    assert found(rules.scores, made.changed(scores=[score, score, strange])) == [
        ("scores.1", "the same score is there twice", "error"),
        ("scores.2.task", "the run has no task 'unheard'", "error"),
        ("scores.2.condition", "the run has no condition 'sym-40'", "error"),
    ]
    assert found(rules.scores, made.changed(scores=[])) == [("scores", "task 'clean' has no score", "warning")]


def test_a_check_passed_or_not_as_its_value_and_limit_say() -> None:
    made = make(flagged=True)
    [number] = [n for n, check in enumerate(made.record.checks) if not check.passed]
    checks = list(made.record.checks)
    checks[number] = checks[number].model_copy(update={"passed": True, "flags": ["transfer"]})
    assert found(rules.checks, made.changed(checks=checks)) == [
        (f"checks.{number}.passed", "True, but 0.4 found and at most 0 passes", "error"),
        (f"checks.{number}.flags", "lacks its own task 'pgd'", "error"),
    ]


def test_the_images_are_those_of_the_recorded_subset() -> None:
    made = make(tasks=["pgd"], conditions=["clean"])
    index = made.predictions["clean/pgd/index"]
    made.predictions["clean/pgd/index"] = index[::-1]
    assert ("hashes.subsets.pgd", "clean: the images are not those of this hash", "error") in found(rules.tasks, made)


def test_a_log_is_of_the_runs_conditions_epoch_by_epoch_to_the_last() -> None:
    made = make()
    place = "hashes.evidence.log.jsonl"
    clean = [entry for entry in made.log if entry["condition"] == "clean"]
    broken = dataclasses.replace(made, log=[*clean[:3], *clean[4:], {"condition": "unheard", "epoch": 1}])
    assert found(rules.log, broken) == [
        (place, "clean: the epochs are not 1, 2, 3, ...", "error"),
        (place, "has a condition 'unheard'", "error"),
        (place, "clean: 14 epochs, the recipe has 15", "error"),
        (place, "sym-40: 0 epochs, the recipe has 30", "error"),
    ]
    assert list(rules.log(dataclasses.replace(case(made), log=None))) == []
    stopped = make(failed="diverged")
    assert found(rules.log, dataclasses.replace(stopped, log=stopped.log[:-5])) == [], "a failed run stops early"


def test_settings_that_a_task_refuses_are_a_finding_and_the_other_rules_go_on() -> None:
    suite = digits().model_copy(update={"tasks": {"pgd": TaskPlan(settings={"unheard": 1})}})
    made = make(suite=suite, tasks=["pgd"], conditions=["clean"])
    [entry, *_] = made.log
    messages = [message for _, message, _ in judge(case(dataclasses.replace(made, log=[entry])))]
    assert any("unheard" in message for message in messages)
    assert "clean: 1 epochs, the recipe has 15" in messages


def test_a_suite_is_the_installed_one_but_for_what_it_says_was_changed() -> None:
    suite = with_changes(digits(), {"recipe.lr": 0.2, "tasks.pgd.settings.subset": 100})
    assert found(rules.names_and_versions, installed(suite=suite, tasks=["clean"])) == []
    secret = suite.model_copy(update={"changed": {"recipe.lr": 0.2}})
    assert found(rules.names_and_versions, installed(suite=secret, tasks=["clean"])) == [
        ("spec.suite.tasks.pgd", "differs from the plan of task 'pgd' in suite 'digits', version 2", "error")
    ]
    boasting = digits().model_copy(update={"changed": {"recipe.epochs": 400}})
    [(place, text, severity)] = found(rules.names_and_versions, installed(suite=boasting, tasks=["clean"]))
    assert (place, severity) == ("spec.suite.conditions", "error")
    broken = digits().model_copy(update={"changed": {"recipe.epoch": 4}})
    [(place, text, severity)] = found(rules.names_and_versions, installed(suite=broken, tasks=["clean"]))
    assert (place, severity) == ("spec.suite.changed", "error")
    assert "recipe.epoch: did you mean epochs" in text
