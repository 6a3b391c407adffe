"""A leaderboard and a claim that read the same two records say the same of their difference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import kdbench
from kdbench.claims.judgement import Judged, outcome
from kdbench.leaderboard.ranking import make_boards
from kdbench.results.comparison import difference, estimate
from kdbench.results.evidence import Evidence
from kdbench.results.samples import per_example, sample
from kdbench.results.store import read_evidence
from tests.leaderboard.evidence import Made, N, make

RECORDS = Path(__file__).parents[2] / "leaderboards/records/cifar10-lite"


def evidence(path: Path) -> Evidence:
    found = read_evidence(path)
    assert isinstance(found, Evidence)
    return found


def read(folder: Path, made: Made) -> Evidence:
    return evidence(made.publish(folder))


def by_claim(first: Evidence, second: Evidence, condition: str, task: str) -> tuple[float, float, bool]:
    """What a claim that compares the headline scores of a task finds."""
    [column] = [one for one in make_boards([first]).boards[0].axes if (one.condition, one.task) == (condition, task)]
    measure = kdbench.Measure(condition, task, column.metric, column.setting)
    one, other = (kdbench.MethodConfig(run.record.spec.method) for run in (first, second))
    comparison = kdbench.Comparison(one, other, measure, "higher")
    sides = (Judged.make(config, measure, [run]) for config, run in ((one, first), (other, second)))
    found = outcome(comparison, *sides)
    return found.ci_low, found.ci_high, found.paired


def by_board(first: Evidence, second: Evidence, condition: str, task: str) -> tuple[float, float, bool]:
    """What the leaderboard of these two runs finds."""
    [board] = make_boards([first, second]).boards
    pairs = board.pairs[f"{condition}/{task}"]
    methods = [row.method for row in board.rows]
    i, j = (methods.index(run.record.spec.method) for run in (first, second))
    value, half = pairs.value[i, j], pairs.half_width[i, j]
    return value - half, value + half, bool(pairs.paired[i, j])


@pytest.mark.parametrize("task", ["clean", "ood", "calibration", "pgd", "corruption", "transfer"])
def test_both_readers_give_one_interval(tmp_path: Path, task: str) -> None:
    runs = [read(tmp_path, make(method, skill=skill)) for method, skill in (("ce", 0.7), ("kd", 1.3))]
    claim, board = by_claim(*runs, "clean", task), by_board(*runs, "clean", task)
    assert claim == pytest.approx(board, abs=1e-12)
    assert claim[2]


def test_on_published_records_too_kd_against_ce_under_corruptions() -> None:
    ce, kd = (evidence(_seed_0(RECORDS / method)) for method in ("ce", "kd"))
    claim = by_claim(kd, ce, "clean", "corruption")
    assert claim == pytest.approx(by_board(kd, ce, "clean", "corruption"), abs=1e-12)
    assert claim[2]
    # By hand: each image's share of cells that are right, kd's less ce's, and the t interval of their mean.
    shares = []
    for run in (kd, ce):
        assert run.predictions is not None
        names = [n for n in run.predictions if n.startswith("clean/corruption/") and n.endswith("/correct")]
        assert len(names) == 95
        shares.append(np.mean([run.predictions[name] for name in names], axis=0))
    gaps = shares[0] - shares[1]
    half = stats.t.ppf(0.975, len(gaps) - 1) * np.sqrt(gaps.var(ddof=1) / len(gaps) + 1 / len(gaps) ** 2)
    assert claim[:2] == pytest.approx((gaps.mean() - half, gaps.mean() + half), abs=1e-4)


def _seed_0(folder: Path) -> Path:
    [path] = [path for path in folder.glob("*.json") if kdbench.read_record(path).spec.seed == 0]
    return path


def test_results_that_do_not_give_the_score_are_not_used(tmp_path: Path) -> None:
    run = read(tmp_path, make())
    [score] = run.record.select("clean", "accuracy")
    found = per_example(run, score)
    assert found is not None
    assert float(found.values.mean()) == pytest.approx(score.value)
    wrong = dataclasses.replace(found, values=~found.values)
    alone, doubtful = sample([score], [wrong])
    assert (estimate(alone).basis, doubtful) == ("score", True)
    assert (alone.interval, alone.deviations) == ((score.ci_low, score.ci_high), None)
    assert sample([score], [None])[1] is False


def test_every_bin_count_of_a_calibration_error_is_paired(tmp_path: Path) -> None:
    run = read(tmp_path, make())
    score = run.record.select("calibration", "ece")[0]
    other = score.model_copy(update={"setting": {"bins": 10}})
    found = per_example(run, other)
    assert found is not None
    assert found.correct is not None
    for bins in (0, -1, 10**6):
        assert per_example(run, score.model_copy(update={"setting": {"bins": bins}})) is None


def test_seeds_on_other_examples_have_none_in_common(tmp_path: Path) -> None:
    runs = [read(tmp_path, make(seed=seed)) for seed in (0, 1)]
    scores = [run.record.select("clean", "accuracy")[0] for run in runs]
    found = [per_example(run, score) for run, score in zip(runs, scores, strict=True)]
    assert sample(scores, found)[0].n == N
    assert found[1] is not None
    moved = [found[0], dataclasses.replace(found[1], examples="others")]
    assert sample(scores, moved)[0].deviations is None


def test_means_of_two_peers_are_paired_image_by_image() -> None:
    """As published tables compare methods that train two networks; of a part of the images as of all."""
    rng = np.random.default_rng(0)
    difficulty, samples, gaps = rng.random(N), [], []
    for method, skill in (("mkd", 0.5), ("kdcl", 0.55)):
        made = make(method)
        arrays = {name: difficulty < skill + rng.normal(0, 0.05, N) for name in ("student", "peer")}
        both = np.mean(list(arrays.values()), axis=0)
        value = float(both.mean())
        score = kdbench.Score(
            task="peers", metric="mean_accuracy", condition="clean", value=value, n=N, ci_low=value, ci_high=value
        )
        predictions = {f"clean/peers/{name}": array for name, array in arrays.items()}
        run = Evidence(made.record, Path("record.json"), None, predictions | {"clean/peers/index": np.arange(N)})
        one, contradicted = sample([score], [per_example(run, score)])
        assert not contradicted
        samples.append(one)
        gaps.append(both)
    found = difference(samples[1], samples[0])
    apart = gaps[1] - gaps[0]
    half = stats.t.ppf(0.975, N - 1) * np.sqrt(apart.var(ddof=1) / N + 1 / N**2)
    assert found.paired
    assert (found.ci_low, found.ci_high) == pytest.approx((apart.mean() - half, apart.mean() + half), abs=1e-4)


def test_images_of_two_data_sets_are_never_paired_however_many_they_are(tmp_path: Path) -> None:
    """An expectation of a reproduction may compare a method's accuracy on CIFAR-10 with that on CIFAR-100."""
    runs = [read(tmp_path, make(datasets={"digits": letter * 64}, seed=seed)) for seed, letter in enumerate("ab")]
    for task, metric in (("clean", "accuracy"), ("calibration", "ece"), ("corruption", "mca")):
        scores = [run.record.select(task, metric)[0] for run in runs]
        found = [per_example(run, score) for run, score in zip(runs, scores, strict=True)]
        one, two = (sample([score], [each])[0] for score, each in zip(scores, found, strict=True))
        assert one.n == two.n
        assert not difference(one, two).paired
