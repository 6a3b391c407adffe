from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard.validate import Problem, record_files, validate
from kdbench.metrics import wilson_interval
from kdbench.results import untrusted
from tests.leaderboard.evidence import Made, make, npz

Values = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Made:
    return make(source="a" * 64)


def errors(path: Path) -> list[Problem]:
    return [problem for problem in validate(path) if problem.severity == "error"]


def first(path: Path, message: str, field: str = "") -> Problem:
    """The first error with that message, at a field that begins so."""
    found = errors(path)
    fitting = [problem for problem in found if problem.field.startswith(field) and message in problem.message]
    assert fitting, [str(problem) for problem in found]
    return fitting[0]


def edited(made: Made, folder: Path, edit: Callable[[Values], Any]) -> Path:
    """The published record after an edit of its JSON."""
    path = made.publish(folder)
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values, indent=1))
    return path


def score(values: Values, task: str, metric: str, condition: str = "clean", **setting: Any) -> Values:
    return next(
        found
        for found in values["scores"]
        if (found["task"], found["metric"], found["condition"]) == (task, metric, condition)
        and setting.items() <= found["setting"].items()
    )


def claim(found: Values, value: float) -> None:
    """Another value with the interval that belongs to it."""
    low, high = wilson_interval(value * found["n"], found["n"])
    found.update(value=value, ci_low=low, ci_high=high)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flagged": True},
        {"random": True},
        {"conditions": ["clean"]},
        {"tasks": ["clean", "pgd"]},
        {"tasks": ["calibration", "ood"], "conditions": ["sym-40"]},
        {"budget": "extended"},
    ],
)
def test_an_honest_record_has_no_error_wherever_it_lies(options: Values, tmp_path: Path) -> None:
    honest = make(**options)
    for path in (honest.publish(tmp_path), honest.keep(tmp_path)):
        assert [str(problem) for problem in errors(path)] == []


def test_what_is_not_known_here_is_a_warning(made: Made, tmp_path: Path) -> None:
    path = make("unheard", versions={"pgd": 9}).publish(tmp_path)
    found = {problem.field: problem for problem in validate(path)}
    assert {problem.severity for problem in found.values()} == {"warning"}
    assert "method 'unheard' is not installed here" in found["spec.method"].message
    assert found["spec.tasks.pgd"].message == "version 9 of task 'pgd', here is 2"


def claims(value: float, task: str, metric: str, **setting: Any) -> Callable[[Values], None]:
    """An edit: the one score of that setting claims another value."""
    return lambda values: claim(score(values, task, metric, **setting), value)


def pgd(value: float, rule: str) -> Callable[[Values], None]:
    return claims(value, "pgd", "robust_accuracy", variant="pgd-std", steps=20, rule=rule)


GIVES = "but the per-example results give"
LAST = "'worst' looks at the last iterate, 'any' at each"
BROKEN = "an image that was broken stays broken (steps 3 after 2)"
WORST = "the worst case of all restarts is no more than one of them"
LOWEST = "the lowest of the restarts is no more than their mean"

LIES: list[tuple[str, Callable[[Values], Any], str, str]] = [
    ("share", claims(0.99, "clean", "accuracy"), "value", GIVES),
    ("cell", claims(0.9, "corruption", "accuracy", corruption="fog"), "value", GIVES),
    ("interval", lambda r: score(r, "ood", "accuracy").update(ci_low=0.5), "ci_low", "of n = 1000 gives"),
    ("outside", lambda r: score(r, "clean", "accuracy").update(value=0.999), "value", "lies outside its interval"),
    ("n", lambda r: score(r, "clean", "accuracy").update(n=400), "n", "400, but there are per-example results of"),
    ("mca", claims(0.9, "corruption", "mca"), "value", "but the mean of its 95 cells is"),
    ("conditional mca", claims(0.99, "corruption", "conditional_mca"), "value", GIVES),
    ("any above worst", pgd(0.9, "any"), "value", LAST),
    ("any rises", claims(0.99, "pgd", "accuracy_at_step", variant="pgd-std", steps=3, rule="any"), "value", BROKEN),
    ("worst above mean", pgd(0.0, "min-run"), "value", WORST),
    ("min-run above mean", pgd(0.0, "mean"), "value", LOWEST),
    ("conditional", claims(0.99, "transfer", "conditional_accuracy", source="teacher"), "value", GIVES),
    ("ece", lambda r: score(r, "calibration", "ece").update(value=0.001, ci_low=0.0, ci_high=0.002), "value",
     f"0.001, {GIVES}"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "field", "message"), [row[1:] for row in LIES], ids=[row[0] for row in LIES])
def test_a_score_that_cannot_be_is_reported_with_its_field_and_line(
    made: Made, tmp_path: Path, edit: Callable[[Values], Any], field: str, message: str
) -> None:
    path = edited(made, tmp_path, edit)
    problem = first(path, message)
    assert problem.field.startswith("scores[")
    assert problem.field.endswith(f".{field}")
    assert problem.line is not None
    assert f'"{field}"' in path.read_text().splitlines()[problem.line - 1]
    assert str(problem).startswith(f"{path}:{problem.line}: scores[")


WRONG: list[tuple[str, Callable[[Values], Any], str, str]] = [
    ("id", lambda r: r.update(run_id="0" * 16), "run_id", "is not the digest of spec"),
    ("seed", lambda r: r["spec"].update(seed=77), "run_id", "is not the digest of spec"),
    ("unknown field", lambda r: r.update(note="hi"), "note", "extra inputs are not permitted"),
    ("missing field", lambda r: r["provenance"].pop("torch"), "provenance.torch", "field required"),
    ("type", lambda r: r["scores"][0].update(n="500"), "scores[0].n", "found '500'"),
    ("setting", lambda r: r["scores"][0]["setting"].update(x=[1]), "scores[0].setting.x", "valid string"),
    ("share", lambda r: r["scores"][0].update(value=81.0), "scores[0]", "is a fraction outside [0, 1]"),
    ("no evidence", lambda r: r["hashes"]["evidence"].pop("predictions.npz"), "hashes.evidence", "is missing"),
    ("data", lambda r: r["hashes"]["datasets"].update(digits="0" * 64), "hashes.datasets", "differs from spec"),
    ("no hash", lambda r: r["hashes"]["subsets"].update(pgd="abc"), "hashes.subsets.pgd", "is no SHA-256"),
    ("subset", lambda r: r["hashes"]["subsets"].update(pgd="0" * 64), "hashes.subsets.pgd", "not those of this hash"),
    ("student", lambda r: r["hashes"]["students"].pop("clean"), "hashes", "checkpoint of clean/student is missing"),
    (
        "training",
        lambda r: r["hashes"]["students"]["clean"].update(training="0" * 16),
        "hashes.students.clean.training",
        "spec.trainings has",
    ),
    (
        "sha",
        lambda r: r["hashes"]["students"]["clean"].update(sha256="x"),
        "hashes.students.clean.sha256",
        "is no SHA-256",
    ),
    ("noise", lambda r: r["hashes"]["label_noise"].clear(), "hashes.label_noise", "label noise of condition 'sym-40'"),
    (
        "other noise",
        lambda r: r["hashes"]["label_noise"]["sym-40"].update(rate=0.2),
        "hashes.label_noise.sym-40",
        "is not the label noise of that condition",
    ),
    ("twice", lambda r: r["scores"].append(r["scores"][0]), "scores[", "the same score is there twice"),
    ("task", lambda r: r["scores"][0].update(task="clena"), "scores[0].task", "the run has no task 'clena'"),
    ("passed", lambda r: r["checks"][0].update(value=2.0), "checks[0].passed", "2 found and at most 1 passes"),
    (
        "dropped check",
        lambda r: r.update(checks=[c for c in r["checks"] if c["name"] != "large_eps"]),
        "checks",
        "makes check 'large_eps' 1 times, found 0",
    ),
    (
        "dropped cell",
        lambda r: r["scores"].remove(score(r, "corruption", "accuracy", corruption="fog", severity=2)),
        "scores",
        "1 cells of mCA are missing, such as fog 2",
    ),
    ("schema", lambda r: r.update(schema_version=99), "schema_version", "use a newer kdbench"),
]


@pytest.mark.parametrize(("edit", "field", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_reported_with_its_field_and_line(
    made: Made, tmp_path: Path, edit: Callable[[Values], Any], field: str, message: str
) -> None:
    path = edited(made, tmp_path, edit)
    problem = first(path, message, field)
    assert problem.line is not None
    last = field.rpartition(".")[2].partition("[")[0]
    if field != "provenance.torch" and "[" not in field.rpartition(".")[2]:
        assert f'"{last}"' in path.read_text().splitlines()[problem.line - 1]


def test_all_problems_of_a_file_are_listed_in_the_order_of_its_lines(made: Made, tmp_path: Path) -> None:
    def spoil(values: Values) -> None:
        claim(score(values, "clean", "accuracy"), 0.99)
        values["checks"][0]["passed"] = False
        values["hashes"]["subsets"]["pgd"] = "abc"

    found = errors(edited(made, tmp_path, spoil))
    assert [problem.line for problem in found] == sorted(problem.line or 0 for problem in found)
    assert {"hashes.subsets.pgd", "checks[0].passed"} <= {problem.field for problem in found}


def with_predictions(made: Made, folder: Path, **arrays: Any) -> Path:
    """The record with other per-example results under the right hash."""
    predictions = {**made.predictions, **arrays}
    path = edited(made, folder, lambda r: r["hashes"]["evidence"].update({"predictions.npz": digest(npz(predictions))}))
    path.with_name(f"{path.stem}.predictions.npz").write_bytes(npz(predictions))
    return path


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_attack_does_not_make_a_network_better(made: Made, tmp_path: Path) -> None:
    name = "clean/pgd/pgd-std-20/correct"
    path = with_predictions(made, tmp_path, **{name: np.ones_like(made.predictions[name])})
    values = json.loads(path.read_text())
    claim(score(values, "pgd", "robust_accuracy", variant="pgd-std", steps=20, rule="worst"), 1.0)
    path.write_text(json.dumps(values, indent=1))
    assert any("an attack does not make a network better" in problem.message for problem in errors(path))


def test_the_steps_check_is_recomputed(made: Made, tmp_path: Path) -> None:
    """The answer "more steps break more" is made from the same per-example results."""
    name = "clean/pgd/pgd-std-10/correct"
    path = with_predictions(made, tmp_path, **{name: np.zeros_like(made.predictions[name])})
    assert any(p.field.startswith("checks[") and "per-example results give" in p.message for p in errors(path))


@pytest.mark.parametrize("name", ["predictions.npz", "log.jsonl"])
def test_evidence_must_be_there_and_be_what_was_hashed(made: Made, tmp_path: Path, name: str) -> None:
    path = made.publish(tmp_path)
    file = path.with_name(f"{path.stem}.{name}")
    file.write_bytes(file.read_bytes() + b"\n")
    [problem] = errors(path)
    assert problem.field == f"hashes.evidence.{name}"
    assert problem.message == f"{file.name} is not the file that the record hashed"
    file.unlink()
    [problem] = errors(path)
    assert problem.message == f"{file.name} is not beside the record"


def test_softmax_vectors_need_not_be_published_but_must_be_right(made: Made, tmp_path: Path) -> None:
    path = made.keep(tmp_path)
    softmax = path.with_name("softmax-clean.npz")
    softmax.write_bytes(b"other")
    assert [problem.field for problem in errors(path)] == ["hashes.evidence.softmax-clean.npz"]
    softmax.unlink()
    assert errors(path) == []


def test_evidence_outside_the_folder_is_not_looked_at(made: Made, tmp_path: Path) -> None:
    path = edited(made, tmp_path, lambda r: r["hashes"]["evidence"].update({"../../../etc/passwd": "0" * 64}))
    assert any(problem.message == "is no file name" for problem in errors(path))


def test_a_log_ends_where_its_recipe_does(made: Made, tmp_path: Path) -> None:
    for log, message in (
        (made.log[:-1], "29 epochs, the recipe has 30"),
        ([made.log[0], *made.log], "the epochs are not 1, 2, 3, ..."),
        (["text"], "is no object"),
    ):
        content = "".join(json.dumps(entry) + "\n" for entry in log).encode()
        path = edited(made, tmp_path, lambda r, c=content: r["hashes"]["evidence"].update({"log.jsonl": digest(c)}))
        path.with_name(f"{path.stem}.log.jsonl").write_bytes(content)
        assert any(message in problem.message for problem in errors(path))


def test_a_failed_run_is_valid_and_its_log_may_have_nan(tmp_path: Path) -> None:
    failed = make(failed="condition sym-40: the training loss became nan in epoch 3")
    failed.log[-1]["loss"] = float("nan")
    content = "".join(json.dumps(entry) + "\n" for entry in failed.log).encode()
    path = edited(failed, tmp_path, lambda r: r["hashes"]["evidence"].update({"log.jsonl": digest(content)}))
    path.with_name(f"{path.stem}.log.jsonl").write_bytes(content)
    assert [str(problem) for problem in errors(path)] == []


def test_a_suite_of_one_name_and_version_is_one_suite(made: Made, tmp_path: Path) -> None:
    spec = made.record.spec
    conditions = dict(spec.suite.conditions)
    recipe = conditions["clean"].recipe.model_copy(update={"epochs": 300, "milestones": ()})
    conditions["clean"] = conditions["clean"].model_copy(update={"recipe": recipe})
    cheat = made.changed(
        spec=spec.model_copy(update={"suite": spec.suite.model_copy(update={"conditions": conditions})})
    )
    found = errors(cheat.publish(tmp_path))
    assert [problem.field for problem in found] == ["spec.suite.conditions"]
    later = made.changed(spec=spec.model_copy(update={"suite": spec.suite.model_copy(update={"version": 7})}))
    path = later.publish(tmp_path)
    assert errors(path) == []
    assert "version 7 of suite 'digits', here is 2" in {problem.message for problem in validate(path)}


def test_names_that_become_paths_stay_inside(made: Made, tmp_path: Path) -> None:
    spec = made.record.spec
    trainings = {**spec.trainings, "clean/student": "../../x"}
    escape = made.changed(spec=spec.model_copy(update={"method": "../../x", "trainings": trainings}))
    fields = {problem.field for problem in errors(escape.publish(tmp_path))}
    assert {"spec.method", "spec.trainings.clean/student"} <= fields


def test_a_record_lies_where_its_name_says(made: Made, tmp_path: Path) -> None:
    path = made.publish(tmp_path)
    other = path.parent.parent / "kd"
    path.parent.rename(other)
    [problem] = errors(other / path.name)
    place = f"belongs at digits/ce/{path.name}, lies at digits/kd/{path.name}"
    assert problem.message == f"{place} (`kdbench leaderboard submit` copies it there)"


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{"a": 1,\n"b": }', 2, "is not JSON: Expecting value"),
        (b'{"a": 1,\n\n"a": 2}', 3, "has the name 'a' twice in one object"),
        (b'{"a":\n"\xff"}', 2, "is not UTF-8"),
        (b'{"a": NaN}', None, "NaN is no number"),
        (b'{"a": 1e999}', None, "1e999 is too large a number"),
        (b"[" * 100_000, None, "is nested too deeply"),
        (b" " * (untrusted.RECORD_LIMIT + 1), None, "is larger than 4 MiB"),
        (b"", 1, "is not JSON"),
        (b"[]", None, "is no record: it has no schema_version"),
        (b'{"run_id": "x"}', None, "is no record: it has no schema_version"),
        (b'{"schema_version": "two"}', 1, "input should be 2"),
    ],
)
def test_a_file_that_is_no_record_is_reported(tmp_path: Path, content: bytes, line: int | None, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    found = [problem for problem in validate(path) if message in problem.message]
    assert found, validate(path)
    assert found[0].line == line


def test_arrays_hold_no_code_and_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(untrusted.Unreadable, match="holds no arrays"):
        untrusted.read_arrays(path)
    np.savez(path, x=np.array(["text"]))
    with pytest.raises(untrusted.Unreadable, match="holds x, which is no array of numbers"):
        untrusted.read_arrays(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        for _ in range(untrusted.EVIDENCE_LIMIT // 2**24 + 1):
            member.write(bytes(2**24))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(untrusted.Unreadable, match="unpacks to more than"):
        untrusted.read_arrays(path)
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(untrusted.Unreadable, match="holds no arrays"):
        untrusted.read_arrays(path)


def test_untrusted_text_does_not_reach_the_terminal(made: Made, tmp_path: Path) -> None:
    path = edited(made, tmp_path, lambda r: r["scores"][0].update(task="\x1b[2J\u202eevil\nline"))
    for problem in validate(path):
        assert str(problem).isprintable()


def test_lines_of_values_are_those_of_the_text() -> None:
    text = '{"a": [1,\n{"b": "x\\"}",\n "c": null}],\n "d": {}}'
    assert untrusted.lines(text) == {
        (): 1, ("a",): 1, ("a", 0): 1, ("a", 1): 2, ("a", 1, "b"): 2, ("a", 1, "c"): 3, ("d",): 4,
    }  # fmt: skip


def test_a_folder_means_its_records(made: Made, tmp_path: Path) -> None:
    published, kept = made.publish(tmp_path / "records"), made.keep(tmp_path / "runs")
    (kept.parent / "partial").mkdir()
    (kept.parent / "partial" / "clean-corruption.json").write_text("{}")
    (tmp_path / "records" / "notes.json").write_text("{}")
    assert record_files([tmp_path]) == [published, kept]
    assert record_files([published, published]) == [published]
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(KdbenchError, match="no record"):
            record_files([nothing])
