"""SIGKILL before each write of a run, of a fresh run beside a finished one, and of a run that goes on after a kill."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from tests.faults.conftest import MOST, Do, Row, findings, same, share


def damaged(out: Path) -> list[str]:
    return [f"{one.path} {one.what}" for one in findings(out) if one.state == "damaged"]


def test_a_run_that_is_killed_anywhere_goes_on_to_the_same_bits(
    do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    places = range(1, whole["writes"] + 1)
    for at in share(places, 10):
        out = tmp_path / str(at)
        assert do(out, at=at)["killed"]
        assert damaged(out) == [], at
        found = do(out)
        row(
            "killed before a write of a run", "it goes on",
            lost=found.get("status") != "finished" or "damaged" in found["words"], changed=not same(found, whole),
        )  # fmt: skip
        assert same(found, whole), (at, found)
        assert "damaged" not in found["words"] and damaged(out) == [], at
        shutil.rmtree(out)


def test_a_fresh_run_that_is_killed_anywhere_leaves_the_finished_one_readable(
    do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    whole_again = do(shutil.copytree(whole["out"], tmp_path / "count"), fresh=True)["writes"]
    for at in share(range(1, whole_again + 1), 4):
        out = shutil.copytree(whole["out"], tmp_path / str(at))
        assert do(out, at=at, fresh=True)["killed"]
        record = next((out / "small/ce").glob("*/record.json"), None)
        training = next((out / "small/trainings").glob("*/checkpoint.safetensors"), None)
        found = do(out, fresh=True)
        lost = record is None or training is None or bool(damaged(out)) or found.get("status") != "finished"
        row(
            "killed before a write of a `--fresh` run", "the finished run stays until the new one is whole",
            lost=lost, changed=not same(found, whole),
        )  # fmt: skip
        assert not lost and same(found, whole), (at, found)
        assert not [*out.rglob("again"), *out.rglob("swap"), *out.rglob("*.tmp")], at
        shutil.rmtree(out)


def test_a_run_that_is_killed_again_and_again_goes_on_to_the_same_bits(
    do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    draws = random.Random(0)
    for number in range(max(1, min(20, MOST // 10))):
        out, found = tmp_path / str(number), dict[str, Any]()
        for _ in range(100):
            found = do(out, at=draws.randrange(3, 60))
            if not found["killed"]:
                break
        found = do(out)
        row(
            "killed again and again until it was finished", "it goes on",
            lost=found.get("status") != "finished", changed=not same(found, whole),
        )  # fmt: skip
        assert same(found, whole), found
        assert damaged(out) == []


def test_runs_of_one_specification_beside_each_other_all_end_well(
    do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    """Two of them are told to run afresh."""
    for number in range(max(1, min(9, MOST // 3))):
        out = shutil.copytree(whole["out"], tmp_path / str(number))
        found = do(out, fresh=True, beside=[{"fresh": True}, {"fresh": False}])
        for one in (found, *found["beside"]):
            row(
                "two `--fresh` runs and another of the same specification at once", "one after the other",
                lost=one.get("status") != "finished", changed=not same(one, whole),
            )  # fmt: skip
            assert same(one, whole), one
        assert damaged(out) == []
