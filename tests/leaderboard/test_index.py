from __future__ import annotations

import json
from pathlib import Path

from kdbench.leaderboard import rank, write_index
from kdbench.leaderboard.index import index_text
from tests.leaderboard.evidence import make

LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"


def test_the_committed_index_is_what_the_records_say() -> None:
    records = LEADERBOARDS / "records"
    assert index_text(rank(records), records) == (LEADERBOARDS / "index.json").read_text()


def test_an_index_says_what_is_ranked_and_what_is_not(tmp_path: Path) -> None:
    records = tmp_path / "records"
    for seed in range(2):
        make("a", seed=seed, params={"alpha": 2}, flagged=True).publish(records)
    make("b", tasks=["pgd"], versions={"pgd": 1}).publish(records)
    (records / "other.json").write_text("{}")
    write_index(records, tmp_path / "index.json")
    index = json.loads((tmp_path / "index.json").read_text())
    [board] = index["boards"]
    [row] = board["rows"]
    assert (board["suite"], row["method"], row["params"], len(row["runs"])) == ("digits", "a", {"alpha": 2}, 2)
    cell = row["cells"]["clean/pgd"]
    assert cell["seeds"] == [0, 1]
    assert cell["ci_low"] <= cell["value"] <= cell["ci_high"]
    assert cell["flags"]
    assert {axis["key"] for axis in board["axes"]} == set(row["cells"])
    assert [one["method"] for one in board["excluded"]] == ["b"]
    assert [one["path"] for one in index["excluded"]] == ["other.json"]


def test_an_index_says_what_each_rows_students_saw(tmp_path: Path) -> None:
    records = tmp_path / "records"
    make("a", views={"clean": "strong", "sym-40": "strong"}).publish(records)
    make("b").publish(records)
    write_index(records, tmp_path / "index.json")
    [board] = json.loads((tmp_path / "index.json").read_text())["boards"]
    found = {row["method"]: row["views"] for row in board["rows"]}
    assert found == {"a": {"clean": "strong", "sym-40": "strong"}, "b": {}}


def test_it_does_not_depend_on_where_the_records_lie(tmp_path: Path) -> None:
    texts = []
    for place in ("here", "there/deep"):
        make("a").publish(tmp_path / place)
        (tmp_path / place / "x.json").write_text("{}")
        texts.append(index_text(rank(tmp_path / place), tmp_path / place))
    assert texts[0] == texts[1]


def test_no_records_are_an_empty_index(tmp_path: Path) -> None:
    write_index(tmp_path, tmp_path / "index.json")
    assert json.loads((tmp_path / "index.json").read_text())["boards"] == []
