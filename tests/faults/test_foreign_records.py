"""Ten thousand forged records and a thousand files of forged per-example results through all that reads records.

None ends in a traceback, and none is accepted with another number where the number can be recomputed. The normal run
tries a share of them, drawn anew each time; ``tox -e faults`` all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard import load, rank
from kdbench.leaderboard.site import build
from kdbench.leaderboard.validate import Examination, copied, examine
from kdbench.leaderboard.verify import verify
from kdbench.report.runs import open_runs
from kdbench.report.scores import scores as report_scores
from kdbench.running.options import RunOptions
from tests.faults.foreign import by_key, forged, forged_predictions, is_moved, key_of, written
from tests.leaderboard.evidence import Made, make

ALL = os.environ.get("KDBENCH_FAULTS", "0") != "0"
RECORDS, PREDICTIONS = (10_000, 1_000) if ALL else (16, 8)
TOGETHER = 250 if ALL else 8
"""Forged records that are read as one folder."""

Count = Callable[..., None]


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """Counts a try for the table of the campaign, where that is kept."""
    try:
        found: Count = request.getfixturevalue("row")
    except pytest.FixtureLookupError:
        return lambda *_, **__: None
    return found


@pytest.fixture(scope="module")
def made() -> Made:
    return make(tasks=["clean", "noisy_label", "calibration", "pgd", "transfer"], source="0123456789abcdef" * 4)


@pytest.fixture(scope="module")
def first() -> int:
    """Of the seeds of this run; printed where a test fails."""
    seed = 0 if ALL else random.randrange(10**6)
    print(f"forgers of seeds {seed} and on")
    return seed


def altered(made: Made, found: Examination) -> set[str]:
    """Scores that were accepted with another number although validation recomputes them."""
    if any(problem.severity == "error" for problem in found.problems):
        return set()
    ours = by_key(made.record)
    sure = [(basis, score) for basis in ("checked", "derived") for score in found.scores[basis]]
    return {str(key_of(score)) for basis, score in sure if is_moved(ours.get(key_of(score)), score, basis)}


def use(path: Path) -> None:
    """One record through the readers of one; a mistake in it is one line."""
    readers: list[Callable[[], object]] = [
        lambda: verify(path, path.with_name("nothing"), options=RunOptions.make(device="cpu", out=path.parent)),
        lambda: report_scores(open_runs([path])).__next__(),
        lambda: load(path),
    ]
    for read in readers:
        try:
            read()
        except StopIteration:
            pass
        except KdbenchError as error:
            assert "\n" not in str(error)
            assert str(error).isprintable(), ascii(str(error))


def folders(tmp_path: Path, tries: int) -> Iterator[tuple[Path, range]]:
    """Folders that are filled, read as a whole, and removed."""
    for start in range(0, tries, TOGETHER):
        folder = tmp_path / str(start)
        yield folder, range(start, min(start + TOGETHER, tries))
        rank(folder)
        build(rank(folder), tmp_path / "site")
        load(folder)
        shutil.rmtree(folder)


def test_no_forged_record_is_believed(made: Made, tmp_path: Path, first: int, count: Count) -> None:
    text, believed = made.record.to_json(), {}
    for folder, seeds in folders(tmp_path, RECORDS):
        paths = []
        for seed in seeds:
            path = written(made, folder / str(seed), forged(text, first + seed))
            paths.append(path)
            found = examine(path)
            assert all(str(problem).isprintable() for problem in found.problems), first + seed
            wrong = altered(made, found)
            count("a forged record", "refused, or the same numbers", lost=False, changed=bool(wrong))
            believed |= {first + seed: wrong} if wrong else {}
            if not ALL or seed % 10 == 0:
                use(path)
        copied(paths)
    assert believed == {}


def test_a_score_in_a_setting_that_no_task_writes_is_refused(made: Made, tmp_path: Path) -> None:
    """A forger that was believed: the number is right, and stands for something else."""
    for number, score in enumerate(made.record.scores):
        if f"{score.task}/{score.metric}" in {f"{one.task}/{one.metric}" for one in made.record.scores[:number]}:
            continue
        values = json.loads(made.record.to_json())
        values["scores"][number]["setting"]["another"] = 10
        found = examine(written(made, tmp_path / str(number), json.dumps(values)))
        assert any("has no 'another' in the settings" in one.message for one in found.problems), score


def test_a_score_of_a_metric_that_its_task_has_not_is_refused(made: Made, tmp_path: Path) -> None:
    """Another forger that was believed: what was measured is gone, and a column with it."""
    values = json.loads(made.record.to_json())
    for number, score in enumerate(made.record.scores):
        if score.task == "noisy_label":
            values["scores"][number]["metric"] = "zz"
    found = examine(written(made, tmp_path / "zz", json.dumps(values)))
    assert "task 'noisy_label' has no metric 'zz'" in [one.message for one in found.problems]


@pytest.mark.parametrize("seed", [1_000_210, 1_000_381, 1_000_515, 1_000_627])
def test_forgers_that_were_believed_or_ended_in_a_traceback(made: Made, tmp_path: Path, seed: int) -> None:
    """Answers of another dtype than truth values; numbers of steps that nobody asked for, which nothing was held
    against; and one number within what rounding allows, which is no forgery."""
    content, text, _ = forged_predictions(made, seed)
    path = written(made, tmp_path / "answers", text)
    path.with_name(f"{path.stem}.predictions.npz").write_bytes(content)
    assert altered(made, examine(path)) == set()
    assert altered(made, examine(written(made, tmp_path / "record", forged(made.record.to_json(), seed)))) == set()


def test_no_forged_answer_is_believed(made: Made, tmp_path: Path, first: int, count: Count) -> None:
    believed = []
    for folder, seeds in folders(tmp_path, PREDICTIONS):
        for seed in seeds:
            content, text, turned = forged_predictions(made, first + seed)
            path = written(made, folder / str(seed), text)
            path.with_name(f"{path.stem}.predictions.npz").write_bytes(content)
            found = examine(path)
            refused = any(problem.severity == "error" for problem in found.problems)
            wrong = bool(altered(made, found)) or (turned and not refused)
            count("forged per-example results", "refused, or the same numbers", lost=False, changed=wrong)
            believed += [first + seed] if wrong else []
    assert believed == []
