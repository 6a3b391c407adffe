from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard.submit import reproduce, submit
from kdbench.leaderboard.validate import validate
from kdbench.plugin.parameters import parse_assignments
from kdbench.suites.changes import with_changes
from kdbench.tasks.attack import with_attacks
from tests.leaderboard.evidence import digits, make


def test_a_record_goes_to_its_place_with_its_evidence(tmp_path: Path) -> None:
    made = make()
    run, records = made.keep(tmp_path / "runs"), tmp_path / "records"
    done = submit(run.parent, records)
    stem = records / "digits" / "ce" / made.record.run_id
    assert done.record == stem.with_suffix(".json")
    assert {path.name for path in done.written} == {
        f"{stem.name}{end}" for end in (".json", ".predictions.npz", ".log.jsonl")
    }
    assert done.record.read_bytes() == run.read_bytes()
    assert not [problem for problem in validate(done.record) if problem.severity == "error"]
    assert not list(stem.parent.glob("*softmax*"))


def test_a_published_record_that_was_sent_lies_anywhere(tmp_path: Path) -> None:
    made = make()
    sent = made.publish(tmp_path)
    inbox = sent.parent.rename(tmp_path / "mail")
    assert [str(one) for one in validate(inbox / sent.name) if one.severity == "error"], "it is in no place of a record"
    done = submit(inbox / sent.name, tmp_path / "records")
    assert done.record == tmp_path / "records" / "digits" / "ce" / sent.name
    assert not [problem for problem in validate(done.record) if problem.severity == "error"]


def test_published_records_stay(tmp_path: Path) -> None:
    run, records = make().keep(tmp_path / "runs"), tmp_path / "records"
    submit(run, records)
    assert submit(run, records).written == [], "the same again is no mistake"
    values = json.loads(run.read_text())
    values["provenance"]["device_name"] = "another machine"
    run.write_text(json.dumps(values))
    with pytest.raises(KdbenchError, match="is published with another content"):
        submit(run, records)
    published = submit(make().keep(tmp_path / "again"), records)
    assert json.loads(published.record.read_text())["provenance"]["device_name"] != "another machine"


def test_an_invalid_record_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = make().keep(tmp_path / "runs")
    run.with_name("log.jsonl").unlink()
    with pytest.raises(KdbenchError, match="1 error, the first: .*log.jsonl is not beside the record"):
        submit(run, tmp_path / "records")
    assert not (tmp_path / "records").exists()
    with pytest.raises(KdbenchError, match="no record at"):
        submit(tmp_path / "nowhere", tmp_path / "records")


def test_the_text_has_title_table_hashes_and_command(tmp_path: Path) -> None:
    made = make("kd", seed=3, flagged=True)
    done = submit(made.keep(tmp_path / "runs"), tmp_path / "records")
    assert done.title == "digits: kd, seed 3"
    accuracy = made.record.select("clean", "accuracy")[0]
    assert f"| clean | clean/accuracy | {100 * accuracy.value:.2f} % |" in done.body
    assert "kdbench run --method kd --suite digits --seed 3" in done.body
    for name, network in made.record.hashes.students.items():
        assert f"- checkpoint {made.record.run_id} {name}: `{network.sha256}`" in done.body
    assert "pgd-std steps 20 worst [!] |" in done.body


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    whole = submit(make().keep(tmp_path / "whole"), tmp_path / "records")
    assert whole.missing == []
    assert "Not measured" not in whole.body
    part = submit(make("kd", conditions=["clean"], tasks=["clean"]).keep(tmp_path / "part"), tmp_path / "records")
    planned = [f"task {name}" for name in make().record.spec.suite.tasks if name != "clean"]
    assert part.missing == [*planned, "condition sym-40"]
    assert f"Not measured: {', '.join(part.missing).replace('_', chr(92) + '_')}." in part.body


def test_the_text_says_which_code_made_it(tmp_path: Path) -> None:
    made = make()
    facts = made.record.provenance.model_copy(
        update={
            "kdbench_commit": "abc",
            "kdbench_dirty": True,
            "plugins": {"kdbench:nrd": "kdbench 0.1.0", "x:y": "x 2"},
        }
    )
    body = submit(made.changed(provenance=facts).keep(tmp_path / "runs"), tmp_path / "records").body
    assert "Commit abc with uncommitted changes; plugins: kdbench 0.1.0, x 2." in body
    unknown = facts.model_copy(update={"kdbench_commit": None, "kdbench_dirty": None})
    body = submit(make("kd").changed(provenance=unknown).keep(tmp_path / "kd"), tmp_path / "records").body
    assert "Commit not known; plugins" in body


def test_untrusted_text_is_no_markup_of_the_request(tmp_path: Path) -> None:
    made = make(failed="condition sym-40: <img src=x onerror=alert(1)> | `x` [a](javascript:b)\nnew line")
    body = submit(made.keep(tmp_path / "runs"), tmp_path / "records").body
    [line] = [line for line in body.splitlines() if line.startswith("The run failed")]
    assert "\\<img src=x" in line
    assert "\\[a\\](javascript" in line
    assert "\\|" in line


def test_the_command_asks_for_what_the_run_was_asked() -> None:
    part = make(conditions=["clean"], tasks=["clean", "pgd"]).record
    assert reproduce(part) == ("kdbench run --method ce --suite digits --seed 0 --condition clean --tasks clean,pgd")
    passed = part.model_copy(update={"params_passed": {"a": 0.5, "b": "0.5", "c": "two words", "d": [1, 2]}})
    words = shlex.split(reproduce(passed))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == [
        "a=0.5", 'b="0.5"', "c=two words", "d=[1, 2]",
    ]  # fmt: skip


def test_the_command_asks_for_the_attacks_with_their_options() -> None:
    part = make(conditions=["clean"], tasks=["clean"]).record
    suite, _ = with_attacks(part.spec.suite, None, ["pgd steps=50 objective=dlr", "apgd"])
    spec = part.spec.model_copy(update={"suite": suite, "tasks": {"attack": 2, "clean": 1}})
    words = shlex.split(reproduce(part.model_copy(update={"spec": spec})))
    asked = [words[i + 1] for i, word in enumerate(words) if word == "--attack"]
    assert asked == ["apgd", "pgd steps=50 objective=dlr"]
    assert with_attacks(part.spec.suite, None, asked)[0] == suite


def test_title_text_and_command_say_what_was_changed_of_the_suite(tmp_path: Path) -> None:
    suite = with_changes(digits(), {"tasks.calibration.settings.bins": [10], "recipe.augmentation": "none"})
    made = make("kd", params={"alpha": 0.5}, suite=suite)
    done = submit(made.keep(tmp_path / "runs"), tmp_path / "records")
    changed = 'recipe.augmentation="none", tasks.calibration.settings.bins=[10]'
    assert done.title == f"digits, {changed}: kd, alpha = 0.5, seed 0"
    assert (
        "on `digits`, version 2 with recipe.augmentation=none, tasks.calibration.settings.bins=\\[10\\], seed 0"
        in done.body
    )
    words = shlex.split(reproduce(made.record))
    passed = parse_assignments("--set", [words[i + 1] for i, word in enumerate(words) if word == "--set"])
    assert passed == {**suite.changed, "alpha": 0.5}
