from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdbench.running.existing import Existing, covers
from kdbench.sealed import Sealed
from tests.leaderboard.evidence import make


def spec(**rest: Any) -> Any:
    return make("kd", conditions=rest.pop("conditions", ["clean"]), **rest).record.spec


def test_a_run_covers_one_that_asks_for_less() -> None:
    planned = spec(tasks=["clean"])
    assert covers(planned, planned)
    assert covers(spec(tasks=["clean", "pgd"]), planned)
    assert covers(spec(tasks=["clean", "noisy_label"], conditions=["clean", "sym-40"]), planned)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1}, {"params": {"alpha": 0.5}}, {"source": "f" * 64}, {"tasks": ["pgd"]}, {"conditions": ["sym-40"]},
        {"versions": {"clean": 99}}, {"datasets": {"digits": "0" * 64}},
    ],
)  # fmt: skip
def test_a_run_of_anything_else_does_not(other: dict[str, Any]) -> None:
    assert not covers(spec(**{"tasks": ["clean"], **other}), spec(tasks=["clean"]))


def test_finished_runs_of_a_folder_stand_in_for_planned_ones(tmp_path: Path) -> None:
    make("kd", conditions=["clean"]).keep(tmp_path)
    make("kd", conditions=["clean"], seed=1, failed="it diverged").keep(tmp_path)
    found = Existing(tmp_path, ["digits", "cifar10"])
    there = found.find(spec(tasks=["clean"]))
    assert there is not None and there.record.spec.seed == 0
    assert found.find(spec(tasks=["clean"], seed=1)) is None


def test_a_damaged_run_does_not_stand_in(tmp_path: Path) -> None:
    """It is to be made again, as where the same run is asked for by itself."""
    folder = make("kd", conditions=["clean"]).keep(tmp_path).parent
    files = Sealed(folder)
    files.write({path.name: path.read_bytes() for path in folder.iterdir()})
    assert Existing(tmp_path, ["digits"]).find(spec(tasks=["clean"])) is not None
    predictions = folder / "predictions.npz"
    predictions.write_bytes(predictions.read_bytes()[:-1] + b"?")
    assert Existing(tmp_path, ["digits"]).find(spec(tasks=["clean"])) is None
