"""Models that were not trained here, on a board of methods that were."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.leaderboard import rank
from kdbench.leaderboard.site import build
from kdbench.leaderboard.submit import reproduce
from kdbench.results.record import EvaluatedModel, Record
from tests.leaderboard.evidence import Made, digest, make
from tests.leaderboard.ranked import board

MODEL = EvaluatedModel(
    source="torchvision:resnet18", sha256=digest("resnet"), preprocessing={"pixels": "RGB in [0, 1]", "size": [32, 32]}
)


def evaluated(model: EvaluatedModel = MODEL, *, skill: float = 5.0, examples: int | None = None) -> Made:
    """A made-up model that is better than all."""
    made = make(model.label, source=model.digest, skill=skill, conditions=["clean"])
    spec = made.record.spec.model_copy(update={"recipes": {}, "trainings": {}, "examples": examples})
    nothing: dict[str, dict[str, str]] = {"students": {}, "networks": {}, "label_noise": {}}
    evidence = {name: one for name, one in made.record.hashes.evidence.items() if name == "predictions.npz"}
    hashes = made.record.hashes.model_copy(update={**nothing, "evidence": evidence})
    return made.changed(spec=spec, hashes=hashes, evaluated=model)


@pytest.fixture(scope="module")
def trained() -> list[Made]:
    return [make(name, seed=seed, skill=skill) for name, skill in (("a", 3), ("ce", 0)) for seed in range(3)]


def test_it_has_a_row_and_changes_nobody_elses(trained: list[Made], tmp_path: Path) -> None:
    alone = board(tmp_path / "alone", *trained)
    both = board(tmp_path / "both", *trained, evaluated())
    for before, after in zip(alone.rows, both.rows, strict=False):
        assert (before.method, before.mean_rank) == (after.method, after.mean_rank)
        for axis, cell in before.cells.items():
            ours = after.cells[axis]
            assert (cell.rank, cell.last_rank, cell.mark) == (ours.rank, ours.last_rank, ours.mark)
    [row] = both.rows[len(alone.rows) :]
    assert row.evaluated == MODEL
    assert (row.mean_rank, row.unranked) == (None, "evaluated, not trained here")
    assert (row.family, row.paper, row.summary) == ("", "", "")
    assert row.cells["clean/clean"].value > both.rows[0].cells["clean/clean"].value
    assert {cell.rank for cell in row.cells.values()} == {len(both.rows)}, "after all others"
    assert any("Evaluated, not trained here, so that they have no mean rank" in note for note in both.notes)
    assert not any("one seed only" in note for note in both.notes)


def test_a_model_in_a_file_named_like_a_method_is_not_that_method(trained: list[Made], tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"source": "ce"})
    found = board(tmp_path, *trained, evaluated(model))
    assert [row.method for row in found.rows] == ["a", "ce", model.label]
    assert [len(row.runs) for row in found.rows] == [3, 3, 1]


def test_two_models_of_one_name_are_two_rows(tmp_path: Path) -> None:
    other = MODEL.model_copy(update={"sha256": digest("another")})
    found = board(tmp_path, evaluated(), evaluated(other, skill=1.0))
    assert {row.evaluated.sha256 for row in found.rows if row.evaluated} == {MODEL.sha256, other.sha256}


def test_pages_say_it(trained: list[Made], tmp_path: Path) -> None:
    for made in (*trained, evaluated()):
        made.publish(tmp_path / "records")
    files = build(rank(tmp_path / "records"), tmp_path / "site")
    page = next(path for path in files if MODEL.label.lower().replace(".", "-") in path.name)
    text = (tmp_path / "site" / page).read_text()
    assert "evaluated, not trained here: <bdi>torchvision:resnet18</bdi>" in text
    assert "kdbench evaluate torchvision:resnet18 --suite digits --condition clean" in text
    assert "How the students are trained" not in text
    assert "log.jsonl" not in text, "it cannot have one"


def test_the_command_says_what_was_evaluated() -> None:
    full = MODEL.model_copy(
        update={"source": "my net.pt", "architecture": "wrn-16-2", "weights": "ema", "params": {"evaluate": "peer"}}
    )
    record: Record = evaluated(full, examples=100).record
    command = reproduce(record)
    assert command.startswith("kdbench evaluate 'my net.pt' --model wrn-16-2 --weights ema --set evaluate=peer")
    assert command.endswith("--examples 100")
