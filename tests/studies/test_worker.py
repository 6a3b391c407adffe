from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.studies.process import UNREADY
from kdbench.studies.sweep import Standing
from kdbench.studies.worker import UnreadyError, main, work
from tests.studies.test_sweep import planned


def test_a_node_whose_needs_are_not_done_does_nothing_and_stays_open(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["kd"], seeds=[0, 1])
    teacher, kd = plan.nodes[0], plan.nodes[1]
    with pytest.raises(UnreadyError, match=r"kd seed 0 needs teacher .clean., which is open"):
        work(folder, kd.key)
    folder.failed(teacher.key, "the disk is full", "2026-01-01T00:00:00+00:00")
    assert main([str(folder.out), "s", kd.key, "", "cpu", "1"]) == UNREADY
    assert capsys.readouterr().err == "nothing done: kd seed 0 needs teacher (clean), which is failed\n"
    assert Standing.read(folder).blocked()[kd.key] == teacher.key


def test_a_node_that_is_done_is_left_as_it_is(small: Path, tmp_path: Path) -> None:
    folder, plan = planned(small, tmp_path / "runs", methods=["ce"])
    [node] = plan.nodes
    assert work(folder, node.key) == ""
    record = (folder.out / node.path).stat()
    assert work(folder, node.key) == ""
    assert (folder.out / node.path).stat() == record
