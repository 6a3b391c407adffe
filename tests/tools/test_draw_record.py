"""The draw of a record whose networks are committed, and what measuring them again finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdbench.leaderboard.verify import verify
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import checkpoint_beside
from kdbench.results.record import read_record
from kdbench.running.options import RunOptions
from tools.draw_record import LEADERBOARDS, draw, with_networks

COMMITTED = Path(__file__).parents[2] / LEADERBOARDS


def test_every_record_with_a_network_beside_it_is_drawn_and_no_other(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no record under"):
        draw(tmp_path, "0")
    made = {tmp_path / f"{folder}/{number:016x}.json" for number, folder in enumerate(["records/a", "coming/b/c", "d"])}
    for record in made | {tmp_path / "records/a/ffffffffffffffff.json"}:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.touch()
    for record in made:
        record.with_suffix(".checkpoint-clean.safetensors").touch()
        record.with_suffix(".checkpoint-sym-40.safetensors").touch()
    drawn = [draw(tmp_path, str(seed)) for seed in range(30)]
    assert set(drawn) == made
    assert drawn == [draw(tmp_path, str(seed)) for seed in range(30)], "a seed says which"


def test_a_drawn_record_is_what_its_networks_score(tmp_path: Path) -> None:
    if not os.environ.get("KDBENCH_DATA_DIR"):
        pytest.skip("KDBENCH_DATA_DIR is not set: no real images")
    options = RunOptions.make(out=tmp_path, device="cpu", download=False)
    path = draw(COMMITTED, "0")
    record = read_record(path)
    for name in record.hashes.datasets:
        if not load_plugins().datasets.get(name).available(options.place):
            pytest.skip(f"no {name} in KDBENCH_DATA_DIR")
    found = verify(path, examples=100, sample_seed=0, options=options)
    assert found.holds(partly=True), (found.refuted, found.findings)
    assert found.conditions == tuple(name for name in record.checkpoints if checkpoint_beside(path, name).is_file())
    assert {one.score.condition for one in found.agreements if one.verdict != "unchecked"} == set(found.conditions)


def test_committed_networks_lie_beside_records() -> None:
    assert all(path.is_file() for path in with_networks(COMMITTED))
