"""Verdicts from made-up records, against what the arrays beside them say by themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kdbench.reproducing.outcome import Number, Outcome, Pair
from kdbench.reproducing.running import Ready, from_folders
from kdbench.results.record import read_record
from kdbench.running.options import RunOptions
from tests.leaderboard.evidence import Made, make
from tests.reproducing.conftest import TABLE, Put

SKILL = {"ce": 0.2, "kd": 1.8, "gce": 0.2}
PGD = "clean/pgd/pgd-std-20/correct"


def records(folder: Path, ready: Ready, skill: dict[str, float] = SKILL, **rest: Any) -> list[Made]:
    """A made-up record of every method and seed of a reproduction, published in a folder."""
    found = []
    for method in dict.fromkeys(job.plan.method for job in ready.jobs):
        [params, *_] = [job.plan.params["clean"] for job in ready.jobs if job.plan.method == method]
        for seed in ready.seeds:
            plain = json.loads(json.dumps(params))
            found.append(make(method, seed=seed, skill=skill[method], params=plain, conditions=["clean"], **rest))
            found[-1].publish(folder)
    return found


def judged(put: Put, folder: Path, scale: str, text: str = TABLE, **rest: Any) -> tuple[Outcome, list[Made]]:
    put(text)
    ready = Ready.make("ours/table1", scale)
    made = records(folder, ready, **rest)
    device = RunOptions.make(out=folder).device
    return ready.judge(from_folders(ready, [folder]), "2026-01-02T03:04:05+00:00", device)[0], made


def number(outcome: Outcome, row: str, column: str) -> Number:
    return next(one for one in outcome.numbers if (one.row, one.column) == (row, column))


def values(made: list[Made], method: str, name: str) -> NDArray[np.float64]:
    """(seeds, n) of a method's per-example results."""
    return np.stack([one.predictions[name] for one in made if one.record.spec.method == method]).astype(float)


def test_numbers_of_the_papers_own_scale_are_within_tolerance_or_outside(put: Put, tmp_path: Path) -> None:
    outcome, made = judged(put, tmp_path, "full")
    for row, method in (("weak", "ce"), ("strong", "kd"), ("alike", "gce")):
        one = number(outcome, row, "accuracy")
        mean = 100 * values(made, method, "clean/clean/correct").mean()
        assert one.value == pytest.approx(mean)
        assert one.published is not None and one.difference == pytest.approx(mean - one.published)
        assert one.verdict == ("within tolerance" if abs(mean - one.published) <= 0.5 else "outside")
        assert one.ci_low is not None and one.ci_high is not None and one.ci_low < mean < one.ci_high
        assert (one.n, one.seeds, one.tolerance, one.unit) == (500, [0, 1], 0.5, "%")
    robust = number(outcome, "strong", "PGD-20")
    clean = values(made, "kd", "clean/clean/correct").astype(bool)
    index = np.stack([one.predictions["clean/pgd/index"] for one in made if one.record.spec.method == "kd"])
    kept = np.take_along_axis(clean, index, 1)
    attacked = values(made, "kd", PGD)
    conditional = np.mean([right[ok].mean() for right, ok in zip(attacked, kept, strict=True)])
    assert robust.value == pytest.approx(100 * conditional, abs=1e-6)
    assert outcome.count("outside") + outcome.count("within tolerance") == 5


@pytest.mark.parametrize(("off", "verdict"), [(0.0, "within tolerance"), (0.5, "within tolerance"), (0.6, "outside")])
def test_the_tolerance_itself_is_within(put: Put, tmp_path: Path, off: float, verdict: str) -> None:
    first, _ = judged(put, tmp_path / "a", "full")
    value = number(first, "weak", "accuracy").value
    assert value is not None
    text = TABLE.replace("[80.0, ", f"[{value + off}, ")
    outcome, _ = judged(put, tmp_path / "b", "full", text)
    assert number(outcome, "weak", "accuracy").verdict == verdict


def test_an_interval_that_reaches_into_the_tolerance_is_said_of_what_is_outside(put: Put, tmp_path: Path) -> None:
    first, _ = judged(put, tmp_path / "a", "full")
    one = number(first, "weak", "accuracy")
    assert one.value is not None and one.ci_high is not None
    half = one.ci_high - one.value
    for name, off, said in (("b", 0.4, False), ("c", 0.6, True), ("d", half + 0.4, True), ("e", half + 0.6, False)):
        outcome, _ = judged(put, tmp_path / name, "full", TABLE.replace("[80.0, ", f"[{one.value + off}, "))
        assert ("the interval reaches into the tolerance" in number(outcome, "weak", "accuracy").why) == said


def test_a_single_run_gets_twice_the_tolerance(put: Put, tmp_path: Path) -> None:
    outcome, _ = judged(put, tmp_path, "full", TABLE.replace('seeds = "0-1"', "seeds = 0"))
    assert {one.tolerance for one in outcome.numbers if one.column == "accuracy"} == {1.0}


def test_another_scale_is_never_set_beside_a_published_number(put: Put, tmp_path: Path) -> None:
    outcome, _ = judged(put, tmp_path, "smoke")
    assert {one.verdict for one in outcome.numbers} == {"not comparable"}
    assert {one.why for one in outcome.numbers} == {"scale smoke is another experiment"}
    assert {one.difference for one in outcome.numbers} == {None}
    assert "none set beside a published one" in outcome.summary()[0]


def direction(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """By a plain paired interval of one seed's differences, which is narrower than that of a comparison."""
    apart = (one - other).ravel()
    half = 1.96 * apart.std(ddof=1) / len(apart) ** 0.5
    return "higher" if apart.mean() > half else "lower" if apart.mean() < -half else "open"


def pair(outcome: Outcome, first: str, second: str, column: str, *, says: bool = False) -> Pair:
    names = {first, second}
    return next(
        one for one in outcome.pairs
        if {one.first.row, one.second.row} == names and one.first.column == column and bool(one.says) == says
    )  # fmt: skip


def test_pairs_whose_published_difference_is_beyond_the_tolerance_are_judged_by_direction(
    put: Put, tmp_path: Path
) -> None:
    outcome, made = judged(put, tmp_path, "smoke")
    by_numbers = {(one.first.row, one.second.row, one.first.column) for one in outcome.pairs if not one.says}
    # weak against alike: .2 points published, a tolerance of .5
    assert by_numbers == {
        ("weak", "strong", "accuracy"), ("strong", "alike", "accuracy"), ("strong", "alike", "PGD-20"),
    }  # fmt: skip
    ce, kd, gce = (values(made, name, "clean/clean/correct") for name in ("ce", "kd", "gce"))
    assert direction(ce, kd) == "lower" and direction(kd, gce) == "higher"
    for one in outcome.pairs:
        assert one.verdict == "same direction", one
        assert one.ci_low < one.difference < one.ci_high
    weak = pair(outcome, "weak", "strong", "accuracy")
    assert weak.published == pytest.approx(-15.0)
    assert weak.difference == pytest.approx(100 * (ce - kd).mean())
    assert weak.paired
    said = pair(outcome, "strong", "alike", "PGD-20", says=True)
    assert (said.says, said.relation, said.verdict) == ("Section 1", "higher", "same direction")


def test_the_wrong_way_round_is_opposite_and_alike_is_not_told_apart(put: Put, tmp_path: Path) -> None:
    outcome, made = judged(put, tmp_path / "a", "smoke", skill={"ce": 1.8, "kd": 0.2, "gce": 0.2})
    ce, kd, gce = (values(made, name, "clean/clean/correct") for name in ("ce", "kd", "gce"))
    assert direction(ce, kd) == "higher" and direction(kd, gce) == "open"
    assert pair(outcome, "weak", "strong", "accuracy").verdict == "opposite"
    assert pair(outcome, "strong", "alike", "accuracy").verdict == "not told apart"
    assert outcome.directions()["opposite"] == 1


def test_a_number_that_is_no_target_is_shown_and_never_judged(put: Put, tmp_path: Path) -> None:
    text = TABLE.replace('method = "kd"', 'method = "kd"\nincomparable = "a slip"')
    outcome, _ = judged(put, tmp_path, "full", text)
    one = number(outcome, "strong", "accuracy")
    assert (one.verdict, one.why, one.published, one.difference) == ("not comparable", "a slip", 95.0, None)
    assert not [two for two in outcome.pairs if "strong" in (two.first.row, two.second.row) and not two.says]


def test_what_was_not_measured_says_why(put: Put, tmp_path: Path) -> None:
    put(TABLE.replace('suite = "digits"\nseeds = "0-1"', 'suite = "digits"\ncolumns = ["accuracy"]'))
    ready = Ready.make("ours/table1", "full")
    records(tmp_path, ready)
    make("kd", seed=0, params=ready.jobs[1].plan.params["clean"], conditions=["clean"], failed="it diverged").publish(
        tmp_path / "failed"
    )
    [gone] = list(tmp_path.glob("digits/kd/*.json"))
    gone.unlink()
    device = RunOptions.make(out=tmp_path).device
    outcome, _ = ready.judge(from_folders(ready, [tmp_path]), "2026-01-02T03:04:05+00:00", device)
    failed = number(outcome, "strong", "accuracy")
    assert (failed.verdict, failed.why, failed.published) == ("not measured", "seed 0 failed: it diverged", 95.0)
    assert number(outcome, "strong", "PGD-20").why == "not part of scale full"
    assert number(outcome, "weak", "accuracy").verdict in ("within tolerance", "outside")
    assert [one for one in outcome.pairs if one.says] == []


def test_a_number_of_which_a_seed_diverged_is_shown_and_not_judged_by_those_that_did_not(
    put: Put, tmp_path: Path
) -> None:
    put()
    ready = Ready.make("ours/table1", "full")
    records(tmp_path, ready)
    [gone] = [path for path in tmp_path.glob("digits/kd/*.json") if read_record(path).spec.seed == 1]
    gone.unlink()
    params = json.loads(json.dumps(ready.jobs[1].plan.params["clean"]))
    make("kd", seed=1, params=params, conditions=["clean"], failed="it diverged").publish(tmp_path)
    device = RunOptions.make(out=tmp_path).device
    outcome, _ = ready.judge(from_folders(ready, [tmp_path]), "2026-01-02T03:04:05+00:00", device)
    for column in ("accuracy", "PGD-20"):
        one = number(outcome, "strong", column)
        assert (one.verdict, one.why, one.seeds) == ("not comparable", "seed 1 failed: it diverged", [0])
        assert one.value is not None and one.difference is None
    assert number(outcome, "weak", "accuracy").verdict in ("within tolerance", "outside")
    assert not [two for two in outcome.pairs if "strong" in (two.first.row, two.second.row)]


CURVES = """
paper = "A paper"
title = "Curves"
[cell]
condition = "clean"
method = "ce"
tolerance = 5.0
[columns.steps]
task = "pgd"
metric = "robust_accuracy"
setting = { variant = "pgd-std", rule = "worst" }
over = "steps"
[columns.epochs]
log = "test_accuracy"
[rows.ce]
published = { steps = { "10" = 50.0, "20" = 10.0 } }
[scales.full]
suite = "digits"
"""


def test_a_curve_has_a_number_for_each_value_it_is_over(put: Put, tmp_path: Path) -> None:
    outcome, made = judged(put, tmp_path, "full", CURVES)
    steps = {one.x: one for one in outcome.numbers if one.column == "steps"}
    assert set(steps) == {10.0, 15.0, 20.0}
    assert (steps[10.0].published, steps[15.0].published, steps[20.0].published) == (50.0, None, 10.0)
    for k in (10, 20):
        mean = 100 * values(made, "ce", f"clean/pgd/pgd-std-{k}/correct").mean()
        assert steps[float(k)].value == pytest.approx(mean)
    epochs = [one for one in outcome.numbers if one.column == "epochs"]
    logged = [entry["test_accuracy"] for entry in made[0].log if entry["condition"] == "clean"]
    assert [one.x for one in epochs] == [float(one) for one in range(1, len(logged) + 1)]
    assert [one.value for one in epochs] == pytest.approx([100 * one for one in logged])
    assert {(one.ci_low, one.n) for one in epochs} == {(None, None)}  # the log says nothing of it


def test_a_published_point_of_a_curve_that_was_not_measured_stays_in_the_table(put: Put, tmp_path: Path) -> None:
    text = CURVES.replace('"20" = 10.0', '"20" = 10.0, "40" = 5.0')
    outcome, _ = judged(put, tmp_path, "full", text)
    found = {one.x: (one.published, one.verdict) for one in outcome.numbers if one.column == "steps"}
    assert found[40.0] == (5.0, "not measured")
    assert found[15.0] == (None, "not comparable")
    [missing] = [one for one in outcome.numbers if one.x == 40.0]
    assert (missing.value, missing.why) == (
        None,
        "the records have no score of pgd/robust_accuracy with this setting at steps 40",
    )


def test_a_scale_measures_another_variant_in_place_of_a_columns(put: Put, tmp_path: Path) -> None:
    other = 'instead = { PGD-20 = { setting = { variant = "pgd-arani" } } }'
    outcome, made = judged(put, tmp_path, "full", TABLE.replace('seeds = "0-1"', other))
    one = number(outcome, "alike", "PGD-20")
    [record] = [one.record for one in made if one.record.spec.method == "gce"]
    [score] = record.select("pgd", "conditional_accuracy", variant="pgd-arani", steps=20, rule="worst")
    assert one.value == pytest.approx(100 * score.value)
    assert "pgd-arani" in one.what
