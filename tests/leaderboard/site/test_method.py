"""A method's page: its numbers against those of its records."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from kdbench.leaderboard.board import Board, Row
from kdbench.leaderboard.site import method
from kdbench.leaderboard.site.charts import bulk
from kdbench.results.record import Score
from tests.browser import boards


@pytest.fixture(scope="module")
def board() -> Board:
    return boards.small().boards[0]


def method_view(board: Board, row: Row) -> dict[str, Any]:
    return method.method_view(board, row, method.board_axes(board))


def row(board: Board, key: str) -> Row:
    return next(one for one in board.rows if one.key == key)


def select(row: Row, **setting: Any) -> list[Score]:
    """Of each seed the one score with that setting."""
    return [
        score
        for run in row.runs
        for score in run.record.scores
        if all(score.setting.get(key) == value for key, value in setting.items())
    ]


def test_the_heat_map_is_the_mean_over_seeds(board: Board) -> None:
    kd = row(board, "kd")
    [heat] = method_view(board, kd)["conditions"][0]["heat"]
    values = [score.value for score in select(kd, corruption="fog", severity=3)]
    [fog] = [line for line in heat["rows"] if line["name"] == "fog"]
    assert (len(values), len(heat["rows"]), len(fog["cells"])) == (3, 19, 5)
    assert fog["cells"][2] == (f"{100 * np.mean(values):.1f}", f"h{int(10 * np.mean(values))}")
    means = [np.mean([s.value for s in select(kd, corruption="fog", severity=severity)]) for severity in range(1, 6)]
    assert fog["mean"][0] == f"{100 * np.mean(means):.1f}"
    assert (heat["n"], heat["seeds"], list(heat["severities"])) == (2000, 3, [1, 2, 3, 4, 5])


def test_seeds_with_other_corruptions_are_not_averaged(board: Board) -> None:
    kd = row(board, "kd")
    record = kd.runs[1].record
    fewer = [score for score in record.scores if score.setting.get("corruption") != "fog"]
    part = dataclasses.replace(kd.runs[1], record=record.model_copy(update={"scores": fewer}))
    view = method_view(board, dataclasses.replace(kd, runs=(kd.runs[0], part, kd.runs[2])))
    assert view["conditions"][0]["heat"][0]["seeds"] == 2


def test_transfer_is_a_line_per_source_with_its_spread(board: Board) -> None:
    kd, half = row(board, "kd"), row(board, "half")
    [transfer] = method_view(board, kd)["conditions"][0]["transfer"]
    assert transfer["task"] == "transfer"
    assert [source for source, _, _ in transfer["rows"]] == ["teacher", "reference", "self"]
    by_seed = [s.value for s in select(kd, source="self") if s.metric == "accuracy"]
    mean, spread, shade = next(cells for source, cells, _ in transfer["rows"] if source == "self")
    assert mean == f"{100 * np.mean(by_seed):.1f}"
    assert spread == f"seeds {', '.join(f'{100 * value:.1f}' for value in by_seed)}"
    assert shade == f"h{int(10 * np.mean(by_seed))}"
    [alone] = [s for s in select(half, source="self") if s.metric == "accuracy"]
    _, cell, _ = method_view(board, half)["conditions"][0]["transfer"][0]["rows"][2]
    assert cell[1] == f"{100 * alone.ci_low:.1f} to {100 * alone.ci_high:.1f}", "one seed has its interval"


def test_peaks_are_those_of_the_log(board: Board) -> None:
    view = method_view(board, row(board, "kd"))
    [(seed, n, fall), *_] = view["conditions"][1]["falls"]
    assert (seed, n, fall.peak_epoch) == (0, boards.N, 13), "the sine of the made-up log"
    assert [name for name, _ in view["conditions"][0]["own"]] == ["exchanged"]


def test_every_score_is_listed_once(board: Board) -> None:
    kd = row(board, "kd")
    view = method_view(board, kd)
    kinds = {(s.condition, s.task, s.metric, *sorted(s.setting.items())) for s in kd.runs[0].record.scores}
    assert sum(len(group["lines"]) for group in view["groups"]) == len(kinds)
    assert not view["more"]
    [clean] = [g for g in view["groups"] if (g["condition"], g["task"]) == ("clean", "clean")]
    [(metric, setting, cells)] = clean["lines"]
    assert (metric, setting, list(cells)) == ("accuracy", "", [0, 1, 2])
    score = kd.runs[1].record.scores[0]
    between = f"{100 * score.ci_low:.1f} to {100 * score.ci_high:.1f}"
    assert cells[1] == (f"{100 * score.value:.2f}", between, 2000, "%", False)


def test_a_part_of_very_many_scores_is_listed(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "MOST_SCORES", 10)
    view = method_view(board, row(board, "kd"))
    assert view["more"]
    assert sum(len(group["lines"]) for group in view["groups"]) == 10
    assert all(len(cells) == 3 for group in view["groups"] for _, _, cells in group["lines"]), "of all seeds"


def test_an_axis_has_its_score_seeds_and_interval_or_is_not_measured(board: Board) -> None:
    half = row(board, "half")
    first, *_, last = method_view(board, half)["axes"]
    cell = half.cells["clean/clean"]
    assert first["value"] == f"{100 * cell.value:.2f}"
    assert first["interval"] == f"{100 * cell.ci_low:.1f} to {100 * cell.ci_high:.1f}"
    assert first["per_seed"] == [(0, f"{100 * cell.per_seed[0][1].value:.2f}")]
    assert last["cell"] is None


def test_all_rows_share_the_scale_of_an_axis_and_none_is_among_its_others(board: Board) -> None:
    [first, *_] = method.board_axes(board)
    every = [score.value for one in board.rows for _, score in one.cells["clean/clean"].per_seed]
    assert first.scale == bulk(every) and sorted(v for of in first.by_row.values() for v in of) == sorted(every)
    strip = method_view(board, row(board, "kd"))["axes"][0]["strip"]
    assert (strip.count('class="seed"'), strip.count('class="othersone"')) == (3, len(every) - 3)


def test_a_doubtful_method_says_why_and_lists_its_checks(board: Board) -> None:
    view = method_view(board, row(board, "soft-randomization"))
    assert view["flags"] == ["images survive an eps of 0.5"]
    assert [(seed, check.name, check.passed) for seed, check in view["checks"]] == [
        (seed, "large_eps", False) for seed in range(3)
    ]
    assert method_view(board, row(board, "ce"))["flags"] == []


def test_the_command_has_all_seeds_and_parameters(board: Board) -> None:
    wanted = "kdbench run --method kd --suite cifar10-lite --seed 0 --seed 1 --seed 2 --set temperature=8"
    assert method_view(board, row(board, "kd"))["command"] == wanted


def test_parameters_say_whether_they_were_given(board: Board) -> None:
    kd = row(board, "kd")
    record = kd.runs[0].record
    params = {"clean": {"temperature": 8, "alpha": 0.5}, "sym-40": {"temperature": 8}}
    changed = record.model_copy(update={"spec": record.spec.model_copy(update={"params": params})})
    view = method_view(board, dataclasses.replace(kd, runs=(dataclasses.replace(kd.runs[0], record=changed),)))
    assert view["params"] == [
        ("temperature", "given", ["8", "8"]),
        ("alpha", "default", ["0.5", "–"]),  # noqa: RUF001  # the page has a dash where there is nothing
    ]


def test_cost_is_in_minutes_and_gib(board: Board) -> None:
    """Two students of 90 s; 90 s of training, 20 s of measuring, 200 s of processor, 2 GiB, by the made-up record."""
    [cost, *_] = method_view(board, row(board, "kd"))["cost"]
    numbers = {name: cost[name] for name in ("students", "train", "measure", "cpu", "memory", "device_memory")}
    assert numbers == {
        "students": "3.0", "train": "1.5", "measure": "0.3", "cpu": "3.3", "memory": "2.0", "device_memory": "",
    }  # fmt: skip


def test_a_run_without_evidence_has_no_plots_of_it_and_says_so(board: Board) -> None:
    kd = row(board, "kd")
    bare = tuple(dataclasses.replace(run, log=None, predictions=None, notes=("predictions.npz is not there",))
                 for run in kd.runs)  # fmt: skip
    view = method_view(board, dataclasses.replace(kd, runs=bare))
    assert (view["no_log"], view["no_predictions"]) == ([0, 1, 2], [0, 1, 2])
    assert view["notes"] == [(seed, "predictions.npz is not there") for seed in range(3)]
    [clean] = view["conditions"]
    assert (clean["accuracy"], clean["loss"], clean["reliability"]) == (None, None, None)
    assert clean["heat"] and clean["transfer"] and clean["steps"], "scores are in the record"


def test_another_tasks_transfer_is_a_table_of_its_own(board: Board) -> None:
    """A plugin's task showed its rows in the place of the student's own, whose white box was gone."""
    kd = row(board, "kd")
    runs = []
    for run in kd.runs:
        own = [score for score in run.record.scores if "source" in score.setting]
        others = [score.model_copy(update={"task": "teacher_transfer", "value": score.ci_high}) for score in own]
        record = run.record.model_copy(update={"scores": [*others, *run.record.scores]})
        runs.append(dataclasses.replace(run, record=record))
    before = method_view(board, kd)["conditions"][0]["transfer"]
    after = method_view(board, dataclasses.replace(kd, runs=tuple(runs)))["conditions"][0]["transfer"]
    assert [table["task"] for table in after] == ["teacher_transfer", "transfer"]
    assert after[1:] == before
    assert after[0]["rows"] != before[0]["rows"]


def test_the_budget_of_an_attack_stands_once_beside_its_table(board: Board) -> None:
    """Transfer was at 8/255 where PGD was at 2/255, and the page named neither."""
    kd = row(board, "kd")
    runs = []
    for run in kd.runs:
        scores = [
            score.model_copy(update={"setting": {**score.setting, "eps": 8 / 255}} if "source" in score.setting else {})
            for score in run.record.scores
        ]
        runs.append(dataclasses.replace(run, record=run.record.model_copy(update={"scores": scores})))
    view = method_view(board, dataclasses.replace(kd, runs=tuple(runs)))
    [transfer] = view["conditions"][0]["transfer"]
    assert transfer["setting"] == "eps 8/255"
    [group] = [group for group in view["groups"] if group["task"] == "transfer"]
    assert group["known"] == "eps 8/255"
    assert {line[1] for line in group["lines"]} == {"source teacher", "source reference", "source self"}


def test_classes_by_what_they_were_taken_for_are_those_of_all_seeds(board: Board) -> None:
    kd = row(board, "kd")
    label = np.array([0, 0, 3, 3], dtype=np.int16)
    answers = [np.array(answer, dtype=np.int16) for answer in ([0, 0, 5, 5], [0, 3, 5, 3], [0, 0, 5, 3])]
    runs = tuple(
        dataclasses.replace(run, predictions={"clean/clean/answer": answer, "clean/clean/label": label})
        for run, answer in zip(kd.runs, answers, strict=True)
    )
    view = method_view(board, dataclasses.replace(kd, runs=runs))["conditions"][0]["confusion"]
    assert (view["seeds"], view["n"]) == (3, 4)
    assert view["mistakes"] == [("3", "5", 4, "66.7"), ("0", "3", 1, "16.7")]
    assert view["rows"][3] == ("3", [("", "h0"), ("", "h0"), ("", "h0"), ("33", "h3"), ("", "h0"), ("67", "h6")])
    assert view["worst"] == [("3", "33.3"), ("0", "83.3")]


def test_classes_have_the_names_of_their_data_set(board: Board) -> None:
    kd = row(board, "kd")
    every = np.arange(10, dtype=np.int16)
    run = dataclasses.replace(kd.runs[0], predictions={"clean/clean/answer": every[::-1], "clean/clean/label": every})
    view = method_view(board, dataclasses.replace(kd, runs=(run,)))["conditions"][0]["confusion"]
    assert view["columns"][:2] == ("airplane", "automobile")
    assert view["mistakes"][0] == ("airplane", "truck", 1, "100.0")
