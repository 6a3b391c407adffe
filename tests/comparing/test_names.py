from __future__ import annotations

import pytest

from kdbench.comparing.names import choose
from kdbench.errors import KdbenchError
from kdbench.results.evidence import Evidence
from kdbench.results.store import read_evidence
from tests.leaderboard.evidence import digits, make


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    found = read_evidence(make("ce").keep(tmp_path_factory.mktemp("named")))
    assert isinstance(found, Evidence)
    return found


def keys(run: Evidence, *wanted: str) -> list[str]:
    return [column.axis.key for column in choose(digits(), [run], wanted)]


def test_without_names_it_is_a_leaderboards_columns_condition_by_condition(run: Evidence) -> None:
    found = [column.axis.key for column in choose(digits(), [run])]
    assert found[:2] == ["clean/clean", "clean/ood"]
    assert found[-1].startswith("sym-40/")
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("clean", "clean/clean"),
        ("pgd", "clean/pgd"),
        ("pgd-20", "clean/pgd"),
        ("PGD-20", "clean/pgd"),
        ("PGD-20 ε .031", "clean/pgd"),
        ("mCA", "clean/corruption"),
        ("pgd-10", "clean/pgd/robust_accuracy pgd-std steps 10 worst"),
        ("pgd-arani steps 20", "clean/pgd/robust_accuracy pgd-arani steps 20 worst"),
        ("gaussian_noise 3", "clean/corruption/accuracy gaussian_noise severity 3"),
    ],
)
def test_a_score_has_the_name_that_people_write(run: Evidence, name: str, key: str) -> None:
    assert keys(run, name) == [key]


def test_a_number_of_another_setting_is_no_name_of_the_headline(run: Evidence) -> None:
    with pytest.raises(KdbenchError, match="'pgd-3' means"):
        keys(run, "pgd-3")


def test_one_name_is_a_column_for_each_condition_and_one_can_be_chosen(run: Evidence) -> None:
    assert keys(run, "ece") == ["clean/calibration", "sym-40/calibration"]
    assert [c.axis.key for c in choose(digits(), [run], ["ece"], conditions=["sym-40"])] == ["sym-40/calibration"]
    assert {c.axis.task for c in choose(digits(), [run], tasks=["ood", "pgd"])} == {"ood", "pgd"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wanted": ["cleen"]}, "no score named 'cleen' .did you mean 'clean'"),
        ({"wanted": ["pdg-20"]}, "no score named 'pdg-20' .did you mean 'pgd-20'"),
        ({"wanted": ["gaussian_noise"]}, "'gaussian_noise' means 5 scores: 'corruption/accuracy gaussian_noise sev"),
        ({"wanted": ["clean"], "conditions": ["sym-40"]}, "'clean' was measured, but of no task and condition that"),
        ({"wanted": ["xyz"]}, "no score named 'xyz' .known: clean, ece, mca, noisy, ood, pgd-20, transfer"),
        ({"conditions": ["sym-41"]}, "no condition with scores named 'sym-41' .did you mean 'sym-40'"),
        ({"tasks": ["odd"]}, "no task with scores named 'odd' .did you mean 'ood'"),
    ],
)
def test_a_name_that_is_not_one_is_answered_in_a_line(
    run: Evidence, options: dict[str, list[str]], message: str
) -> None:
    wanted = options.pop("wanted", None)
    with pytest.raises(KdbenchError, match=message):
        choose(digits(), [run], wanted, **options)


def test_the_chosen_column_has_the_score(run: Evidence) -> None:
    [column] = choose(digits(), [run], ["pgd-10"])
    score = column.score(run)
    assert score is not None
    assert (score.metric, score.setting["steps"], score.setting["rule"]) == ("robust_accuracy", 10, "worst")
