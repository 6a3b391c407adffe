from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError
from kdbench.leaderboard.parts import joined
from kdbench.plugin.loader import Plugins
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record, read_record
from kdbench.running.fingerprint import plan_fingerprint
from kdbench.running.loading import load_predictor
from kdbench.running.plan import Plan
from kdbench.running.runner import record_path, run
from kdbench.suites import load_suite
from tests.running.stages import follow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record, Path]:
    """One whole run of the tiny suite with a method that needs a teacher."""
    from tests.conftest import TINY_SUITE

    folder = tmp_path_factory.mktemp("finished")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE)
    return suite, run(str(suite), "kd", out=folder / "runs"), folder / "runs"


def test_run_folder_holds_what_it_promises(finished: tuple[Path, Record, Path]) -> None:
    _, record, out = finished
    path = record_path(record, out)
    assert path == out / "tiny" / "kd" / record.run_id / "record.json"
    assert sorted(child.name for child in path.parent.iterdir()) == [
        "SHA256SUMS", "checkpoint-clean.safetensors", "checkpoint-sym-40.safetensors", "log.jsonl", "predictions.npz",
        "record.json", "softmax-clean.npz", "softmax-sym-40.npz",
    ]  # fmt: skip
    evidence = ("log.jsonl", "predictions.npz", "softmax-clean.npz", "softmax-sym-40.npz")
    assert record.hashes.evidence == {
        name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in evidence
    }
    assert read_record(path) == record
    log = [json.loads(line) for line in (path.parent / "log.jsonl").read_text().splitlines()]
    assert [(entry["condition"], entry["epoch"]) for entry in log] == [
        (condition, epoch) for condition in ("clean", "sym-40") for epoch in (1, 2, 3)
    ]


def test_scores_agree_with_predictions_and_checkpoint(finished: tuple[Path, Record, Path]) -> None:
    _, record, out = finished
    folder = record_path(record, out).parent
    with np.load(folder / "predictions.npz") as file:
        kept = {name: file[name] for name in file.files}
    clean = record.select("clean", "accuracy")[0]
    assert clean.value == kept["clean/clean/correct"].mean()
    assert clean.n == 500
    digits = kdbench.data.digits.load(kdbench.data.DataPlace.default())
    model = kdbench.load_predictor(folder / "checkpoint-clean.safetensors")
    with torch.no_grad():
        predicted = model(digits.test.images.float() / 255).argmax(1)
    assert clean.value == (predicted == digits.test.labels).double().mean().item()
    noisy = record.select("noisy_label", "accuracy")[0]
    assert (noisy.condition, noisy.value) == ("sym-40", kept["sym-40/noisy_label/correct"].mean())
    index, robust = kept["clean/pgd/index"], kept["clean/pgd/pgd-std-3/correct"]
    assert len(index) == len(robust) == 10
    worst = record.select("pgd", "robust_accuracy", variant="pgd-std", steps=3, rule="worst")[0]
    assert worst.value == robust.mean()
    was_right = kept["clean/clean/correct"][index]
    if was_right.any():
        conditional = record.select("pgd", "conditional_accuracy", variant="pgd-std", steps=3, rule="worst")[0]
        assert conditional.n == was_right.sum()
        assert conditional.value == robust[was_right].mean()


def test_each_student_is_checked_once_for_answers_that_depend_on_the_batch(finished: tuple[Path, Record, Path]) -> None:
    record = finished[1]
    checks = [check for check in record.checks if check.name == "batch_dependence"]
    assert [check.condition for check in checks] == list(record.spec.params)
    assert all(check.passed for check in checks)
    for check in checks:
        measured = {score.task for score in record.scores if score.condition == check.condition}
        assert set(check.flags) == measured
        assert check.task in measured


def test_every_score_has_n_and_an_interval_around_its_value(finished: tuple[Path, Record, Path]) -> None:
    for score in finished[1].scores:
        assert score.n > 0
        assert score.ci_low <= score.value <= score.ci_high, score
        assert score.ci_low < score.ci_high, score


def test_record_says_what_the_labels_and_networks_were(finished: tuple[Path, Record, Path]) -> None:
    _, record, _ = finished
    facts = record.hashes.label_noise["sym-40"]
    assert (facts.kind, facts.rate, facts.realised) == ("symmetric", 0.4, 0.4)
    assert set(record.hashes.networks) == {"clean/teacher", "clean/reference", "sym-40/teacher"}
    assert record.hashes.networks["clean/teacher"] != record.hashes.networks["sym-40/teacher"]
    assert set(record.hashes.datasets) == {"digits"}
    assert record.spec.params["clean"] == {"temperature": 4.0, "alpha": 0.9, "direction": "teacher-student"}
    assert record.views == {"clean": "crop", "sym-40": "crop"}, "the suite's own augmentation by its name"
    assert record.provenance.peak_memory_bytes > 1e8
    assert (record.provenance.threads, record.provenance.interop_threads) == (1, torch.get_num_interop_threads())
    networks = (*record.hashes.students.values(), *record.hashes.networks.values())
    assert {tuple(network.threads) for network in networks} == {(1,)}
    assert record.provenance.command == [], "a test is no command of kdbench"
    assert record.fingerprint is not None
    assert {name: len(found) for name, found in record.fingerprint.losses.items()} == {"clean": 10, "sym-40": 10}
    assert {"data", "train/clean/student", "evaluate/clean/pgd"} <= set(record.provenance.seconds)


def test_a_second_call_returns_the_finished_record(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    before = record_path(record, out).stat().st_mtime_ns
    assert run(str(suite), "kd", out=out) == record
    assert record_path(record, out).stat().st_mtime_ns == before


def test_a_finished_run_of_other_threads_is_returned_with_a_note(
    finished: tuple[Path, Record, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """It came back without a word, as if it had been made here."""
    suite, record, out = finished
    run(str(suite), "kd", out=out)
    assert not caplog.messages
    torch.set_num_threads(2)
    try:
        assert run(str(suite), "kd", out=out) == record
    finally:
        torch.set_num_threads(1)
    assert caplog.messages == [
        f"note: run {record.run_id} is there already and is not run again. It was made with threads 1, not 2 and may "
        "have other scores than one made here: --fresh trains and measures it here"
    ]


def test_fresh_runs_again_with_the_same_scores_and_keeps_the_old_record(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    again = run(str(suite), "kd", out=out, fresh=True)
    assert again.provenance.started >= record.provenance.started
    assert not any(student.reused for student in again.hashes.students.values())
    assert again.scores == record.scores
    assert again.hashes.students.keys() == record.hashes.students.keys()
    for condition, student in again.hashes.students.items():
        assert student.sha256 == record.hashes.students[condition].sha256
    previous = record_path(record, out).with_name("record.previous.json")
    assert read_record(previous).scores == record.scores
    previous.unlink()


def test_other_seeds_params_tasks_and_conditions_are_other_runs(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    other_seed = run(str(suite), "kd", seed=1, tasks=["clean"], conditions=["clean"], out=out)
    assert other_seed.run_id != record.run_id
    assert other_seed.hashes.students["clean"].sha256 != record.hashes.students["clean"].sha256
    fewer = run(str(suite), "kd", tasks=["clean"], conditions=["clean"], out=out)
    assert fewer.hashes.students["clean"].reused
    assert fewer.select("clean", "accuracy") == record.select("clean", "accuracy")


def test_a_job_per_condition_leaves_the_parts_of_the_whole_run(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    parts = [run(str(suite), "kd", conditions=[name], out=out) for name in ("clean", "sym-40")]
    whole = joined([Evidence.of(part, record_path(part, out)) for part in parts])
    assert whole is not None
    assert (whole.record.run_id, whole.record.scores) == (record.run_id, record.scores)
    assert sorted(map(repr, whole.record.checks)) == sorted(map(repr, record.checks))


def test_more_tasks_reuse_the_trained_student(finished: tuple[Path, Record, Path]) -> None:
    suite, _, out = finished
    record = run(str(suite), "kd", tasks=["ood"], conditions=["clean"], out=out)
    assert record.hashes.students["clean"].reused
    ood = record.select("ood", "accuracy")[0]
    assert (ood.setting["dataset"], ood.n) == ("digits-fonts", 1000)


def test_a_method_that_fails_on_a_tiny_network_is_run_without_a_fingerprint(
    staged: Plugins, tiny_suite: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks for what only the network has that was trained for it."""
    plan = Plan.make(load_suite(str(tiny_suite)), staged, "copies", {}, ["clean"], ["clean"])
    assert plan_fingerprint(plan) is None
    [message] = caplog.messages
    assert message.startswith(
        "note: the record will have no fingerprint of method 'copies', which fails on a tiny network: AttributeError: "
    )


def test_a_loss_that_is_none_is_told_before_a_teacher_is_trained_for_it(
    staged: Plugins, tiny_suite: Path, tmp_path: Path
) -> None:
    def each(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        """A loss for each image."""
        return (ctx.student(batch.images) - ctx.teacher(batch.images)).square().mean(1)

    staged.methods.add("each", kdbench.method("each", needs={"teacher": "teacher"})(each), "test")
    with pytest.raises(KdbenchError, match="not a differentiable scalar"):
        run(str(tiny_suite), "each", tasks=["clean"], conditions=["clean"], out=tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("checkpoint.safetensors"))


def test_a_loss_that_is_none_on_a_tiny_network_alone_is_run_without_a_fingerprint(
    staged: Plugins, tiny_suite: Path
) -> None:
    """As one over the examples of which a network is sure, which an untrained one is of none."""

    def sure(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        """Of few examples, or of none."""
        return torch.zeros(())

    staged.methods.add("sure", kdbench.method("sure")(sure), "test")
    plan = Plan.make(load_suite(str(tiny_suite)), staged, "sure", {}, ["clean"], ["clean"])
    assert plan_fingerprint(plan) is None


def test_a_record_refuses_what_cannot_be(finished: tuple[Path, Record, Path]) -> None:
    plain = finished[1].model_dump(mode="json")
    for change in (
        {"run_id": "0" * 16},
        {"extra": 1},
        {"status": "failed"},
        {"scores": [{**plain["scores"][0], "value": 1.2}]},
        {"scores": [{**plain["scores"][0], "value": "0.5"}]},
        {"scores": [{**plain["scores"][0], "ci_low": 0.9, "ci_high": 0.1}]},
    ):
        with pytest.raises(ValueError, match="validation error"):
            Record.model_validate_json(json.dumps({**plain, **change}))


def test_a_diverging_run_leaves_a_failed_record(tmp_path: Path, tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("lr = 0.03", "lr = 1e30"))
    record = run(str(tiny_suite), "ce", tasks=["clean"], conditions=["clean"], out=tmp_path)
    assert record.status == "failed"
    assert record.error is not None
    assert "condition clean: the training loss became" in record.error
    assert "in epoch 1" in record.error
    log = record_path(record, tmp_path).with_name("log.jsonl")
    assert log.exists()
    assert read_record(record_path(record, tmp_path)).status == "failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "digitz"}, "no suite named 'digitz' .did you mean 'digits'"),
        ({"suite": "nowhere.toml"}, "cannot read suite file nowhere.toml"),
        ({"method": "ndr"}, "no method named 'ndr' .did you mean 'nrd'"),
        ({"tasks": ["cleen"]}, "no task named 'cleen' .did you mean 'clean'"),
        ({"conditions": ["sym40"]}, "no condition named 'sym40' .did you mean 'sym-40'"),
        ({"params": {"alpha": 2}}, "parameter alpha: input should be less than or equal to 1, found 2"),
        ({"device": "gpu"}, "no device named 'gpu'"),
        ({"tasks": ["noisy_label"], "conditions": ["clean"]}, "task 'noisy_label' does not apply to condition clean"),
    ],
)
def test_mistakes_are_errors_before_anything_is_trained(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    out = tmp_path / "runs"
    with pytest.raises(KdbenchError, match=message):
        run(**{"suite": "digits", "method": "kd", "out": out, **options})  # type: ignore[arg-type]  # mixed options
    assert not out.exists() or not any(out.rglob("*.*"))


def test_a_suite_with_an_unknown_model_is_an_error(tmp_path: Path, tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('student = "wrn-10-1"', 'student = "wrn-10-3"'))
    with pytest.raises(KdbenchError, match="no model named 'wrn-10-3' .did you mean 'wrn-10-1'"):
        run(str(tiny_suite), "ce", out=tmp_path)


def test_an_out_that_is_a_file_is_an_error(tmp_path: Path, tiny_suite: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KdbenchError, match="cannot write to .*file"):
        run(str(tiny_suite), "ce", out=tmp_path / "file")


def test_a_killed_run_goes_on_and_ends_with_the_same_scores(
    tmp_path: Path, tiny_suite: Path, finished: tuple[Path, Record, Path]
) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("epochs = 3", "epochs = 6"))
    command = [sys.executable, "-m", "kdbench", "run", "--method", "nrd", "--suite", str(tiny_suite)]
    command += ["--tasks", "clean,noisy_label", "--json", "--out"]
    whole = json.loads(subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True).stdout)
    process = subprocess.Popen([*command, str(tmp_path / "parts")], stdout=subprocess.DEVNULL)
    trainings = tmp_path / "parts/tiny/trainings"
    deadline = time.monotonic() + 120
    while not list(trainings.glob("*/resume.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(trainings.glob("*/resume.pt")), "the kill came too late to prove anything"
    parts = json.loads(subprocess.run([*command, str(tmp_path / "parts")], check=True, capture_output=True).stdout)
    assert parts["run_id"] == whole["run_id"]
    assert whole["provenance"]["command"] == [
        "kdbench", "run", "--method", "nrd", "--suite", ".../tiny.toml", "--tasks", "clean,noisy_label", "--json",
        "--out", ".../whole",
    ]  # fmt: skip
    assert parts["scores"] == whole["scores"]
    assert parts["hashes"]["students"]["clean"]["sha256"] == whole["hashes"]["students"]["clean"]["sha256"]


def test_whatever_decides_a_result_is_in_the_run_id(tiny_suite: Path, tmp_path: Path) -> None:
    options = {"tasks": ["clean"], "conditions": ["clean"], "out": tmp_path}
    record = run(str(tiny_suite), "ce", **options)  # type: ignore[arg-type]  # mixed options
    text = tiny_suite.read_text()
    tiny_suite.write_text(text.replace('why = "Tests', 'why = "Better words. Tests'))
    assert run(str(tiny_suite), "ce", **options).run_id == record.run_id  # type: ignore[arg-type]  # mixed options
    tiny_suite.write_text(text.replace("batch_size = 20", "batch_size = 40"))
    assert run(str(tiny_suite), "ce", **options).run_id != record.run_id  # type: ignore[arg-type]  # mixed options
    assert record.spec.trainings["clean/student"] == record.hashes.students["clean"].training
    assert record.spec.recipes["clean"].lr == 0.03


def test_an_interrupted_fresh_run_goes_on(tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"conditions": ["clean"], "out": tmp_path, "tasks": ["clean", "calibration"]}
    record = run(str(tiny_suite), "ce", **options)  # type: ignore[arg-type]  # mixed options

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kdbench.running.runner.run_task", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(str(tiny_suite), "ce", fresh=True, **options)  # type: ignore[arg-type]  # mixed options
    assert read_record(record_path(record, tmp_path)) == record, "what is finished stays until the new one is"
    again = run(str(tiny_suite), "ce", fresh=True, **options)  # type: ignore[arg-type]  # mixed options
    assert again.hashes.students["clean"].reused, "the interrupted fresh run had trained it already"
    assert again.scores == record.scores
    assert not run(str(tiny_suite), "ce", fresh=True, **options).hashes.students["clean"].reused  # type: ignore[arg-type]  # mixed options


def test_stages_are_recorded_in_the_order_of_their_training_and_shared_between_runs(
    tiny_suite: Path, tmp_path: Path, staged: Plugins
) -> None:
    options: dict[str, Any] = {"conditions": ["sym-40"], "tasks": ["noisy_label"], "out": tmp_path / "runs"}
    record = run(str(tiny_suite), "follow", **options)
    assert record.status == "finished"
    keys = ["sym-40/teacher", "sym-40/student/peers/start", "sym-40/student/peers"]
    assert list(record.hashes.networks) == keys
    assert {key: record.spec.trainings[key] for key in keys} == {
        key: network.training for key, network in record.hashes.networks.items()
    }
    assert record.budget == "extended", "its first stage was"
    assert record.spec.recipes["sym-40"].epochs == 3
    peers = run(str(tiny_suite), "peers", **options)
    assert peers.hashes.networks["sym-40/student/start"] == record.hashes.networks[
        "sym-40/student/peers/start"
    ].model_copy(update={"reused": True})
    assert (peers.budget, peers.spec.recipes["sym-40"].epochs) == ("extended", 4)
    assert peers.hashes.students["sym-40"].training != record.hashes.networks["sym-40/student/peers"].training
    mean = load_predictor(
        record_path(peers, tmp_path / "runs").with_name("checkpoint-sym-40.safetensors"), plugins=staged
    )
    digits = kdbench.data.digits.load(kdbench.data.DataPlace.default())
    with torch.no_grad():
        correct = mean(digits.test.images.float() / 255).argmax(1) == digits.test.labels
    assert correct.double().mean().item() == peers.select("noisy_label", "accuracy")[0].value


def test_a_stage_that_diverges_is_named_in_a_failed_record(tiny_suite: Path, tmp_path: Path, staged: Plugins) -> None:
    def diverges(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return ctx.student(batch.images).sum() * float("nan")

    staged.methods.add("diverges", kdbench.method("diverges")(diverges), "test")
    needs = {"bad": kdbench.Network(method="diverges")}
    staged.methods.add("hopeless", kdbench.method("hopeless", needs=needs)(follow), "test")
    record = run(str(tiny_suite), "hopeless", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs")
    assert record.status == "failed"
    assert record.error == "condition clean: student/bad: the training loss became nan in epoch 1"


def test_a_run_of_another_setting_says_so_in_its_record(finished: tuple[Path, Record, Path]) -> None:
    suite, standard, out = finished
    changes = {"recipe.epochs": 1, "conditions.sym-40.recipe.lr": 0.01}
    record = run(str(suite), "kd", changes=changes, conditions=["sym-40"], tasks=["noisy_label"], out=out)
    assert record.spec.suite.changed == dict(sorted(changes.items()))
    assert record.spec.suite.name == standard.spec.suite.name
    recipe = record.spec.recipes["sym-40"]
    assert (recipe.epochs, recipe.lr, record.budget) == (1, 0.01, "standard")
    log = [json.loads(line) for line in (record_path(record, out).parent / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1]
    assert record.hashes.networks["sym-40/teacher"] != standard.hashes.networks["sym-40/teacher"]
    assert read_record(record_path(record, out)) == record
    [standard_board, other_board] = kdbench.leaderboard.rank(out).boards
    assert [board.suite for board in (standard_board, other_board)] == ["tiny", record.spec.suite.label]
    assert record.run_id not in [run.record.run_id for row in standard_board.rows for run in row.records]
