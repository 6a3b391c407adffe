from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.report.runs import open_runs
from kdbench.report.style import MOST_RUNS, plain
from tests.leaderboard.evidence import make
from tests.report.reading import opened, with_files


def test_labels_say_no_more_than_distinguishes_runs(tmp_path: Path) -> None:
    ce, other_seed = make("ce").keep(tmp_path), make("ce", seed=1).publish(tmp_path)
    with_params = make("nrd", params={"alpha": 0.5}).keep(tmp_path)
    assert [run.label for run in open_runs([ce])] == ["ce"]
    assert [run.label for run in open_runs([ce.parent, ce, other_seed])] == ["ce, seed 0", "ce, seed 1"]
    assert [run.label for run in open_runs([ce, with_params])] == ["ce", "nrd, alpha=0.5"]


def test_runs_that_are_alike_in_words_get_their_id(tmp_path: Path) -> None:
    """The same method, parameters and seed, of another source: only the run id differs."""
    first, second = make("ce"), make("ce", source="f" * 64)
    labels = [run.label for run in opened(tmp_path, first, second)]
    assert labels == ["ce", f"ce ({plain(second.record.run_id, 6)})"]


def test_a_label_can_be_drawn_and_is_short(tmp_path: Path) -> None:
    made = make("<b>\u202e\U0001f4a9" + "m" * 500, params={"p\n": "v" * 500})
    [run, _] = opened(tmp_path, made, make("ce"))
    assert run.label.isprintable()
    assert len(run.label) == 20 + len(", ") + 24
    assert "\u202e" not in run.label


def test_as_many_runs_as_there_are_colours(tmp_path: Path) -> None:
    paths = [make("ce", seed=seed, tasks=["clean"]).keep(tmp_path) for seed in range(MOST_RUNS + 1)]
    assert len(open_runs(paths[:MOST_RUNS])) == MOST_RUNS == 7
    with pytest.raises(KdbenchError, match="8 runs were given, expected 1 to 7"):
        open_runs(paths)
    with pytest.raises(KdbenchError, match="0 runs were given"):
        open_runs([])


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    ce = make("ce")
    other = ce.record.spec.suite.model_copy(update={"name": "others"})
    paths = [ce.keep(tmp_path), make("ce", suite=other).keep(tmp_path)]
    with pytest.raises(KdbenchError, match="suites digits, others"):
        open_runs(paths)
    with pytest.raises(KdbenchError, match=r"is a folder without a record.json \(give a run's folder, as .*/ce/"):
        open_runs([tmp_path])


def test_files_are_found_beside_a_published_record_too(tmp_path: Path) -> None:
    made = make("ce")
    for path in (made.keep(tmp_path / "runs"), made.publish(tmp_path / "records")):
        [run] = open_runs([path])
        assert run.conditions == ["clean", "sym-40"]
        assert run.predictions().keys() == made.predictions.keys()
        assert run.curves()["clean"].series["loss"].tolist() == [
            entry["loss"] for entry in made.log if entry["condition"] == "clean"
        ]


def test_evidence_that_is_not_the_hashed_one_is_not_used(tmp_path: Path) -> None:
    path = make("ce").keep(tmp_path)
    [run] = open_runs([path])
    assert run.softmax_history("clean").softmax.shape == (8, 20, 10)
    with path.with_name("log.jsonl").open("a") as file:
        file.write("{}\n")
    path.with_name("predictions.npz").unlink()
    with pytest.raises(KdbenchError, match=r"log\.jsonl of ce is not the file that the record hashed"):
        run.curves()
    with pytest.raises(KdbenchError, match=r"predictions\.npz of ce is not beside the record"):
        run.predictions()
    with pytest.raises(KdbenchError, match="softmax-other.npz of .* has no hash in the record"):
        run.softmax_history("other")


def test_a_checkpoint_is_that_of_a_trained_student(tmp_path: Path) -> None:
    [run] = opened(tmp_path, make("ce", failed="condition sym-40: the training loss became nan"))
    with pytest.raises(KdbenchError, match="ce has no trained student under sym-40"):
        run.checkpoint("sym-40")
    with pytest.raises(KdbenchError, match=r"checkpoint-clean\.safetensors of ce is not beside the record"):
        run.checkpoint("clean")
    run.path.with_name("checkpoint-clean.safetensors").write_bytes(b"another network")
    with pytest.raises(KdbenchError, match="is not the file that the record hashed"):
        run.checkpoint("clean")


def test_a_softmax_history_is_read_as_it_was_kept(tmp_path: Path) -> None:
    softmax = np.array([[[0.25, 0.75], [1.0, 0.0]]], dtype=np.float16)
    made = with_files(make("ce"), softmax={"clean": {"softmax": softmax, "labels": np.array([1, 0], dtype=np.uint8)}})
    [run] = opened(tmp_path, made)
    history = run.softmax_history("clean")
    assert history.softmax.tolist() == [[[0.25, 0.75], [1.0, 0.0]]]
    assert history.labels.tolist() == [1, 0]
    assert (history.softmax.dtype, history.labels.dtype) == (np.float64, np.int64)


@pytest.mark.parametrize(
    "arrays",
    [
        {"softmax": np.zeros((1, 2, 3))},
        {"softmax": np.zeros((1, 2, 3)), "labels": np.zeros(3, int)},
        {"softmax": np.zeros((2, 3)), "labels": np.zeros(2, int)},
        {"softmax": np.zeros((0, 2, 3)), "labels": np.zeros(2, int)},
        {"softmax": np.zeros((1, 0, 3)), "labels": np.zeros(0, int)},
        {"softmax": np.zeros((1, 2, 0)), "labels": np.zeros(2, int)},
        {"softmax": np.full((1, 2, 3), np.nan), "labels": np.zeros(2, int)},
        {"softmax": np.full((1, 2, 3), "x"), "labels": np.zeros(2, int)},
        {"softmax": np.zeros((1, 2, 3)), "labels": np.array(["a", "b"])},
        {"softmax": np.zeros((1, 2, 3)), "labels": np.array([0, 3])},
        {"softmax": np.zeros((1, 2, 3)), "labels": np.array([0, -1])},
    ],
    ids=lambda arrays: " ".join(f"{name}{list(value.shape)}" for name, value in arrays.items()),
)
def test_what_is_no_softmax_history_is_refused(arrays: dict[str, Any], tmp_path: Path) -> None:
    [run] = opened(tmp_path, with_files(make("ce"), softmax={"clean": arrays}))
    with pytest.raises(
        KdbenchError, match=r"softmax-clean\.npz of ce holds (no softmax vectors|\w+, which is no array)"
    ):
        run.softmax_history("clean")


def test_a_file_that_cannot_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    made = make("ce")
    path = made.keep(tmp_path)
    broken = {"log.jsonl": b"\xff\xfe", "predictions.npz": b"no archive"}
    for name, content in broken.items():
        path.with_name(name).write_bytes(content)
    evidence = {name: hashlib.sha256(content).hexdigest() for name, content in broken.items()}
    record = made.record.model_copy(update={"hashes": made.record.hashes.model_copy(update={"evidence": evidence})})
    path.write_text(record.to_json())
    [run] = open_runs([path])
    with pytest.raises(KdbenchError, match=r"log\.jsonl of ce is not UTF-8"):
        run.curves()
    with pytest.raises(KdbenchError, match=r"predictions\.npz of ce holds no arrays"):
        run.predictions()
