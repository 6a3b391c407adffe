"""Records on a part of a data set, or on other images under its name, are neither valid nor ranked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.leaderboard import export, rules
from kdbench.leaderboard.validate import validate
from kdbench.plugin.loader import load_plugins
from tests.leaderboard.evidence import Made, digest, make
from tests.leaderboard.ranked import FEW, board, boards, other_suite

CIFAR10 = "10a2c48dd4dacd84a43bb1e2e9288e98c18c1fb768cedf131fbbf2fa7dfaec4e"
OOD = "87d445549ea6458cd7f25f366cd82d97a8d35ac539d65597448bad243b1fa77a"
"""As all published records have them, which were made from class folders of the official images."""


def on(method: str, cifar10: str = CIFAR10, **others: str) -> Made:
    suite = other_suite(name="pictures", dataset="cifar10", ood=("ood-imagenet",))
    named = {name.replace("_", "-"): sha256 for name, sha256 in others.items()}
    return make(method, suite=suite, tasks=FEW, datasets={"cifar10": cifar10, **named})


def test_two_records_on_a_part_do_not_push_a_genuine_one_off_the_board(tmp_path: Path) -> None:
    """The figure of the report: 120 training and 60 test images, twice, against one record on all of them."""
    part = digest("120 training and 60 test images")
    found = board(tmp_path, on("genuine"), on("part-1", part), on("part-2", part))
    assert [row.method for row in found.rows] == ["genuine"]
    reason = "incomplete or other images of data set cifar10: not those that have this name"
    assert {one.method: one.reason for one in found.excluded} == {"part-1": reason, "part-2": reason}


def test_an_outer_set_counts_too(tmp_path: Path) -> None:
    found = board(
        tmp_path, on("genuine", ood_imagenet=OOD), *(on(f"other-{i}", ood_imagenet=digest("x")) for i in range(2))
    )
    assert [row.method for row in found.rows] == ["genuine"]
    assert "data set ood-imagenet" in found.excluded[0].reason


def test_records_on_a_part_alone_make_no_board(tmp_path: Path) -> None:
    found = boards(tmp_path, *(on(f"part-{i}", digest("part")) for i in range(2)))
    assert found.boards == ()
    assert sorted(one.method for one in found.excluded) == ["part-0", "part-1"]


def test_the_table_of_all_scores_says_that_it_is_excluded(tmp_path: Path) -> None:
    for made in (on("genuine"), on("part", digest("part"))):
        made.publish(tmp_path)
    table = export.load(tmp_path)
    assert set(table[table.method == "genuine"].excluded) == {""}
    assert table[table.method == "part"].excluded.str.startswith("incomplete or other images").all()


@pytest.mark.parametrize(
    ("datasets", "wrong"),
    [
        ({"cifar10": CIFAR10, "ood_imagenet": OOD}, set()),
        ({"cifar10": digest("part")}, {"spec.datasets.cifar10"}),
        ({"cifar10": CIFAR10, "ood_imagenet": digest("x")}, {"spec.datasets.ood-imagenet"}),
        ({"cifar10": CIFAR10, "my_photographs": digest("x")}, set()),
    ],
)
def test_a_record_on_other_images_is_not_valid(datasets: dict[str, str], wrong: set[str]) -> None:
    made = on("a", **datasets)
    case = rules.Case(made.record, load_plugins(), None, None)
    found = {".".join(map(str, where)): text for where, text, level in rules.hashes(case) if level == "error"}
    assert {place for place in found if place.startswith("spec.datasets")} == wrong
    assert all("incomplete or other images and labels: found " in found[place] for place in wrong)


def test_the_published_records_are_on_genuine_data() -> None:
    folder = Path(__file__).parents[2] / "leaderboards" / "records"
    path = next(folder.glob("cifar10-lite/ce/*.json"))
    assert not [problem for problem in validate(path) if problem.field.startswith("spec.datasets")]
