from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.comparing.contestants import find, require_several
from kdbench.comparing.terms import unequal
from kdbench.errors import KdbenchError
from tests.comparing.conftest import Keep
from tests.leaderboard.evidence import digits, make


def titles(*words: str | Path, folder: Path, suite: str | None = None) -> list[str]:
    return [one.title for one in find([str(word) for word in words], folder, suite).contestants]


def test_a_word_is_a_method_a_record_a_folder_or_a_study(runs: Path, tmp_path: Path, keep_study: Keep) -> None:
    for seed in (0, 1):
        make("ce", seed=seed, tasks=["clean"]).keep(runs)
        make("kd", seed=seed, tasks=["clean"]).keep(runs)
    other = make("gce", tasks=["clean"]).publish(tmp_path / "published")
    assert titles("kd", "ce", folder=runs) == ["kd", "ce"]
    assert titles(other, "ce", folder=runs) == ["gce", "ce"]
    assert titles(runs / "digits" / "kd", other.parent, folder=tmp_path / "nowhere") == ["kd", "gce"]
    keep_study([make("nrd", params={"pi": 0.2}, tasks=["clean"])])
    assert titles("ce", "s", folder=runs) == ["ce", "nrd (pi=0.2)"]
    field = find(["ce", "kd"], runs)
    assert [[run.record.spec.seed for run in one.finished] for one in field.contestants] == [[0, 1], [0, 1]]
    assert field.notes == ()


def test_values_behind_a_name_choose_among_its_settings(runs: Path) -> None:
    for sigma in (0.1, 0.2):
        make("soft", params={"sigma": sigma}, tasks=["clean"]).keep(runs)
    assert titles("soft", folder=runs) == ["soft (sigma=0.1)", "soft (sigma=0.2)"]
    assert titles("soft sigma=0.2", "soft sigma=0.1", folder=runs) == ["soft (sigma=0.2)", "soft (sigma=0.1)"]
    with pytest.raises(KdbenchError, match="no record of 'soft' with sigma=3 .there are: soft .sigma=0.1.; soft"):
        find(["soft sigma=3"], runs)
    with pytest.raises(KdbenchError, match="no parameter of 'soft' named 'sigme' .did you mean 'sigma'"):
        find(["soft sigme=3"], runs)


def test_what_another_version_of_a_task_measured_is_left_out_and_said(runs: Path) -> None:
    make("ce", tasks=["clean", "pgd"]).keep(runs)
    old = make("kd", tasks=["clean", "pgd"], versions={"pgd": 1})
    old.keep(runs)
    field = find(["ce", "kd"], runs)
    assert [{score.task for run in one.finished for score in run.record.scores} for one in field.contestants] == [
        {"clean", "pgd"}, {"clean"},
    ]  # fmt: skip
    assert field.notes == (f"kd {old.record.run_id}: pgd left out: version 1 of task pgd; here it is 2",)


def test_what_is_not_there_is_one_line(runs: Path, tmp_path: Path, keep_study: Keep) -> None:
    study = keep_study([], [make("ce", tasks=["clean"])])
    with pytest.raises(KdbenchError, match="study 's' has no finished run of 1 .kdbench sweep status s"):
        find([study.name], runs)
    make("label-smoothing", tasks=["clean"]).keep(runs)
    with pytest.raises(KdbenchError, match="named 'label-smothing' .did you mean 'label-smoothing'"):
        find(["label-smothing"], runs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(KdbenchError, match="no record in .*empty"):
        find([str(tmp_path / "empty")], runs)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(KdbenchError, match="x.json: is no record of a run"):
        find([str(tmp_path / "x.json")], runs)
    with pytest.raises(KdbenchError, match="only label-smoothing to compare .name two"):
        require_several(find(["label-smoothing"], runs), ["label-smoothing"])


def test_an_unfinished_study_says_how_much_of_it_is_compared(runs: Path, keep_study: Keep) -> None:
    keep_study(
        [make("ce", tasks=["clean"]), make("kd", tasks=["clean"], failed="diverged in epoch 3"),
         make("kd", seed=1, tasks=["clean"])],
        [make("ce", seed=1, tasks=["clean"])],
    )  # fmt: skip
    field = find(["s"], runs)
    assert [one.title for one in field.contestants] == ["ce", "kd"]
    assert field.notes == ("study 's': 2 of 4 runs are finished", "kd, seed 0 failed: diverged in epoch 3")


def test_only_runs_of_one_suite_and_version_compare(runs: Path) -> None:
    other = digits().model_copy(update={"name": "mine"})
    newer = digits().model_copy(update={"version": digits().version + 1})
    make("ce", tasks=["clean"]).keep(runs)
    make("kd", tasks=["clean"], suite=other).keep(runs)
    make("gce", tasks=["clean"], suite=newer).keep(runs)
    with pytest.raises(KdbenchError, match="no suite in common: 'ce' is of digits; 'kd' is of mine"):
        find(["ce", "kd"], runs)
    with pytest.raises(KdbenchError, match="'gce' does not compare with the others: version .* of the suite; here"):
        find(["ce", "gce"], runs)
    make("kd", tasks=["clean"]).keep(runs)
    field = find(["ce", "kd"], runs)
    assert field.notes == ("records of other suites are left out: mine",)
    make("ce", tasks=["clean"], suite=other).keep(runs)
    with pytest.raises(KdbenchError, match="records of suites digits; mine .choose one with --suite"):
        find(["ce", "kd"], runs)
    assert find(["ce", "kd"], runs, "mine").suite.name == "mine"
    with pytest.raises(KdbenchError, match="no suite with these records named 'mime' .did you mean 'mine'"):
        find(["ce", "kd"], runs, "mime")


def test_other_test_images_do_not_compare(runs: Path) -> None:
    make("ce", tasks=["clean"]).keep(runs)
    make("ce", seed=1, tasks=["clean"]).keep(runs)
    make("kd", tasks=["clean"], datasets={"digits": "f" * 64}).keep(runs)
    with pytest.raises(KdbenchError, match="'kd' does not compare with the others: other images of data set digits"):
        find(["ce", "kd"], runs)


def test_two_sources_of_one_method_are_compared_when_each_is_named(runs: Path, tmp_path: Path) -> None:
    old = make("mine", tasks=["clean"], source="a" * 64).keep(tmp_path / "old")
    new = make("mine", tasks=["clean"], source="b" * 64).keep(tmp_path / "new")
    field = find([str(old), str(new)], runs)
    assert [one.title for one in field.contestants] == ["mine [1]", "mine [2]"]
    assert field.notes[0].startswith("mine [1] is of ")
    assert any(
        line.startswith("unequal source of mine: aaaaaaaaaaaa") for line in unequal(field.contestants, ["clean"])
    )


def test_unequal_terms_are_named_and_equal_ones_are_not(runs: Path) -> None:
    make("ce", tasks=["clean"], views={"clean": "crop"}).keep(runs)
    make("kd", tasks=["clean"], views={"clean": "strong"}, budget="extended").keep(runs)
    assert unequal(find(["ce", "kd"], runs).contestants, ["clean"]) == [
        "unequal budget: standard (ce); extended (kd)",
        "unequal view: crop (ce); strong (kd)",
    ]
