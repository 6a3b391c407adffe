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

import kdbench
from kdbench.data import DataPlace
from kdbench.errors import KdbenchError
from kdbench.methods.source import source_hash
from kdbench.plugin.loader import load_plugins
from kdbench.results.record import Record, read_record
from kdbench.running import graph as graph_module
from kdbench.running.graph import RunGraph
from kdbench.running.runner import record_path, run
from kdbench.running.suite_data import load_suite_data
from kdbench.suites import load_suite


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
        "checkpoint-clean.safetensors", "checkpoint-sym-40.safetensors", "log.jsonl", "predictions.npz", "record.json",
        "softmax-clean.npz", "softmax-sym-40.npz",
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
    assert record.provenance.peak_memory_bytes > 1e8
    assert {"data", "train/clean/student", "evaluate/clean/pgd"} <= set(record.provenance.seconds)


def test_a_second_call_returns_the_finished_record(finished: tuple[Path, Record, Path]) -> None:
    suite, record, out = finished
    before = record_path(record, out).stat().st_mtime_ns
    assert run(str(suite), "kd", out=out) == record
    assert record_path(record, out).stat().st_mtime_ns == before


def test_fresh_runs_anew_with_the_same_scores_and_keeps_the_old_record(finished: tuple[Path, Record, Path]) -> None:
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


def test_more_tasks_reuse_the_trained_student(finished: tuple[Path, Record, Path]) -> None:
    suite, _, out = finished
    record = run(str(suite), "kd", tasks=["ood"], conditions=["clean"], out=out)
    assert record.hashes.students["clean"].reused
    ood = record.select("ood", "accuracy")[0]
    assert (ood.setting["dataset"], ood.n) == ("digits-fonts", 1000)


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


def test_a_damaged_cached_teacher_is_trained_again_with_a_word(tmp_path: Path, tiny_suite: Path) -> None:
    options = {"tasks": ["transfer"], "conditions": ["clean"], "out": tmp_path}
    first = run(str(tiny_suite), "ce", **options)  # type: ignore[arg-type]  # mixed options
    [teacher] = [
        folder for folder in (tmp_path / "tiny/trainings").iterdir()
        if folder.name.endswith(first.hashes.networks["clean/teacher"].training)
    ]  # fmt: skip
    path = teacher / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="is damaged.*trained again"):
        second = run(str(tiny_suite), "ce", seed=5, **options)  # type: ignore[arg-type]  # mixed options
    assert second.hashes.networks["clean/teacher"].sha256 == first.hashes.networks["clean/teacher"].sha256


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
def test_mistakes_are_told_before_anything_is_trained(tmp_path: Path, options: dict[str, object], message: str) -> None:
    out = tmp_path / "runs"
    with pytest.raises(KdbenchError, match=message):
        run(**{"suite": "digits", "method": "kd", "out": out, **options})  # type: ignore[arg-type]  # mixed options
    assert not out.exists() or not any(out.rglob("*.*"))


def test_a_suite_with_an_unknown_model_is_told(tmp_path: Path, tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('student = "wrn-10-1"', 'student = "wrn-10-3"'))
    with pytest.raises(KdbenchError, match="no model named 'wrn-10-3' .did you mean 'wrn-10-1'"):
        run(str(tiny_suite), "ce", out=tmp_path)


def test_an_out_that_is_a_file_is_told(tmp_path: Path, tiny_suite: Path) -> None:
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
    assert parts["scores"] == whole["scores"]
    assert parts["hashes"]["students"]["clean"]["sha256"] == whole["hashes"]["students"]["clean"]["sha256"]


def run_graph(tiny_suite: Path, folder: Path) -> RunGraph:
    suite, plugins = load_suite(str(tiny_suite)), load_plugins()
    dataset = load_suite_data(suite, plugins, DataPlace.default(), ood=False).dataset
    return RunGraph(suite, dataset, plugins, folder, torch.device("cpu"))


def test_an_examples_index_says_nothing_of_its_clean_label(tiny_suite: Path, tmp_path: Path) -> None:
    graph = run_graph(tiny_suite, tmp_path)
    labels = graph.train_set("clean")[0].labels.double()
    index = torch.arange(len(labels)).double()
    assert abs(torch.corrcoef(torch.stack([index, labels]))[0, 1]) < 0.2
    assert labels.long().bincount(minlength=10).tolist() == [20] * 10
    assert torch.equal(graph.train_set("clean")[0].images, graph.train_set("sym-40")[0].images)


def test_the_source_of_a_peers_architecture_decides_what_is_trained(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = run_graph(tiny_suite, tmp_path)

    def digests() -> list[str]:
        return [graph.student("clean", "mkd", {"peer": peer}, 0).digest() for peer in ("shufflenet-v2", "")]

    other, same = digests()
    own = graph.plugins.models.get("shufflenet-v2").build
    monkeypatch.setattr(
        "kdbench.running.graph.source_hash", lambda target: "edited" if target is own else source_hash(target)
    )
    assert digests()[0] != other
    assert digests()[1] == same


@pytest.mark.parametrize(
    ("edit", "method", "params", "message"),
    [
        (("batch_size = 20", "batch_size = 1"), "kd", {}, "batch_size found 1, expected at least 2"),
        (
            ("[conditions.sym-40]", "[conditions.sym-40]\nrecipe = { batch_size = 1 }"),
            "kd",
            {},
            "sym-40: teacher: batch_size",
        ),
        (None, "forward", {"percentile": 50}, "percentile is 50.0, expected above 90.00"),
    ],
)
def test_what_only_networks_show_is_told_before_anything_is_trained(
    tiny_suite: Path, tmp_path: Path, edit: tuple[str, str] | None, method: str, params: dict[str, Any], message: str
) -> None:
    if edit:
        assert edit[0] in tiny_suite.read_text()
        tiny_suite.write_text(tiny_suite.read_text().replace(*edit))
    with pytest.raises(KdbenchError, match=message):
        run(str(tiny_suite), method, params=params, out=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("log.jsonl"))


def test_a_need_of_another_class_count_is_named(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = run_graph(tiny_suite, tmp_path)
    teacher, build = graph.network("clean", "teacher"), graph_module.build_network
    monkeypatch.setattr(
        graph_module,
        "build_network",
        lambda plugins, spec, classes: build(plugins, spec, 7 if spec == teacher else classes),
    )
    with pytest.raises(KdbenchError, match=r"clean: teacher: network 'student' \(wrn-10-1\) gives \(2, 7\)"):
        graph.dry_run(graph.student("clean", "kd", {}, 0), "clean")


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
    assert not record_path(record, tmp_path).exists()
    again = run(str(tiny_suite), "ce", fresh=True, **options)  # type: ignore[arg-type]  # mixed options
    assert again.hashes.students["clean"].reused, "the interrupted fresh run had trained it already"
    assert again.scores == record.scores
    assert not run(str(tiny_suite), "ce", fresh=True, **options).hashes.students["clean"].reused  # type: ignore[arg-type]  # mixed options
