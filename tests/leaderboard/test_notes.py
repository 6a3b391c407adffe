"""What a board says of itself, note by note."""

from __future__ import annotations

from pathlib import Path

from tests.leaderboard.evidence import Made, digits, make
from tests.leaderboard.ranked import FEW, board, other_suite

ORDER = "The order is by mean rank, whose differences are not tested."
NETWORKS = "The suite's own networks are trained once and shared by all runs: no interval is over other ones."
NOISE = "Noisy labels are drawn once for all methods and seeds: no interval is over other draws."


def notes(folder: Path, *made: Made) -> list[str]:
    return list(board(folder, *made).notes)


def test_a_board_without_doubts_has_the_notes_of_its_suite(tmp_path: Path) -> None:
    made = [make(name, seed=seed, skill=skill) for name, skill in (("a", 3), ("b", -1)) for seed in range(3)]
    found = notes(tmp_path, *made)
    assert found == [ORDER, NETWORKS, NOISE, "Out of distribution: digits-fonts.", "Corrupted images: generated."]


def test_what_a_suite_has_not_is_not_noted(tmp_path: Path) -> None:
    plain = {"networks": {}, "ood": (), "conditions": {"clean": digits().conditions["clean"]}, "name": "plain"}
    made = [
        make("a", seed=seed, suite=other_suite(**plain), tasks=["clean"], conditions=["clean"]) for seed in range(3)
    ]
    assert notes(tmp_path, *made) == [
        ORDER,
        "This suite is not installed here as these records have it: they say themselves what it is.",
        "Corrupted images: generated.",
    ]


def test_methods_with_one_seed_are_counted(tmp_path: Path) -> None:
    alone = (
        "the interval is over test examples alone and says nothing of what another seed would give, so that no test "
        "compares it and its ranks stay open."
    )
    some = notes(tmp_path / "x", make("a"), *(make("b", seed=seed) for seed in range(2)), make("c", failed="x"))
    assert f"1 of 2 methods have one seed only: {alone}" in some, "c has no finished run"
    assert "A mean rank needs 3 seeds." in some
    assert f"Every method has one seed only: {alone}" in notes(tmp_path / "y", make("a"), make("b"))


def test_a_run_without_any_ood_set_is_noted(tmp_path: Path) -> None:
    only = {"digits": make().record.spec.datasets["digits"]}
    assert "Out of distribution: no set was available." in notes(tmp_path, make("a", tasks=FEW, datasets=only))


def test_an_axis_that_decides_nothing_is_named(tmp_path: Path) -> None:
    made = [make(name, seed=seed, skill=0, tasks=FEW) for name in "ab" for seed in range(2)]
    found = notes(tmp_path / "two", *made, *(make("c", seed=seed, tasks=["clean"]) for seed in range(2)))
    assert "PGD-20 ε .031: no two methods differ significantly, so that its first place says nothing." in found
    assert not any(note.startswith("clean:") for note in found)
    assert not any(note.startswith("mCA:") for note in found), "nobody measured it"
    untested = notes(tmp_path / "one", make("a", skill=0, tasks=FEW), make("b", skill=0, tasks=FEW))
    assert not any("no two methods differ" in note for note in untested), "nothing was tested"


def test_names_that_differ_by_case_are_named(tmp_path: Path) -> None:
    found = notes(tmp_path, make("KD"), make("kd"), make("Kd"), make("other"))
    assert "These methods differ only by the case of their names, and each has its row: KD, Kd, kd." in found


def test_runs_without_predictions_are_named_by_reason(tmp_path: Path) -> None:
    made = [make(f"m{number}", tasks=["clean"], conditions=["clean"]) for number in range(7)]
    for one in made:
        one.publish(tmp_path).with_suffix(".predictions.npz").unlink()
    edited = make("edited", tasks=["clean"], conditions=["clean"])
    edited.publish(tmp_path).with_suffix(".predictions.npz").write_bytes(b"other")
    found = [note for note in notes(tmp_path) if note.startswith("Compared by their scores alone")]
    ids = ", ".join(f"{one.record.run_id} of m{number}" for number, one in enumerate(made[:5]))
    assert sorted(found) == sorted([
        f"Compared by their scores alone, as predictions.npz is not beside the record: run {ids} and 2 more.",
        "Compared by their scores alone, as predictions.npz is not the file that the record hashed: run "
        f"{edited.record.run_id} of edited.",
    ])  # fmt: skip


def test_results_that_do_not_give_the_scores_are_named(tmp_path: Path) -> None:
    made = make("a", tasks=["clean"], conditions=["clean"])
    score = made.record.scores[0]
    off = score.model_copy(update={"value": score.value - 0.01})
    found = notes(tmp_path, made.changed(scores=[off]), make("b", tasks=["clean"], conditions=["clean"]))
    assert [note for note in found if "per-example" in note] == [
        "a: per-example results do not give its clean for all seeds."
    ]


def test_unequal_views_are_noted(tmp_path: Path) -> None:
    """NRD's strong view against rivals without augmentation is an order of augmentations too."""
    note = "Students did not all see the same view of the training images (clean, sym-40): each row says which."
    suite, strong = {"clean": "crop", "sym-40": "none"}, {"clean": "strong", "sym-40": "strong"}
    assert note in notes(tmp_path / "x", make("a", views=suite), make("b", views=strong))
    alike = notes(tmp_path / "y", make("a", views=suite), make("b", views=suite), make("c"))
    assert not [one for one in alike if "view" in one]
