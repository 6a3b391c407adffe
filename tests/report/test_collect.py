from __future__ import annotations

from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.report.collect import collect, conditions_of
from kdbench.report.runs import Run
from tests.leaderboard.evidence import make
from tests.report.reading import opened


def test_each_run_is_asked_for_its_own_conditions(tmp_path: Path) -> None:
    both, noisy = opened(tmp_path, make("ce"), make("kd", conditions=["sym-40"]))
    asked = []

    def get(run: Run, condition: str) -> str:
        asked.append((run.label, condition))
        if (run.label, condition) == ("ce", "clean"):
            raise KdbenchError("ce lost its clean student")
        return f"{run.label} {condition}"

    found, reasons = collect([both, noisy], get)
    assert conditions_of([noisy, both]) == ["sym-40", "clean"]
    assert asked == [("ce", "clean"), ("ce", "sym-40"), ("kd", "sym-40")]
    assert found == {"sym-40": {both: "ce sym-40", noisy: "kd sym-40"}}
    assert reasons == ["ce lost its clean student"]
    assert collect([both, noisy], get, ["clean"]) == ({}, ["ce lost its clean student"])
