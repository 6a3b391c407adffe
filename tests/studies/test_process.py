from __future__ import annotations

from pathlib import Path

from kdbench.studies.folder import StudyFolder
from kdbench.studies.process import DEATHS, Ends


def test_a_worker_that_dies_is_started_again_until_its_node_has_failed(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    ends = Ends(folder)
    assert [ends.error("x", -9) for _ in range(DEATHS - 1)] == [None] * (DEATHS - 1)
    assert folder.failure("x") is None
    error = ends.error("x", -9)
    assert error is not None and "died 3 times, last of signal 9" in error
    assert folder.failure("x") == error
    assert ends.error("y", 2) is None


def test_a_worker_that_ends_by_itself_is_believed(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    folder.failed("x", "the disk is full", "2026-01-01T00:00:00+00:00")
    ends = Ends(folder)
    assert ends.error("x", 1) == "the disk is full"
    assert "its worker failed" in str(ends.error("y", 1))
    assert ends.error("z", 0) == ""
