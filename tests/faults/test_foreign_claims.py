"""Forgeries that agree with themselves: each is refused, with the field that gives it away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard import rank
from kdbench.leaderboard.validate import copied, examine, validate
from kdbench.results.record import Record
from kdbench.specs import RunSpec
from tests.leaderboard.evidence import Made, digest, make
from tests.leaderboard.test_validate import score

Values = dict[str, Any]
Edit = Callable[[Values], Any]


@pytest.fixture(scope="module")
def made() -> Made:
    return make()


def forged(made: Made, folder: Path, edit: Edit) -> Path:
    """The record after an edit, published where its new run id belongs."""
    values = json.loads(made.record.to_json())
    edit(values)
    values["run_id"] = RunSpec.model_validate(values["spec"]).run_id
    record = Record.model_validate_json(json.dumps(values))
    return made.changed(**{name: getattr(record, name) for name in Record.model_fields}).publish(folder)


def found(path: Path) -> dict[str, str]:
    """Field to message of each error."""
    return {problem.field: problem.message for problem in validate(path) if problem.severity == "error"}


def ten_times(values: Values) -> None:
    for recipe in values["spec"]["recipes"].values():
        recipe.update(epochs=10 * recipe["epochs"])


def check(values: Values, name: str) -> Values:
    return next(one for one in values["checks"] if one["name"] == name)


FORGERIES: dict[str, tuple[Edit, str, str]] = {
    "ten times the epochs": (ten_times, "spec.recipes.clean.epochs", "the budget is extended, not standard"),
    "another batch": (
        lambda r: r["spec"]["recipes"]["clean"].update(batch_size=8), "spec.recipes.clean.batch_size",
        "the suite says 32, and no method may change it",
    ),
    "percent": (
        lambda r: score(r, "clean", "accuracy").update(unit="percent", value=99.0, ci_low=98.0, ci_high=100.0),
        "scores[0].unit", "'accuracy' of task 'clean' is a fraction",
    ),
    "the other way round": (
        lambda r: score(r, "pgd", "conditional_accuracy", steps=20).update(higher_is_better=False),
        "scores", "lower is better, but task 'pgd' says higher is better of 'conditional_accuracy'",
    ),
    "a check with another limit": (
        lambda r: check(r, "large_eps").update(value=0.4, limit=0.5, passed=True), "checks[5].limit",
        "'large_eps' passes up to 0",
    ),
    "gradients that vanish nowhere": (
        lambda r: check(r, "zero_gradients").update(value=0.009), "checks[2].value", "the largest share of a step is 0",
    ),
    "noise without noise": (
        lambda r: r["hashes"]["label_noise"]["sym-40"].update(realised=0.0), "hashes.label_noise.sym-40.realised",
        "0 of the labels are wrong, where 'symmetric' was to make 0.4",
    ),
    "data of nobody": (
        lambda r: (r["spec"]["datasets"].update(digits="0" * 64), r["hashes"]["datasets"].update(digits="0" * 64)),
        "hashes.datasets.digits", "is no SHA-256",
    ),
    "a million bins": (
        lambda r: r["spec"]["suite"]["tasks"]["calibration"]["settings"].update(bins=[1_000_000]), "spec",
        "task 'calibration', setting bins.0: input should be less than or equal to 1000",
    ),
    "bins that nobody asked for": (
        lambda r: score(r, "calibration", "ece")["setting"].update(bins=1_000_000), "scores",
        "found ECE in ['1000000'] bins, expected [15]",
    ),
    "bins that are none": (
        lambda r: score(r, "calibration", "ece")["setting"].update(bins="many"), "scores", "found ECE in ['many'] bins",
    ),
    "a variant that nobody asked for": (
        lambda r: score(r, "pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="any")["setting"].update(
            variant="easy"
        ), "scores", "no variant of the settings",
    ),
    "what no setting has": (
        lambda r: score(r, "clean", "accuracy")["setting"].update({"epochs\x1b": 300}), "scores[0].setting",
        "task 'clean' has no 'epochs\\x1b' in the settings of its scores",
    ),
    "another budget": (
        lambda r: score(r, "pgd", "robust_accuracy", steps=20, rule="worst")["setting"].update(eps=0.5), "scores",
        "eps is 0.5, but the settings say 0.031",
    ),
    "another budget of a transfer": (
        lambda r: score(r, "transfer", "accuracy")["setting"].update(steps=1000), "scores",
        "steps is 1000, but the settings say 10",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "field", "message"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_refused_with_its_field(made: Made, tmp_path: Path, edit: Edit, field: str, message: str) -> None:
    problems = found(forged(made, tmp_path, edit))
    fitting = [text for place, text in problems.items() if place.startswith(field) and message in text]
    assert fitting, problems


def copy_of(made: Made, edit: Edit, folder: Path) -> Path:
    """The evidence of one record under another specification, with everything that is hashed made to fit."""

    def refit(values: Values) -> None:
        edit(values)
        for name, student in values["hashes"]["students"].items():
            student["training"] = values["spec"]["trainings"][f"{name}/student"]

    return forged(made, folder, refit)


def as_seed(seed: int) -> Edit:
    def edit(values: Values) -> None:
        values["spec"]["seed"] = seed
        values["spec"]["trainings"] |= {
            f"{name}/student": digest(f"{name}{seed}")[:16] for name in values["spec"]["params"]
        }

    return edit


def as_method(values: Values) -> None:
    values["spec"]["method"] = "mine"
    as_seed(0)(values)


def other_hashes(edit: Edit) -> Edit:
    """Also with checkpoints that nobody has seen: what a network answers and how it learnt still give it away."""

    def whole(values: Values) -> None:
        edit(values)
        for name, student in values["hashes"]["students"].items():
            student["sha256"] = digest(f"{name}{values['spec']['seed']}{values['spec']['method']}")

    return whole


@pytest.mark.parametrize("edit", [as_seed(7), as_method, other_hashes(as_seed(7)), other_hashes(as_method)])
def test_the_evidence_of_another_training_is_refused(made: Made, tmp_path: Path, edit: Edit) -> None:
    honest = made.publish(tmp_path)
    copy = copy_of(made, edit, tmp_path)
    assert honest != copy
    assert found(copy) == {}, "by itself it is consistent"
    [problem] = copied([copy])
    assert problem.severity == "error"
    assert f"that of another training of run {made.record.run_id} (ce, seed 0)" in problem.message


@pytest.mark.parametrize("changed", [
    {"conditions.sym-40.noise.path": "{secret}"}, {"conditions.sym-40.noise": {"kind": "file", "path": "{secret}"}},
    {"conditions.sym-40": {"noise": {"path": "{secret}"}}},
])  # fmt: skip
def test_a_record_does_not_make_a_file_here_be_read(made: Made, tmp_path: Path, changed: Values) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("label\n1\n")
    values = json.loads(json.dumps(changed).replace("{secret}", str(secret)))
    path = forged(made, tmp_path, lambda r: r["spec"]["suite"].update(changed=values))
    assert found(path)["spec.suite.changed"] == "names a file of whoever made the record, expected its hash"


def test_one_seeds_evidence_under_ten_seeds_is_not_ranked(made: Made, tmp_path: Path) -> None:
    made.publish(tmp_path)
    make("kd", skill=1.2).publish(tmp_path)
    for seed in range(1, 10):
        copy_of(made, as_seed(seed), tmp_path)
    boards = rank(tmp_path)
    [board] = boards.boards
    assert [row.method for row in board.rows] == ["kd"]
    reasons = [one.reason for one in (*board.excluded, *boards.excluded)]
    assert sum("is that of another training" in reason for reason in reasons) == 10


def test_records_of_one_training_and_of_other_seeds_are_no_copies(tmp_path: Path) -> None:
    """Two tasks measured in two runs have one network; and each seed has its own."""
    paths = [make(tasks=["clean", "pgd"]).publish(tmp_path), make(tasks=["clean"]).publish(tmp_path)]
    paths += [make(seed=seed).publish(tmp_path) for seed in (1, 2)]
    assert copied(paths) == []


def test_a_network_of_two_conditions_is_a_copy(made: Made, tmp_path: Path) -> None:
    path = forged(
        made, tmp_path,
        lambda r: r["hashes"]["students"]["clean"].update(sha256=r["hashes"]["students"]["sym-40"]["sha256"]),
    )  # fmt: skip
    [problem] = copied([path])
    assert "of this very record" in problem.message


def test_a_copy_is_not_published(made: Made, tmp_path: Path) -> None:
    from kdbench.leaderboard.submit import submit

    submit(made.keep(tmp_path / "runs"), tmp_path / "records")
    values = json.loads(made.record.to_json())
    as_seed(7)(values)
    for name, student in values["hashes"]["students"].items():
        student["training"] = values["spec"]["trainings"][f"{name}/student"]
    values["run_id"] = RunSpec.model_validate(values["spec"]).run_id
    record = Record.model_validate_json(json.dumps(values))
    copy = made.changed(**{name: getattr(record, name) for name in Record.model_fields}).keep(tmp_path / "runs")
    with pytest.raises(KdbenchError, match="is that of another training"):
        submit(copy, tmp_path / "records")


def test_every_score_is_checked_derived_or_unchecked(made: Made, tmp_path: Path) -> None:
    scores = examine(made.publish(tmp_path)).scores
    assert sum(map(len, scores.values())) == len(made.record.scores)
    assert {(one.task, one.metric) for one in scores["derived"]} >= {("calibration", "ece"), ("corruption", "mca")}
    assert {one.task for one in scores["unchecked"]} == {"pgd"}
    assert all(one.metric in ("accuracy", "robust_accuracy") for one in scores["checked"])
