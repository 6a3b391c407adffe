"""A run that measures a task which its suite does not plan: its data, its record, its place on a board."""

from __future__ import annotations

from pathlib import Path

import pytest

import kdbench
from kdbench.leaderboard.ranking import rank
from kdbench.leaderboard.validate import validate
from kdbench.leaderboard.verify import verify
from kdbench.results.record import Record
from kdbench.running.options import RunOptions
from kdbench.running.runner import record_path
from tests.conftest import TINY_SUITE

TASKS = ["clean", "ood_detection"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("detection")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE.replace("epochs = 3", "epochs = 1").replace('["digits-fonts"]', "[]"))
    out = folder / "runs"
    record = kdbench.run(str(suite), "ce", conditions=["clean"], tasks=TASKS, out=out, device="cpu", download=False)
    return record_path(record, out), record


def test_the_record_names_the_data_and_the_scores(ran: tuple[Path, Record]) -> None:
    path, record = ran
    assert record.spec.datasets.keys() == record.hashes.datasets.keys() == {"digits", "digits-fonts"}
    areas = record.select("ood_detection", "auroc")
    assert [score.setting["score"] for score in areas] == ["max_softmax", "max_logit", "energy"]
    assert all(score.n == 500 + 1000 for score in areas)
    assert [problem for problem in validate(path) if problem.severity == "error"] == []


@pytest.mark.parametrize("examples", [None, 200])
def test_it_is_verified_from_the_checkpoint(ran: tuple[Path, Record], examples: int | None) -> None:
    path, _ = ran
    options = RunOptions.make(out=path.parents[3], device="cpu")
    checkpoint = path.with_name("checkpoint-clean.safetensors")
    found = verify(path, checkpoint, tasks=["ood_detection"], examples=examples, sample_seed=3, options=options)
    measured = [agreement for agreement in found.agreements if agreement.verdict != "unchecked"]
    assert {agreement.score.task for agreement in measured} == {"ood_detection"}
    assert len(measured) == 6
    assert found.holds()
    if examples is None:
        assert {agreement.verdict for agreement in measured} == {"same"}
    else:
        assert {agreement.n for agreement in measured} == {400}


def test_it_is_a_column_and_counts_for_no_mean_rank(ran: tuple[Path, Record]) -> None:
    path, _ = ran
    [board] = rank(path.parents[3]).boards
    assert "clean/ood_detection" in {axis.key for axis in board.axes}
    assert "Not planned by the suite, and no part of the mean rank: OOD AUROC." in board.notes
    [row] = board.rows
    assert row.cells["clean/ood_detection"].value == ran[1].select("ood_detection", "auroc")[0].value
