from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

import kdbench
from kdbench.cli.leaderboard import leaderboard_app
from kdbench.errors import KdbenchError
from kdbench.leaderboard.retraining import check_person, retrain
from kdbench.leaderboard.standing import standing
from kdbench.results.evidence import attestations
from kdbench.results.store import read_evidence
from kdbench.running.options import RunOptions
from kdbench.specs import RunSpec
from tests.leaderboard.test_verify import Ran, run_tiny, tell_a_lie


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_tiny(tmp_path_factory.mktemp("retraining"), ["clean"])


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> RunOptions:
    """One folder for all: a finished retraining is taken as it is."""
    return RunOptions.make(out=tmp_path_factory.mktemp("retrained"), device="cpu", download=False)


def changed(ran: Ran, change: Callable[[dict[str, Any]], None]) -> Path:
    values = json.loads(ran.path.read_text())
    change(values)
    ran.path.write_text(json.dumps(values))
    return ran.path


def test_the_same_machine_trains_the_same_and_says_so(ran: Ran, options: RunOptions, tmp_path: Path) -> None:
    path = ran.copy(tmp_path).path
    found = retrain(path, options, attested=True)
    assert found.exact and found.agreed
    assert [one.score for one in found.agreements] == ran.record.scores
    assert {one.verdict for one in found.agreements} == {"same"}
    assert found.again.hashes.students["clean"].sha256 == ran.record.hashes.students["clean"].sha256
    assert not found.again.hashes.networks["clean/teacher"].reused, "nothing of the record's is used"
    file = found.attest("A. Person")
    [attested], wrong = attestations(path)
    assert (attested.by, attested.exact, attested.agreed, wrong) == ("A. Person", True, True, [])
    assert file.name == attested.file
    run = read_evidence(path)
    assert isinstance(run, kdbench.leaderboard.Evidence)
    assert standing([run]) == "reproduced by A. Person"


@pytest.fixture
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation, which sees these lies by other scores, has its own tests."""
    monkeypatch.setattr("kdbench.leaderboard.retraining.require_valid", lambda path: None)


@pytest.mark.usefixtures("believed")
def test_a_lie_of_ten_images_is_none_elsewhere_and_one_on_the_machine_itself(
    ran: Ran, options: RunOptions, tmp_path: Path
) -> None:
    liar = ran.copy(tmp_path)
    tell_a_lie(liar, "clean/clean/correct", "clean", "accuracy", 10)
    found = retrain(liar.path, options)
    assert next(one.score.task for one in found.agreements if one.verdict == "not") == "clean"
    assert not found.agreed and not found.attestation("A").agreed
    changed(liar, lambda values: values["provenance"].update(device_name="Another CPU"))
    found = retrain(liar.path, options)
    assert not found.exact and found.differing == [f"machine {found.again.provenance.device_name}, not Another CPU"]
    assert found.agreed, "another training may differ by as much"


@pytest.mark.usefixtures("believed")
def test_a_large_lie_is_one_anywhere(ran: Ran, options: RunOptions, tmp_path: Path) -> None:
    liar = ran.copy(tmp_path)
    tell_a_lie(liar, "clean/clean/correct", "clean", "accuracy", 150)
    changed(liar, lambda values: values["provenance"].update(device_name="Another CPU"))
    found = retrain(liar.path, options)
    assert "not" in {one.verdict for one in found.agreements if one.score.task == "clean"}
    assert not found.agreed


@pytest.mark.usefixtures("believed")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["spec"].update(method="unheard-of"), "unheard-of"),
        (lambda v: v["spec"]["tasks"].update(clean=99), "version 99 of task 'clean', here is"),
        (lambda v: v.update(status="failed", error="it diverged"), "failed run"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_trained(
    change: Callable[[dict[str, Any]], None],
    message: str,
    ran: Ran,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdbench.leaderboard.retraining.run_plan", None)

    def whole(values: dict[str, Any]) -> None:
        change(values)
        values["run_id"] = RunSpec.model_validate_json(
            json.dumps(values["spec"])
        ).run_id  # fmt: skip

    path = changed(ran.copy(tmp_path), whole)
    with pytest.raises(KdbenchError, match=message):
        retrain(path, RunOptions.make(out=tmp_path / "out", device="cpu"))
    assert not (tmp_path / "out").exists()


def test_the_records_own_training_is_none_of_somebody_else(ran: Ran) -> None:
    with pytest.raises(KdbenchError, match="would be found and not trained again"):
        retrain(ran.path, RunOptions.make(out=ran.out, device="cpu"))


def test_the_records_own_training_elsewhere_is_recognised(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="the record's own training"):
        retrain(ran.copy(tmp_path).path, RunOptions.make(out=ran.out, device="cpu"))


@pytest.mark.parametrize("name", ["", " A", "A" * 101, "A\nB"])
def test_nobody_is_no_name(name: str) -> None:
    with pytest.raises(KdbenchError, match="--by"):
        check_person(name)


def status(arguments: list[str]) -> int:
    return int(typer.main.get_command(leaderboard_app).main(arguments, standalone_mode=False) or 0)


def test_the_command_prints_each_score_and_writes_who_says_so(
    ran: Ran, options: RunOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ran.copy(tmp_path).path
    command = ["reproduce", str(path), "--by", "B. Person", "--out", str(options.out), "--device", "cpu"]
    assert status([*command, "--no-download"]) == 0
    out = capsys.readouterr().out
    assert f"trained again on the machine of the record: {len(ran.record.scores)} same, 0 within interval" in out
    assert [one.by for one in attestations(path)[0]] == ["B. Person"]
    assert status([*command, "--no-download", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agreed"] is True
