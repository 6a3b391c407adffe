"""Records whose answers are nearly those of another training are suspected; trainings of their own are not."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kdbench.leaderboard.genuine import split_genuine
from kdbench.leaderboard.near_copies import LEAST, NEAR, near_copies
from kdbench.leaderboard.validate import copied
from kdbench.results.evidence import Evidence
from tests.leaderboard.evidence import Made, evidence_files, make

N = 1000
NAME = "clean/clean/correct"


def answering(made: Made, right: NDArray[Any]) -> Made:
    """A record with these answers alone, and the hash of them."""
    predictions = {NAME: right}
    content = evidence_files(predictions, made.log, made.softmax)["predictions.npz"]
    evidence = {**made.record.hashes.evidence, "predictions.npz": hashlib.sha256(content).hexdigest()}
    hashes = made.record.hashes.model_copy(update={"evidence": evidence})
    record = made.record.model_copy(update={"hashes": hashes})
    return dataclasses.replace(made, record=record, predictions=predictions)


def evidence(method: str, seed: int, right: NDArray[Any], name: str = NAME) -> Evidence:
    return Evidence(make(method, seed=seed).record, Path(f"{method}-{seed}.json"), None, {name: right})


def answers(wrong: int, first: int = 0) -> NDArray[Any]:
    """So many wrong ones, from there on."""
    right = np.ones(N, dtype=bool)
    right[first : first + wrong] = False
    return right


def test_few_examples_are_counted_exactly() -> None:
    ours = evidence("ce", 0, answers(200))
    theirs = evidence("kd", 1, answers(200, first=5))  # 205 either, 10 one alone: 4.9 %
    [first, second] = near_copies([ours, theirs])
    assert (first.run, first.other, first.apart, first.wrong) == (ours, theirs, 10, 205)
    assert (second.run, second.other) == (theirs, ours)
    assert "of 205 that either is wrong on, 10 are of one alone" in str(first)
    further = evidence("kd", 1, answers(200, first=6))  # 12 of 206: 5.8 %
    assert near_copies([ours, further]) == [] and NEAR == 0.05


@pytest.mark.parametrize("case", ["of one learner", "too few", "under attack", "other images", "another suite"])
def test_what_may_be_alike_is_not_suspected(case: str) -> None:
    ours, theirs = evidence("ce", 0, answers(200)), evidence("kd", 1, answers(200))
    assert near_copies([ours, theirs])
    if case == "of one learner":
        theirs = evidence("ce", 0, answers(200))
    elif case == "too few":
        ours, theirs = evidence("ce", 0, answers(LEAST - 1)), evidence("kd", 1, answers(LEAST - 1))
    elif case == "under attack":  # nobody is right
        ours, theirs = evidence("ce", 0, answers(N - 1)), evidence("kd", 1, answers(N - 1))
    elif case == "other images":
        kept = {NAME: answers(200), "clean/clean/index": np.arange(1, N + 1)}
        theirs = dataclasses.replace(theirs, predictions=kept)
    else:
        suite = theirs.record.spec.suite.model_copy(update={"name": "other"})
        spec = theirs.record.spec.model_copy(update={"suite": suite})
        theirs = dataclasses.replace(theirs, record=theirs.record.model_copy(update={"spec": spec}))
    assert near_copies([ours, theirs]) == []


def test_trainings_of_their_own_are_not_suspected(tmp_path: Path) -> None:
    made = [make(method, seed=seed) for method in ("ce", "kd") for seed in range(3)]
    assert near_copies([Evidence(one.record, tmp_path, None, one.predictions) for one in made]) == []


def test_a_record_that_was_touched_up_is_a_warning_of_validation(tmp_path: Path) -> None:
    honest = make("ce", skill=0.2)
    right = honest.predictions[NAME]
    assert (~right).sum() >= LEAST
    changed = right.copy()
    changed[np.flatnonzero(~right)[:3]] = True
    path = honest.publish(tmp_path)
    copy = answering(make("mine", seed=4, skill=0.2), changed)
    [problem] = copied([copy.publish(tmp_path)])
    assert problem.severity == "warning" and "suspected copy: under clean" in problem.message
    assert honest.record.run_id in problem.message
    [other] = copied([path])
    assert copy.record.run_id in other.message


def test_a_board_keeps_it_with_a_remark() -> None:
    runs = [evidence("ce", 0, answers(200)), evidence("kd", 1, answers(200, first=1))]
    runs = [
        dataclasses.replace(run, record=run.record.model_copy(
            update={"spec": run.record.spec.model_copy(update={"datasets": {}})}
        ))
        for run in runs
    ]  # fmt: skip
    kept, excluded = split_genuine(runs)
    assert excluded == [] and all("suspected copy" in run.remarks[-1] for run in kept)
