from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard import load, rank, read_evidence, read_records
from kdbench.results.evidence import Evidence, Excluded
from tests.leaderboard.evidence import Made, evidence_files, make

FEW = {"tasks": ["clean"], "conditions": ["clean"]}


def only(folder: Path) -> Evidence:
    [one], excluded = read_records(folder)
    assert not excluded
    return one


def refused(folder: Path) -> Excluded:
    found, [one] = read_records(folder)
    assert not found
    assert one.reason
    return one


@pytest.mark.parametrize("write", [Made.publish, Made.keep])
def test_both_layouts_are_read_with_their_evidence(tmp_path: Path, write: object) -> None:
    made = make(tasks=["clean", "corruption"])
    path = write(made, tmp_path)  # type: ignore[operator]
    one = only(tmp_path)
    assert one.record == made.record
    assert (one.path, one.notes) == (path, ())
    assert one.predictions is not None
    assert set(one.predictions) == set(made.predictions)
    np.testing.assert_array_equal(one.predictions["clean/clean/correct"], made.predictions["clean/clean/correct"])
    assert one.log == tuple(made.log)


def test_what_lies_beside_a_run_is_no_second_record(tmp_path: Path) -> None:
    folder = make(**FEW).keep(tmp_path).parent
    (folder / "record.previous.json").write_text("{}")
    (folder / "partial").mkdir()
    (folder / "partial/clean-pgd.json").write_text("{}")
    (tmp_path / "digits/trainings/x").mkdir(parents=True)
    (tmp_path / "digits/trainings/x/spec.json").write_text("{}")
    only(tmp_path)


def test_no_folder_is_an_error_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="no folder"):
        read_records(tmp_path / "nowhere")
    assert read_records(tmp_path) == ((), ())
    assert rank(tmp_path).boards == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"[1, 2]", "is no record"),
        (b'{"name": "something else"}', "is no record"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b'{"schema_version": 2, "run_id": NaN}', "NaN"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"schema_version": 3, "run_id": "x"}', "schema 3 is newer"),
        (b'{"schema_version": 1, "run_id": "x"}', "schema 1 is older"),
        (b'{"schema_version": "2", "run_id": "x"}', "broken record"),
        (b'{"schema_version": 2, "run_id": "x"}', "broken record"),
        (b'{"schema_version": 2, "schema_version": 2, "run_id": "x"}', "twice"),
        (b'{"schema_version": 2, "run_id": "\\ud800"}', "broken record"),
        (b'{"schema_version": ' + b"9" * 6000 + b', "run_id": "x"}', "strict JSON"),
    ],
)
def test_what_is_no_record_is_apart_with_the_reason_and_the_rest_is_read(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    make(**FEW).publish(tmp_path)
    (tmp_path / "digits/bad.json").write_bytes(content)
    found, [one] = read_records(tmp_path)
    assert len(found) == 1
    assert reason in one.reason
    assert one.path == tmp_path / "digits/bad.json"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(100 * 2**20)
    assert "larger than" in refused(tmp_path).reason


def test_a_record_of_another_schema_is_still_named(tmp_path: Path) -> None:
    made = make("mine\u202e", **FEW)
    text = made.record.to_json().replace('"schema_version": 2', '"schema_version": 1')
    made.text = text
    made.publish(tmp_path)
    one = refused(tmp_path)
    assert (one.suite, one.method, one.run_id) == ("digits", "mine\\u202e", made.record.run_id)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"seed": 5', '"seed": 6', "run_id"),
        ('"value": 0.', '"value": 7.', "fraction"),
        ('"unit": "fraction"', '"unit": "fraction", "colour": "red"', "colour"),
        ('"n": 500', '"n": 1' + "0" * 400, "2^64"),
    ],
)
def test_a_broken_record_says_what_is_broken(tmp_path: Path, old: str, new: str, reason: str) -> None:
    made = make(seed=5, **FEW)
    made.text = made.record.to_json().replace(old, new)
    assert made.text != made.record.to_json()
    made.publish(tmp_path)
    assert reason in refused(tmp_path).reason


def test_a_score_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    made = make(**FEW)
    made.changed(scores=[*made.record.scores, made.record.scores[0]]).publish(tmp_path)
    assert "twice" in refused(tmp_path).reason


def test_deep_parameters_are_refused(tmp_path: Path) -> None:
    made = make(**FEW)
    deep = "[" * 500 + "]" * 500
    made.text = made.record.to_json().replace('"params_passed": {}', f'"params_passed": {{"a": {deep}}}')
    made.publish(tmp_path)
    assert refused(tmp_path).reason


def test_evidence_counts_only_if_it_was_hashed(tmp_path: Path) -> None:
    path = make(**FEW).publish(tmp_path)
    other = evidence_files({"clean/clean/correct": np.ones(500, bool)}, [], {})["predictions.npz"]
    path.with_name(f"{path.stem}.predictions.npz").write_bytes(other)
    path.with_name(f"{path.stem}.log.jsonl").unlink()
    one = only(tmp_path)
    assert (one.predictions, one.log) == (None, None)
    assert one.notes == ("log.jsonl is not beside the record", "predictions.npz is not the file that the record hashed")
    [board] = rank(tmp_path).boards
    assert board.rows[0].cells["clean/clean"].basis == "score"
    assert any("not the file that the record hashed" in note for note in board.notes)


def test_evidence_that_is_no_arrays_is_said_to_be_none(tmp_path: Path) -> None:
    import hashlib

    made = make(**FEW)
    bad = b"no zip"
    hashes = made.record.hashes.model_copy(
        update={"evidence": {**made.record.hashes.evidence, "predictions.npz": hashlib.sha256(bad).hexdigest()}}
    )
    path = made.changed(hashes=hashes).publish(tmp_path)
    path.with_name(f"{path.stem}.predictions.npz").write_bytes(bad)
    one = only(tmp_path)
    assert one.predictions is None
    assert one.notes[0].startswith("predictions.npz holds no arrays")


def test_log_of_a_diverged_training_may_hold_nan(tmp_path: Path) -> None:
    made = make(**FEW, failed="condition clean: loss is nan at epoch 2")
    made.log[1]["loss"] = float("nan")
    path = made.publish(tmp_path)
    files = evidence_files(made.predictions, made.log, made.softmax)
    assert b"NaN" in files["log.jsonl"]
    record = json.loads(path.read_text())
    import hashlib

    record["hashes"]["evidence"]["log.jsonl"] = hashlib.sha256(files["log.jsonl"]).hexdigest()
    path.write_text(json.dumps(record))
    one = only(tmp_path)
    assert one.log is not None
    assert np.isnan(one.log[1]["loss"])


def test_one_run_in_two_places_counts_once(tmp_path: Path) -> None:
    made = make(**FEW)
    made.publish(tmp_path / "a")
    later = made.record.provenance.model_copy(update={"finished": "2027-01-01T00:00:00+00:00"})
    made.changed(provenance=later).keep(tmp_path / "b")
    found, [double] = read_records(tmp_path)
    assert len(found) == 1
    assert "the same run as" in double.reason


def test_two_contents_of_one_run_id_are_both_left_out(tmp_path: Path) -> None:
    make("good", **FEW).publish(tmp_path)
    made = make(**FEW)
    made.publish(tmp_path / "a")
    better = made.record.scores[0].model_copy(update={"value": 0.99, "ci_high": 0.999})
    made.changed(scores=[better]).publish(tmp_path / "b")
    found, excluded = read_records(tmp_path)
    assert [one.record.spec.method for one in found] == ["good"]
    reason = "2 files of this run id have different results with the same machine, threads and versions"
    assert [one.reason for one in excluded] == [reason] * 2
    [board] = rank(tmp_path).boards
    assert [row.method for row in board.rows] == ["good"]
    assert len(board.excluded) == 2


FIRST, LATER = "2026-01-02T03:04:05+00:00", "2026-02-02T03:04:05+00:00"


def with_threads(threads: int, shift: float = 0.0, finished: str = FIRST, **options: Any) -> Made:
    """One run, measured with so many threads; its first score moved by them."""
    made = make(**FEW, finished=finished, **options)
    moved = [score.model_copy(update={"value": score.value + shift}) for score in made.record.scores[:1]]
    facts = made.record.provenance.model_copy(update={"threads": threads})
    return made.changed(provenance=facts, scores=[*moved, *made.record.scores[1:]])


def test_one_run_with_one_thread_and_with_two_is_two_samples_of_which_the_first_counts(tmp_path: Path) -> None:
    """Both honest records were excluded, and the method was gone from the board."""
    with_threads(2, 0.004, LATER).publish(tmp_path / "b")
    with_threads(1).publish(tmp_path / "a")
    [one], excluded = read_records(tmp_path)
    assert excluded == ()
    assert one.record.provenance.threads == 1
    assert [other.record.provenance.threads for other in one.repeats] == [2]
    [board] = rank(tmp_path).boards
    [row] = board.rows
    assert [len(cell.per_seed) for cell in row.cells.values()] == [1] * len(row.cells)
    assert row.cells["clean/clean"].value == with_threads(1).record.scores[0].value
    remark = (
        f"run {one.record.run_id} with threads 2, not 1 has other scores, by up to 0.004 (clean/clean/accuracy); the "
        "run that finished first counts (seed 0)"
    )
    assert row.remarks == (remark,)
    assert f"ce: {remark}." in board.notes


def test_a_table_of_scores_has_all_samples_and_says_which_one_counts(tmp_path: Path) -> None:
    for threads, finished in ((1, FIRST), (2, LATER)):
        with_threads(threads, 0.004 * (threads - 1), finished).publish(tmp_path / str(threads))
    frame = load(tmp_path)
    first = frame[(frame.task == "clean") & (frame.metric == "accuracy")]
    assert list(first.excluded) == ["", "the same run on another machine counts"]
    assert first.value.iloc[1] - first.value.iloc[0] == pytest.approx(0.004)


def test_a_sample_that_diverged_elsewhere_is_said_and_does_not_count(tmp_path: Path) -> None:
    with_threads(2, failed="the loss became nan").publish(tmp_path / "a")
    with_threads(1, finished=LATER).publish(tmp_path / "b")
    [one], _ = read_records(tmp_path)
    assert one.record.status == "finished"
    assert one.remarks == (f"run {one.record.run_id} failed with threads 2, not 1; the run that finished first counts",)


def test_the_same_results_with_other_threads_are_a_copy(tmp_path: Path) -> None:
    with_threads(1).publish(tmp_path / "a")
    with_threads(2).publish(tmp_path / "b")
    [one], [copy] = read_records(tmp_path)
    assert (one.repeats, one.remarks) == ((), ())
    assert "the same run as" in copy.reason


def test_only_files_that_contradict_each_other_are_left_out(tmp_path: Path) -> None:
    for name, made in {"a": with_threads(2), "b": with_threads(2, 0.01), "c": with_threads(1, 0.02)}.items():
        made.publish(tmp_path / name)
    [one], excluded = read_records(tmp_path)
    assert one.record.provenance.threads == 1
    assert [file.path.parts[-4] for file in excluded] == ["a", "b"]


def test_threads_of_a_student_that_was_found_trained_make_another_sample(tmp_path: Path) -> None:
    """Measured with the same threads, trained with others."""
    for threads, name in ((1, "a"), (2, "b")):
        made = with_threads(2, 0.01 * threads)
        students = {
            condition: network.model_copy(update={"threads": [threads]})
            for condition, network in made.record.hashes.students.items()
        }
        made.changed(hashes=made.record.hashes.model_copy(update={"students": students})).publish(tmp_path / name)
    [one], excluded = read_records(tmp_path)
    assert (len(one.repeats), excluded) == (1, ())
    assert "with threads of training 2, not 1 has other scores" in one.remarks[0]


def test_a_single_file_is_read_alone(tmp_path: Path) -> None:
    path = make(**FEW).publish(tmp_path)
    assert isinstance(read_evidence(path), Evidence)
    assert isinstance(read_evidence(tmp_path / "nothing.json"), Excluded)
