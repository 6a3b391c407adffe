from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard.diff import Change, RowState, _beyond, diff
from kdbench.leaderboard.index import INDEX_VERSION, write_index
from tests.leaderboard.evidence import make


def keys(changes: list[Change], kind: str) -> set[tuple[str, ...]]:
    return {(change.what, *filter(None, change.key)) for change in changes if change.kind == kind}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        for method, skill in (("ce", 1.0), ("kd", 0.2)):
            for seed in range(3):
                make(method, seed=seed, skill=skill).publish(folder)
    return old, new


def test_equal_folders_and_their_index_do_not_differ(folders: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = folders
    assert diff(old, new) == []
    write_index(old, tmp_path / "index.json")
    assert diff(tmp_path / "index.json", new) == []
    assert diff(new, tmp_path / "index.json") == []


def test_rows_and_cells_that_come_and_go(folders: tuple[Path, Path]) -> None:
    old, new = folders
    make("nrd", skill=1.5).publish(new)
    make("gce", conditions=["clean"]).publish(old)
    make("gce", tasks=["clean"], conditions=["clean"]).publish(new)
    changes = diff(old, new)
    assert ("row", "digits", "nrd") in keys(changes, "added")
    assert ("cell", "digits", "gce", "clean/pgd") in keys(changes, "removed")
    back = diff(new, old)
    assert ("row", "digits", "nrd") in keys(back, "removed")
    assert ("cell", "digits", "gce", "clean/pgd") in keys(back, "added")


def test_another_value_is_reported_with_whether_intervals_allow_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    make("ce", skill=1.0).publish(old)
    make("kd", skill=1.0).publish(old)
    make("ce", skill=1.02).publish(new)
    make("kd", skill=2.0).publish(new)
    changes = diff(old, new)
    assert ("cell", "digits", "kd", "clean/clean") in keys(changes, "changed")
    assert ("cell", "digits", "ce", "clean/clean") in keys(changes, "moved")
    [kd] = [change for change in changes if change.key == ("digits", "kd", "clean/clean")]
    assert isinstance(kd.old, RowState)
    assert isinstance(kd.new, RowState)
    assert str(kd).startswith(f"! cell digits kd clean/clean {kd.old.value:.4f} (")


def test_lost_seeds_and_places_are_reported(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """ce keeps one of three seeds and its place with them; kd moves up by that."""
    old, new = folders
    for path in (new / "digits/ce").glob("*.json"):
        if json.loads(path.read_text())["spec"]["seed"] > 0:
            path.unlink()
    write_index(old, tmp_path / "index.json")
    for before in (old, tmp_path / "index.json"):
        rows = {change.key[1]: change for change in diff(before, new) if change.what == "row"}
        assert {key: change.kind for key, change in rows.items()} == {"ce": "changed", "kd": "moved"}
        assert str(rows["ce"]).startswith("! row digits ce seeds 0, 1, 2 -> 0, place 1 -> none, mean rank ")
        assert str(rows["ce"]).endswith(" -> none")
        assert str(rows["kd"]).startswith("~ row digits kd place 2 -> 1, mean rank ")
    back = {change.key[1]: str(change) for change in diff(new, old) if change.what == "row"}
    assert back["ce"].startswith("! row digits ce seeds 0 -> 0, 1, 2, place none -> 1, mean rank none -> ")


def test_a_last_rank_that_moved_is_reported(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_index(folders[0], tmp_path / "index.json")
    index = json.loads((tmp_path / "index.json").read_text())
    cell = index["boards"][0]["rows"][0]["cells"]["clean/clean"]
    assert (cell["rank"], cell["last_rank"]) == (1, 1)
    cell["last_rank"] = 2
    (tmp_path / "index.json").write_text(json.dumps(index))
    [change] = diff(tmp_path / "index.json", folders[0])
    assert (change.what, change.kind, change.key[2]) == ("cell", "moved", "clean/clean")
    assert ", rank 1-2) -> " in str(change)
    assert str(change).endswith(", rank 1)")


def test_an_index_of_the_first_version_is_read_and_one_of_a_later_version_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "index.json"
    write_index(folders[0], path)
    first = json.loads(path.read_text())
    first["index_version"], first["apart"] = 1, first.pop("excluded")
    for board in first["boards"]:
        board["apart"] = board.pop("excluded")
    path.write_text(json.dumps(first))
    assert diff(path, folders[0]) == []
    path.write_text(json.dumps({**first, "index_version": INDEX_VERSION + 1}))
    with pytest.raises(KdbenchError, match="is an index of version 3, read are those up to 2"):
        diff(path, folders[0])


def test_beyond_is_the_interval_of_a_difference() -> None:
    """Sides of .03 and .04 that face each other allow .05."""
    low, high = RowState(0.50, 0.4, 0.53), RowState(0.55, 0.51, 0.7)
    assert not _beyond(low, RowState(0.5499, 0.5099, 0.7))
    assert _beyond(low, RowState(0.5501, 0.5101, 0.7))
    assert _beyond(high, low) == _beyond(low, high)


def test_two_records_are_compared_score_by_score(tmp_path: Path) -> None:
    first, second = make("ce", skill=1.0).keep(tmp_path), make("kd", skill=2.0, conditions=["clean"]).keep(tmp_path)
    changes = diff(first, second)
    assert ("cell", "clean clean/accuracy") in keys(changes, "changed")
    assert ("cell", "sym-40 noisy_label/accuracy") in keys(changes, "removed")
    assert diff(first, first) == []


def test_what_cannot_be_compared_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    record = make("ce").keep(tmp_path / "runs")
    with pytest.raises(KdbenchError, match="a record and a leaderboard have nothing in common"):
        diff(folders[0], record)
    for content, message in (("{", "is not JSON"), ('{"boards": [{}]}', "is no index"), ("{}", "record")):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(KdbenchError, match=message):
            diff(tmp_path / "other.json", folders[0])
    (tmp_path / "empty").mkdir()
    with pytest.raises(KdbenchError, match="holds a ranked record"):
        diff(tmp_path / "empty", tmp_path / "empty")
    changes = diff(tmp_path / "empty", folders[0])
    assert keys(changes, "added") == {("board", "digits")}
    assert json.dumps([change.to_dict() for change in changes])
