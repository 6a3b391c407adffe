from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.data import DataPlace
from kdbench.errors import KdbenchError
from kdbench.hashes import integers_sha256
from kdbench.report.bench import Bench
from kdbench.report.runs import Run, open_runs
from kdbench.results.record import Record
from tests.leaderboard.evidence import digits, make
from tests.report.reading import opened

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run_and_bench(trained: tuple[Record, Path]) -> tuple[Run, Bench]:
    [run] = open_runs([trained[1]])
    return run, Bench([run], DataPlace.default(), CPU)


def changed(run: Run, **hashes: object) -> Run:
    """The run with other hashes in its record."""
    record = run.record
    return dataclasses.replace(
        run, record=record.model_copy(update={"hashes": record.hashes.model_copy(update=hashes)})
    )


def test_probabilities_are_softmax_outputs_on_all_test_images(run_and_bench: tuple[Run, Bench]) -> None:
    run, bench = run_and_bench
    model = kdbench.load_predictor(run.path.with_name("checkpoint-clean.safetensors"))
    images = kdbench.data.digits.load(DataPlace.default()).test.images
    with torch.no_grad():
        expected = model(images.float() / 255).double().softmax(1)
    found = bench.probabilities(run, "clean")
    assert found.shape == (len(images), 10)
    assert found == pytest.approx(expected.numpy(), abs=1e-5)
    assert bench.probabilities(run, "clean") is found  # measured once
    assert np.abs(found.sum(1) - 1).max() < 1e-9


def test_a_student_is_frozen(run_and_bench: tuple[Run, Bench]) -> None:
    run, bench = run_and_bench
    network = bench.predictor(run, "clean")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_training_labels_are_those_that_the_student_saw_and_the_true_ones(run_and_bench: tuple[Run, Bench]) -> None:
    run, bench = run_and_bench
    labels = bench.training_labels(run, "sym-40")
    facts = run.record.hashes.label_noise["sym-40"]
    assert integers_sha256(labels.observed) == facts.sha256
    assert (labels.observed != labels.true).double().mean().item() == facts.realised == 0.4
    train = bench.dataset.train
    by_image = {image.numpy().tobytes(): int(label) for image, label in zip(train.images, train.labels, strict=True)}
    assert [by_image[image.numpy().tobytes()] for image in labels.images] == labels.true.tolist()


def test_other_noisy_labels_than_the_students_are_refused(run_and_bench: tuple[Run, Bench]) -> None:
    run, bench = run_and_bench
    with pytest.raises(KdbenchError, match="clean of ce has no label noise"):
        bench.training_labels(run, "clean")
    facts = run.record.hashes.label_noise["sym-40"]
    other = changed(run, label_noise={"sym-40": facts.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(KdbenchError, match="the noisy labels of sym-40 are not those that ce was trained on"):
        bench.training_labels(other, "sym-40")


def test_other_images_than_those_of_every_record_are_refused(run_and_bench: tuple[Run, Bench]) -> None:
    run, _ = run_and_bench
    other = changed(run, datasets={"digits": "0" * 64})
    with pytest.raises(KdbenchError, match="the available images of 'digits' are not those that ce was measured on"):
        _ = Bench([run, other], DataPlace.default(), CPU).dataset


def test_a_data_set_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    suite = digits().model_copy(update={"dataset": "cifar100"})
    runs = opened(tmp_path, make("ce", suite=suite, tasks=["clean"]))
    bench = Bench(runs, DataPlace(None, tmp_path), CPU)
    with pytest.raises(KdbenchError, match="the data of 'cifar100' are not available: "):
        _ = bench.dataset
    assert len(bench.class_names) == 100


def test_an_unknown_data_set_has_no_class_names(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce", suite=digits().model_copy(update={"dataset": "mine"}), tasks=["clean"]))
    bench = Bench(runs, DataPlace.default(), CPU)
    assert bench.class_names == ()
    with pytest.raises(KdbenchError, match="no dataset named 'mine'"):
        _ = bench.dataset
