"""Parts of one run, measured in separate jobs, are one row; what does not belong together is not put together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdbench.leaderboard import Row, index, rank
from kdbench.leaderboard.export import load
from kdbench.leaderboard.parts import joined
from kdbench.results.headline import RANKED_SEEDS
from kdbench.results.record import Check, Record
from tests.leaderboard.evidence import Made, digest, digits, make
from tests.leaderboard.ranked import board, evidence, other_suite, row

Change = Callable[[Record], Made]


def parts(method: str = "a", **options: object) -> list[Made]:
    """A job per condition."""
    return [make(method, conditions=[name], **options) for name in ("clean", "sym-40")]  # type: ignore[arg-type]  # of make


def ids(found: Row) -> list[str]:
    return [one.record.run_id for one in found.records]


def test_a_job_per_condition_is_one_row_with_the_scores_and_evidence_of_both(tmp_path: Path) -> None:
    """The row had the clean scores alone, no mean rank, and the other record was excluded."""
    clean, noisy = made = parts()
    found = board(tmp_path, *made, make("b"))
    [run] = row(found, "a").runs
    assert found.excluded == ()
    assert set(row(found, "a").cells) == set(row(found, "b").cells)
    assert run.record.scores == [*clean.record.scores, *noisy.record.scores]
    assert run.log == (*clean.log, *noisy.log)
    assert run.predictions is not None
    both = {**clean.predictions, **noisy.predictions}
    assert set(run.predictions) == set(both)
    assert all(np.array_equal(run.predictions[name], array) for name, array in both.items())
    for key, cell in row(found, "a").cells.items():
        [(seed, score)] = cell.per_seed
        assert (seed, cell.basis, cell.contradicted) == (0, "examples", False), key
        assert score in (*clean.record.scores, *noisy.record.scores)


def test_a_row_of_parts_has_a_mean_rank(tmp_path: Path) -> None:
    found = board(tmp_path, *(part for seed in range(RANKED_SEEDS) for part in parts(seed=seed)))
    assert len(row(found, "a").runs) == RANKED_SEEDS
    assert len(row(found, "a").records) == 2 * RANKED_SEEDS
    assert row(found, "a").mean_rank is not None


def test_it_is_the_run_that_one_job_would_have_been() -> None:
    """Its specification is that of a run of both conditions, and so is its run id."""
    whole = joined([evidence(one) for one in parts()])
    assert whole is not None
    assert (whole.record.spec, whole.record.run_id) == (make("a").record.spec, make("a").record.run_id)
    assert whole.record.status == "finished"
    assert set(whole.record.hashes.students) == {"clean", "sym-40"}
    Record.model_validate_json(whole.record.to_json())


def test_the_row_says_how_many_records_it_consists_of(tmp_path: Path) -> None:
    made = parts()
    found = board(tmp_path, *made)
    names = [one.record.run_id for one in made]
    assert sorted(ids(row(found, "a"))) == sorted(names)
    [shown] = index.make_index(rank(tmp_path), tmp_path)["boards"][0]["rows"]
    assert (shown["records"], sorted(shown["runs"]), shown["failed"]) == (2, sorted(names), [])
    [remark] = shown["remarks"]
    assert remark == f"from 2 records of separate jobs: {', '.join(ids(row(found, 'a')))} (seed 0)"
    assert f"a: {remark}." in found.notes
    json.dumps(shown)


def test_an_export_has_the_scores_of_every_part(tmp_path: Path) -> None:
    made = parts()
    board(tmp_path, *made)
    frame = load(tmp_path)
    assert set(frame.run_id) == {one.record.run_id for one in made}
    assert set(frame.excluded) == {""}


def test_tasks_may_be_measured_in_separate_jobs_of_one_student() -> None:
    names = list(digits().tasks)
    made = [make("a", tasks=names[:2]), make("a", tasks=names[2:])]
    whole = joined([evidence(one) for one in made])
    assert whole is not None
    assert [one.record for one in whole.sources] == [one.record for one in made]
    assert {score.task for score in whole.record.scores} == {s.task for one in made for s in one.record.scores}


def test_of_a_task_that_two_parts_measured_the_preferred_one_counts(tmp_path: Path) -> None:
    clean, noisy = parts()
    again = make("a", conditions=["clean"], tasks=["clean"], finished="2026-05-01T00:00:00+00:00")
    worse = again.record.scores[0].model_copy(update={"value": 0.5, "ci_low": 0.4, "ci_high": 0.6})
    found = board(tmp_path, clean, noisy, again.changed(scores=[worse]))
    [(_, score)] = row(found, "a").cells["clean/clean"].per_seed
    assert score == next(score for score in clean.record.scores if score.task == "clean")
    [excluded] = found.excluded
    assert excluded.run_id == again.record.run_id
    first, second = ids(row(found, "a"))
    assert excluded.reason == f"seed 0 once more: run {first} and {second} count"


def test_a_task_that_only_one_of_two_overlapping_parts_has_is_taken_from_it() -> None:
    names = list(digits().tasks)
    most, rest = make("a", tasks=names[:-1]), make("a", tasks=names[-2:])
    whole = joined([evidence(most), evidence(rest)])
    assert whole is not None
    owned = [score for score in rest.record.scores if score.task == names[-1]]
    assert whole.record.scores == [*most.record.scores, *owned]


def test_a_check_of_a_whole_student_stays_where_it_flags_what_its_part_measured_alone() -> None:
    """It is listed under the first task of its part, which the other part measured as well."""
    names = list(digits().tasks)
    most, rest = make("a", tasks=names[:-1]), make("a", tasks=names[-2:])
    check = Check(
        name="batch_dependence", task=names[-2], condition="clean", passed=False, value=1.0, limit=0.5, n=100,
        flags=names[-2:], meaning="it depends on the batch",
    )  # fmt: skip
    rest = rest.changed(checks=[*rest.record.checks, check])
    whole = joined([evidence(most), evidence(rest)])
    assert whole is not None
    assert check in whole.record.checks


def test_parts_keep_the_view_of_each_condition() -> None:
    clean, noisy = (
        one.changed(views={name: view})
        for one, name, view in zip(parts(), ("clean", "sym-40"), ("crop", "strong"), strict=True)
    )
    whole = joined([evidence(clean), evidence(noisy)])
    assert whole is not None
    assert whole.record.views == {"clean": "crop", "sym-40": "strong"}


def test_a_part_that_failed_makes_the_run_a_failed_one(tmp_path: Path) -> None:
    made = [make("a", conditions=["clean"]), make("a", conditions=["sym-40"], failed="the loss became nan")]
    found = row(board(tmp_path, *made), "a")
    assert (found.runs, found.mean_rank) == ((), None)
    assert [run.record.error for run in found.failed] == ["the loss became nan"]


def test_a_failed_run_of_everything_is_no_part() -> None:
    """The condition that did not fail was run again by itself: it counts alone, as it always did."""
    made = [make("a", conditions=["clean"]), make("a", failed="the loss became nan")]
    assert joined([evidence(one) for one in made]) is None


def test_a_whole_run_is_not_put_together(tmp_path: Path) -> None:
    found = board(tmp_path, make("a"), *parts())
    assert ids(row(found, "a")) == [make("a").record.run_id]
    reason = f"seed 0 once more: run {make('a').record.run_id} counts"
    assert [one.reason for one in found.excluded] == [reason] * 2


def test_parts_that_are_not_all_of_the_suite_are_left_as_they_are(tmp_path: Path) -> None:
    third = {**digits().conditions, "more": digits().conditions["sym-40"]}
    suite = other_suite(name="three", conditions=third)
    found = board(tmp_path, *parts(suite=suite))
    assert (len(ids(row(found, "a"))), len(found.excluded)) == (1, 1)


def of_spec(**changes: object) -> Change:
    return lambda record: Made(record, {}, [], {}).changed(spec=record.spec.model_copy(update=changes))


def of_hashes(**changes: object) -> Change:
    return lambda record: Made(record, {}, [], {}).changed(hashes=record.hashes.model_copy(update=changes))


def of_provenance(**changes: object) -> Change:
    return lambda record: Made(record, {}, [], {}).changed(provenance=record.provenance.model_copy(update=changes))


@pytest.mark.parametrize(
    "change",
    [
        of_spec(method_source=digest("other")),
        of_spec(tasks={**make().record.spec.tasks, "pgd": 1}),
        of_spec(datasets={"digits": digest("edited")}),
        of_hashes(subsets={"pgd": digest("other images")}),
        of_provenance(device="cuda"),
        lambda record: Made(record, {}, [], {}).changed(checkpoint_rule="best-on-test"),
    ],
    ids=["source", "version of a task", "images", "subset", "device", "checkpoint"],
)
def test_what_one_job_could_not_have_left_is_not_put_together(change: Change) -> None:
    clean, noisy = parts()
    assert joined([evidence(clean), evidence(noisy)]) is not None
    assert joined([evidence(clean), evidence(change(noisy.record))]) is None


def test_parts_with_another_shared_network_or_another_student_are_not_put_together() -> None:
    """The same training on two machines leaves two networks: accuracy of one and attacks on the other are no run."""
    names = list(digits().tasks)
    first, second = make("a", tasks=names[:2]), make("a", tasks=names[2:])
    trainings = {**second.record.spec.trainings, "clean/teacher": digest("another")[:16]}
    assert joined([evidence(first), evidence(of_spec(trainings=trainings)(second.record))]) is None
    students = dict(second.record.hashes.students)
    students["clean"] = students["clean"].model_copy(update={"sha256": digest("another machine")})
    assert joined([evidence(first), evidence(of_hashes(students=students)(second.record))]) is None


def test_parts_of_other_parameters_under_a_condition_that_both_have_are_not_put_together() -> None:
    names = list(digits().tasks)
    first, second = make("a", tasks=names[:2]), make("a", tasks=names[2:])
    tuned = {**second.record.spec.params, "clean": {"alpha": 0.5}}
    assert joined([evidence(first), evidence(of_spec(params=tuned)(second.record))]) is None
