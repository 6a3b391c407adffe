"""A run on labels from a file: what is trained on, what the record says, and what happens where the file is not."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.data import DataPlace, digits
from kdbench.errors import KdbenchError
from kdbench.leaderboard.validate import validate
from kdbench.leaderboard.verify import verify
from kdbench.plugin.loader import load_plugins
from kdbench.report.bench import Bench
from kdbench.report.runs import open_runs
from kdbench.results.record import Record
from kdbench.running import answers
from kdbench.running.options import RunOptions
from kdbench.running.plan import Plan
from kdbench.running.runner import record_path, run
from kdbench.sources import open_model
from kdbench.suites import load_suite

SUITE = """
name = "mine"
version = 1
title = "A few digits, labels of my own"
why = "Tests: a training takes a second."
dataset = "digits"
student = "wrn-10-1"
flip = false

[recipe]
epochs = 2
batch_size = 20
lr = 0.03
augmentation = "crop"

[conditions.own]
train_size = 100
noise = { kind = "file", path = "labels.npy" }

[tasks.noisy_label]
"""


def official_labels() -> np.ndarray:
    """The digits' training labels in scikit-learn's order."""
    from sklearn.datasets import load_digits

    train = digits.load(DataPlace.default()).train
    assert train is not None
    return np.asarray(load_digits().target[train.source_index.sort().values.numpy()])


def wrong_labels(seed: int) -> np.ndarray:
    """The same with the next digit for a quarter of the images."""
    labels = official_labels()
    chosen = np.random.default_rng(seed).permutation(len(labels))[: len(labels) // 4]
    labels[chosen] = (labels[chosen] + 1) % 10
    return labels


def write(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "labels.npy", wrong_labels(seed))
    (folder / "mine.toml").write_text(SUITE)
    return folder / "mine.toml"


@dataclasses.dataclass
class Ran:
    folder: Path
    record: Record

    @property
    def path(self) -> Path:
        return record_path(self.record, self.folder / "runs")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("given")
    yield Ran(folder, run(str(write(folder / "one")), "ce", out=folder / "runs", device="cpu"))


def test_the_record_says_what_the_labels_are(ran: Ran) -> None:
    facts = ran.record.hashes.label_noise["own"]
    file = ran.folder / "one" / "labels.npy"
    assert (facts.kind, facts.rate, facts.seed, facts.count) == ("file", None, 0, 100)
    assert facts.file_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts.confusion is not None
    assert sum(sum(row.values()) for row in facts.confusion.values()) == 100
    assert {true: sum(row.values()) for true, row in facts.confusion.items()} == {str(c): 10 for c in range(10)}
    wrong = sum(n for true, row in facts.confusion.items() for seen, n in row.items() if seen != true)
    assert facts.realised == pytest.approx(wrong / 100)
    assert 0.1 < facts.realised < 0.4
    assert all(int(seen) in (int(true), (int(true) + 1) % 10) for true, row in facts.confusion.items() for seen in row)
    assert str(ran.folder) not in ran.path.read_text(), "no place of this machine is published"


def test_the_record_is_valid_and_a_lie_in_it_is_found(ran: Ran, tmp_path: Path) -> None:
    problems = [problem for problem in validate(ran.path) if problem.severity == "error"]
    assert problems == []
    shutil.copytree(ran.path.parent, tmp_path / "copy")
    path = tmp_path / "copy" / "record.json"
    facts = ran.record.hashes.label_noise["own"]
    path.write_text(path.read_text().replace(f'"realised": {facts.realised}', '"realised": 0.05'))
    assert any("but the confusions give" in str(problem) for problem in validate(path))


def test_the_same_file_elsewhere_is_the_same_run_and_another_is_another(ran: Ran) -> None:
    def planned(suite: Path) -> str:
        plan = Plan.make(load_suite(str(suite)), load_plugins(), "ce", {}, None, None)
        from kdbench.running.graph import RunGraph
        from kdbench.running.suite_data import load_suite_data, needed_data

        options = RunOptions.make(out=ran.folder / "runs", device="cpu")
        data = load_suite_data(plan.suite, plan.plugins, options.place, **needed_data(plan.tasks.values()))
        return plan.spec(data, RunGraph(plan.suite, data.dataset, plan.plugins, options), 0).run_id

    assert planned(write(ran.folder / "moved")) == ran.record.run_id
    assert planned(write(ran.folder / "other", seed=1)) != ran.record.run_id


def test_labels_are_looked_for_in_the_data_folder_by_what_reads_the_record(ran: Ran, tmp_path: Path) -> None:
    [one] = open_runs([ran.path])
    bench = Bench([one], DataPlace(tmp_path, tmp_path / "cache"), torch.device("cpu"))
    with pytest.raises(KdbenchError, match=r"the file of labels with SHA-256 \w+ was not found: looked for it in"):
        bench.training_labels(one, "own")
    (tmp_path / "labels").mkdir()
    shutil.copy(ran.folder / "one" / "labels.npy", tmp_path / "labels" / "any-name.npy")
    labels = bench.training_labels(one, "own")
    share = float((labels.observed != labels.true).double().mean())
    assert share == pytest.approx(ran.record.hashes.label_noise["own"].realised)


def test_a_run_without_its_file_stops_before_anything_is_trained(ran: Ran, tmp_path: Path) -> None:
    suite = write(tmp_path / "gone")
    sha256 = hashlib.sha256((tmp_path / "gone" / "labels.npy").read_bytes()).hexdigest()
    suite.write_text(SUITE.replace('path = "labels.npy"', f'path = "labels.npy", sha256 = "{sha256}"'))
    (tmp_path / "gone" / "labels.npy").unlink()
    with pytest.raises(KdbenchError, match=f"the file of labels with SHA-256 {sha256} was not found") as caught:
        run(str(suite), "ce", out=tmp_path / "runs", device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_what_needs_no_training_labels_is_verified_without_them(ran: Ran, tmp_path: Path) -> None:
    options = RunOptions.make(data_dir=tmp_path, out=tmp_path / "runs", device="cpu")
    found = verify(ran.path, ran.path.with_name("checkpoint-own.safetensors"), options=options)
    assert found.refuted == []
    assert found.skipped == {}
    assert [agreement.score.metric for agreement in found.agreements] == ["accuracy"]


def test_a_checkpoint_is_of_the_condition_whose_labels_it_saw(ran: Ran) -> None:
    checkpoint = ran.path.with_name("checkpoint-own.safetensors")
    assert str(ran.folder) not in checkpoint.read_bytes()[:20_000].decode("latin1")
    assert open_model(str(checkpoint), suite=load_suite(str(ran.folder / "one" / "mine.toml"))).condition == "own"
    assert kdbench.load_predictor(checkpoint)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_a_finished_run_is_not_found_by_words_where_its_labels_may_be_others(ran: Ran, tmp_path: Path) -> None:
    plan = Plan.make(load_suite(str(ran.folder / "one" / "mine.toml")), load_plugins(), "ce", {}, None, None)
    assert answers.data_files(plan, DataPlace(tmp_path, tmp_path / "cache")) is None
    human = Plan.make(load_suite("cifar10n"), load_plugins(), "ce", {}, ["worse"], ["noisy_label"])
    found = answers.data_files(human, DataPlace(tmp_path, tmp_path / "cache"))
    assert found is None or str(tmp_path / "cifar-n" / "CIFAR-10_human.pt") in found.paths
