from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kdbench
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.leaderboard import measuring
from kdbench.leaderboard import verify as module
from kdbench.leaderboard.agreement import compare
from kdbench.leaderboard.submit import submit
from kdbench.leaderboard.verify import Verification, verify
from kdbench.metrics import bootstrap_ece_interval, expected_calibration_error, wilson_interval
from kdbench.results.record import Record
from kdbench.running.options import RunOptions
from kdbench.running.runner import record_path
from kdbench.tasks.calibration import _two_sided
from tests.conftest import TINY_SUITE
from tests.leaderboard.evidence import npz


@dataclasses.dataclass
class Ran:
    out: Path
    path: Path
    record: Record

    def checkpoint(self, condition: str) -> Path:
        return self.path.with_name(f"checkpoint-{condition}.safetensors")

    def verify(self, condition: str = "clean", **options: Any) -> Verification:
        options.setdefault("options", RunOptions.make(out=self.out, device="cpu"))
        return verify(self.path, self.checkpoint(condition), **options)

    def copy(self, folder: Path) -> Ran:
        target = folder / self.record.run_id
        shutil.copytree(self.path.parent, target)
        (target / "SHA256SUMS").unlink()  # published records have none, and who forges one would write another
        return dataclasses.replace(self, path=target / "record.json")


def run_tiny(folder: Path, conditions: list[str] | None = None) -> Ran:
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE.replace("epochs = 3", "epochs = 1"))
    out = folder / "runs"
    record = kdbench.run(str(suite), "ce", out=out, device="cpu", conditions=conditions, download=False)
    return Ran(out, record_path(record, out), record)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_tiny(tmp_path_factory.mktemp("verify"))


def test_the_same_machine_measures_the_same(ran: Ran) -> None:
    found = ran.verify()
    assert found.conditions == ("clean",)
    assert found.skipped == {}
    assert {agreement.score.task for agreement in found.agreements} == {"clean", "calibration", "pgd", "transfer"}
    recorded = [score for score in ran.record.scores if score.condition == "clean"]
    assert [agreement.score for agreement in found.agreements] == recorded
    assert {agreement.verdict for agreement in found.agreements} == {"same"}
    assert found.refuted == []
    assert json.dumps(found.to_dict())
    assert ran.verify("sym-40").conditions == ("sym-40",)


def test_the_checkpoints_beside_a_record_are_the_default(ran: Ran, tmp_path: Path) -> None:
    done = submit(ran.path, tmp_path / "records", checkpoints=True)
    assert {file.name.removeprefix(f"{ran.record.run_id}.") for file in done.written} == {
        "json", "predictions.npz", "log.jsonl", "checkpoint-clean.safetensors", "checkpoint-sym-40.safetensors",
    }  # fmt: skip
    options = RunOptions.make(out=ran.out, device="cpu")
    found = verify(done.record, options=options)
    assert (found.conditions, found.skipped, found.findings) == (("clean", "sym-40"), {}, ())
    assert [one.score for one in found.agreements] == ran.record.scores
    assert {one.verdict for one in found.agreements} == {"same"}, "each by its own network"
    alone = verify(done.record, condition="sym-40", options=options)
    assert alone.conditions == ("sym-40",)
    assert {one.score.condition for one in alone.agreements} == {"sym-40"}
    assert verify(done.record, tasks=["noisy_label"], options=options).conditions == ("sym-40",), "clean has none"
    clean, noisy = (done.record.with_suffix(f".checkpoint-{name}.safetensors") for name in ("clean", "sym-40"))
    kept = clean.read_bytes()
    clean.write_bytes(noisy.read_bytes())
    with pytest.raises(KdbenchError, match="checkpoint-clean.* is not the record's: it is that of condition sym-40"):
        verify(done.record, options=options)
    clean.write_bytes(kept)
    noisy.unlink()
    assert verify(done.record, tasks=["clean"], options=options).conditions == ("clean",), "the one that is there"
    clean.unlink()
    with pytest.raises(KdbenchError, match=r"no checkpoint beside .*checkpoint-clean.safetensors or .*name it"):
        verify(done.record, options=options)


def test_the_level_holds_over_all_conditions_that_are_verified(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = submit(ran.path, tmp_path / "records", checkpoints=True)
    parts: list[int] = []

    def counted(*args: Any, tasks: int, **more: Any) -> Any:
        parts.append(tasks)
        return compare(*args, tasks=tasks, **more)

    monkeypatch.setattr(measuring, "compare", counted)
    options = RunOptions.make(out=ran.out, device="cpu")
    verify(done.record, condition="sym-40", tasks=["noisy_label"], options=options)
    of_noisy = len({score.task for score in ran.record.scores if score.condition == "sym-40"})
    assert parts == [of_noisy]
    parts.clear()
    verify(done.record, tasks=["clean", "noisy_label"], options=options)
    assert parts == [len({(score.condition, score.task) for score in ran.record.scores})] * 2


def test_a_large_or_another_checkpoint_is_not_published(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.leaderboard.submit.LARGEST_CHECKPOINT", 1000)
    with pytest.raises(KdbenchError, match="MiB, .* at most"):
        submit(ran.path, tmp_path / "records", checkpoints=True)
    other = ran.copy(tmp_path)
    other.checkpoint("clean").write_bytes(b"other")
    with pytest.raises(KdbenchError, match="is not the file that the record hashed"):
        submit(other.path, tmp_path / "records", checkpoints=True)
    assert not (tmp_path / "records").exists()


def test_a_sample_is_measured_on_the_same_examples(ran: Ran) -> None:
    found = ran.verify(examples=6, sample_seed=1)
    assert found.refuted == []
    assert found.counts["same"] + found.counts["within interval"] + found.counts["unchecked"] == len(found.agreements)
    by_task = {(a.score.task, a.score.metric): a for a in found.agreements}
    assert by_task["clean", "accuracy"].verdict == "same"
    assert by_task["clean", "accuracy"].n == 6
    index = np.sort(np.random.default_rng([1, 500]).choice(500, 6, replace=False))
    with np.load(ran.path.with_name("predictions.npz")) as arrays:
        assert by_task["clean", "accuracy"].recorded == arrays["clean/clean/correct"][index].mean()
    assert by_task["calibration", "ece"].verdict == "same"
    other = ran.verify(examples=6, tasks=["clean"])
    assert other.sample_seed != ran.verify(examples=6, tasks=["clean"]).sample_seed, "nobody knows the sample before"


def tell_a_lie(ran: Ran, name: str, task: str, metric: str, gained: int) -> None:
    """Per-example results and the score that goes with them, a little better than they were; all hashes right."""
    file = ran.path.with_name("predictions.npz")
    with np.load(file) as stored:
        arrays = {key: stored[key] for key in stored.files}
    wrong = np.flatnonzero(~arrays[name])[:gained]
    arrays[name] = arrays[name].copy()
    arrays[name][wrong] = True
    answer, label = (name.replace("correct", what) for what in ("answer", "label"))
    arrays[answer] = np.where(np.isin(np.arange(len(arrays[name])), wrong), arrays[label], arrays[answer])
    file.write_bytes(npz(arrays))
    values = json.loads(ran.path.read_text())
    values["hashes"]["evidence"]["predictions.npz"] = hashlib.sha256(file.read_bytes()).hexdigest()
    for score in values["scores"]:
        if (score["task"], score["metric"], score["condition"]) == (task, metric, "clean"):
            score["value"] = float(arrays[name].mean())
            score["ci_low"], score["ci_high"] = wilson_interval(arrays[name].sum(), len(arrays[name]))
        if (score["task"], score["condition"]) == ("calibration", "clean"):  # a careful liar
            ece = _two_sided(arrays["clean/calibration/confidence"], arrays[name])
            score["value"] = expected_calibration_error(*ece)
            score["ci_low"], score["ci_high"] = bootstrap_ece_interval(*ece)
    ran.path.write_text(json.dumps(values, indent=1))


def test_a_lie_inside_the_interval_is_found_example_by_example(ran: Ran, tmp_path: Path) -> None:
    """Ten of 500 images more are well inside the interval; the same checkpoint cannot lose ten and win none."""
    liar = ran.copy(tmp_path)
    tell_a_lie(liar, "clean/clean/correct", "clean", "accuracy", 10)
    found = liar.verify(tasks=["clean"])
    [agreement] = [one for one in found.agreements if one.verdict != "unchecked"]
    assert not found.holds(partly=True)
    assert {one.basis for one in found.agreements if one is not agreement} == {"not asked for"}
    assert agreement.score.ci_low < agreement.measured < agreement.score.value
    assert agreement.verdict == "not"
    assert agreement.basis.startswith("0 examples gained and 10 lost")


def test_another_check_or_other_labels_are_found(ran: Ran, tmp_path: Path) -> None:
    liar = ran.copy(tmp_path)
    values = json.loads(liar.path.read_text())
    for check in values["checks"]:
        if (check["name"], check["condition"]) == ("large_eps", "clean"):
            check["value"], check["passed"] = (1.0, False) if check["passed"] else (0.0, True)
    values["hashes"]["label_noise"]["sym-40"]["sha256"] = hashlib.sha256(b"other labels").hexdigest()
    liar.path.write_text(json.dumps(values, indent=1))
    for condition, task, finding in (
        ("clean", "pgd", "check large_eps of pgd"),
        ("sym-40", "noisy_label", "label noise"),
    ):
        found = liar.verify(condition, tasks=[task])
        assert found.refuted == []
        assert [one.startswith(finding) for one in found.findings] == [True]
        assert not found.holds(partly=True)


def test_a_task_of_another_version_is_not_reproduced(ran: Ran, tmp_path: Path) -> None:
    later = ran.copy(tmp_path)
    values = json.loads(later.path.read_text())
    values["spec"]["tasks"]["clean"] = 7
    values["run_id"] = Record.model_validate_json(ran.path.read_text()).spec.model_copy(
        update={"tasks": values["spec"]["tasks"]}
    ).run_id  # fmt: skip
    later.path.write_text(json.dumps(values, indent=1))
    found = later.verify(tasks=["clean"])
    assert found.skipped == {"clean/clean": "task 'clean' is not installed here in version 7"}
    assert found.counts["unchecked"] == len(found.agreements)
    assert (found.holds(), found.holds(partly=True)) == (False, True)


def test_tasks_that_need_other_networks_find_train_or_skip_them(ran: Ran, tmp_path: Path) -> None:
    elsewhere = RunOptions.make(out=tmp_path / "elsewhere", device="cpu")
    found = ran.verify(tasks=["transfer", "clean"], options=elsewhere)
    assert {one.score.task for one in found.agreements if one.verdict == "same"} == {"clean"}
    assert "--train trains it" in found.skipped["clean/transfer"]
    assert (found.holds(), found.holds(partly=True)) == (False, True)
    trained = ran.verify(tasks=["transfer"], options=elsewhere, train=True)
    assert {one.verdict for one in trained.agreements if one.score.task == "transfer"} == {"same"}
    assert trained.holds()
    for file in (tmp_path / "elsewhere").rglob("checkpoint.safetensors"):
        shutil.copy(ran.checkpoint("clean"), file)
    found = ran.verify(tasks=["transfer"], options=elsewhere)
    assert "is another network than the record's" in found.skipped["clean/transfer"]


def test_another_checkpoint_is_refused(ran: Ran, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(ran.checkpoint("clean").read_bytes()[:-1])
    for checkpoint, options, message in (
        (torn, {}, f"is not the record's: its SHA-256 is {file_sha256(torn)}, the record has"),
        (ran.checkpoint("sym-40"), {"condition": "clean"}, "it is that of condition sym-40"),
        (tmp_path / "nowhere", {}, "no checkpoint at"),
        (ran.checkpoint("clean"), {"condition": "claen"}, "no condition named 'claen' (did you mean 'clean'?"),
        (ran.checkpoint("clean"), {"tasks": ["noisy_label"]}, "no task named 'noisy_label'"),
        (ran.checkpoint("clean"), {"tasks": ["clena"]}, "no task named 'clena' (did you mean 'clean'?"),
        ("http://localhost/x", {}, "is not https"),
        ("https://localhost/x", {}, "which checkpoint is to be fetched? (say --condition clean or sym-40)"),
    ):
        with pytest.raises(KdbenchError) as caught:
            verify(ran.path, checkpoint, options=RunOptions.make(device="cpu", out=ran.out), **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_address_is_fetched_and_held_against_the_hash(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def fetch(urls: Any, target: Path, *, checksum: str, progress: bool, largest: int) -> Path:
        asked.append((list(urls), checksum))
        shutil.copy(ran.checkpoint("clean"), target)
        return target

    monkeypatch.setattr(module, "fetch", fetch)
    address = "https://example.org/releases/download/x/checkpoint.safetensors"
    options = RunOptions.make(device="cpu", out=ran.out)
    found = verify(ran.path, address, condition="clean", tasks=["clean"], options=options)
    assert {one.verdict for one in found.agreements if one.score.task == "clean"} == {"same"}
    assert asked == [([address], f"sha256:{file_sha256(ran.checkpoint('clean'))}")]


def test_a_record_that_is_not_valid_is_not_measured(ran: Ran, tmp_path: Path) -> None:
    broken = ran.copy(tmp_path)
    broken.path.with_name("log.jsonl").unlink()
    with pytest.raises(KdbenchError, match="not a valid record: .*log.jsonl is not beside the record"):
        broken.verify()
