from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdbench import corruptions, metrics
from kdbench.results import figures
from kdbench.results.record import Score


def score(
    value: float, metric: str = "accuracy", condition: str = "clean", n: int = 50, task: str = "any", **setting: Any
) -> Score:
    low, high = metrics.wilson_interval(value * n, n)
    return Score(
        task=task, metric=metric, condition=condition, setting=setting, value=value, n=n, ci_low=low, ci_high=high
    )


def test_corruption_map_is_corruptions_by_severities_with_gaps_as_nan() -> None:
    scores = [
        score(0.01 * row + 0.1 * severity, corruption=name, severity=severity, images="generated")
        for row, name in enumerate(corruptions.NAMES)
        for severity in corruptions.SEVERITIES
        if (name, severity) != ("fog", 3)
    ]
    others = [score(0.9), score(0.8, corruption="fog", severity=3, condition="sym-40"), score(0.5, "mca", images="x")]
    [found] = figures.corruption_maps([*others, *scores], "clean").values()
    assert found.corruptions == corruptions.NAMES
    assert found.severities == (1, 2, 3, 4, 5)
    assert found.value.shape == (19, 5)
    assert found.value[2, 4] == pytest.approx(0.52)
    assert np.argwhere(np.isnan(found.value)).tolist() == [[corruptions.NAMES.index("fog"), 2]]
    assert found.by_corruption[1] == pytest.approx(0.01 + 0.3)
    assert (found.ci_low <= found.value)[~np.isnan(found.value)].all()
    assert found.n == 50
    assert figures.corruption_maps(others[:1], "clean") == {}


def test_step_lines_are_sorted_by_k_and_split_by_everything_else() -> None:
    scores = [
        score(0.8 - 0.1 * k - (0.05 if rule == "any" else 0), "accuracy_at_step", variant="std", steps=k, rule=rule)
        for k in (2, 0, 1)
        for rule in ("last", "any")
    ]
    lines = figures.step_lines([*scores, score(0.1, "robust_accuracy", steps=2)], "clean")
    assert [line.label for line in lines] == ["last", "any"], "a plot says once what its lines have in common"
    assert lines[0].x.tolist() == [0, 1, 2]
    assert lines[0].value == pytest.approx([0.8, 0.7, 0.6])
    assert (lines[1].ci_low < lines[1].value).all()
    assert lines[1].setting == {"variant": "std", "rule": "any"}


def test_steps_that_are_no_numbers_have_no_curve() -> None:
    hostile = [score(0.5, "accuracy_at_step", steps=steps) for steps in ("many", "nan", True, 10**400)]
    assert figures.step_lines(hostile, "clean") == []
    [curve] = figures.step_lines([*hostile, score(0.4, "accuracy_at_step", steps=3)], "clean")
    assert curve.x.tolist() == [3]


def test_transfer_table_has_both_accuracies_of_each_source() -> None:
    scores = [score(0.2, source="teacher"), score(0.1, source="self")]
    scores.append(score(0.3, "conditional_accuracy", n=40, source="teacher"))
    [found] = figures.transfer_tables(scores, "clean").values()
    assert found.sources == ("teacher", "self")
    assert [one.value for one in found.accuracy] == [0.2, 0.1]
    assert [one and one.n for one in found.conditional] == [40, None]
    assert figures.transfer_tables(scores, "sym-40") == {}


def test_a_table_is_of_one_task() -> None:
    """Another task had the white box of the teacher, .838, in the place of the student's own, .041."""
    student = [score(0.5, task="transfer", source="teacher"), score(0.041, task="transfer", source="self")]
    teacher = [
        score(value, task="teacher_transfer", source=source)
        for source, value in {"none": 0.95, "student": 0.9, "teacher": 0.838, "self": 0.7}.items()
    ]
    for scores in ([*teacher, *student], [*student, *teacher]):
        found = figures.transfer_tables(scores, "clean")
        assert {task: table.sources for task, table in found.items()} == {
            "transfer": ("teacher", "self"),
            "teacher_transfer": ("none", "student", "teacher", "self"),
        }
        assert [one.value for one in found["transfer"].accuracy] == [0.5, 0.041]
        assert [one.value for one in found["teacher_transfer"].accuracy] == [0.95, 0.9, 0.838, 0.7]


def test_a_corruption_map_and_a_curve_are_of_one_task() -> None:
    cells = [score(value, task=task, corruption="fog", severity=1) for task, value in {"a": 0.1, "b": 0.9}.items()]
    found = figures.corruption_maps([*cells, score(0.5, task="b", corruption="snow", severity=1)], "clean")
    assert {task: one.value.ravel().tolist() for task, one in found.items()} == {"a": [0.1], "b": [0.9, 0.5]}
    steps = [score(value, "accuracy_at_step", task=task, steps=1) for task, value in {"a": 0.1, "b": 0.9}.items()]
    lines = figures.step_lines(steps, "clean")
    assert [(line.label, line.x.tolist(), line.value.tolist()) for line in lines] == [
        ("a", [1], [0.1]), ("b", [1], [0.9]),
    ]  # fmt: skip


def test_reliability_equals_the_metric_that_sees_all_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(400, 10, generator=generator).mul(3).softmax(1)
    probabilities[0] = torch.tensor([0.2, *[0.8 / 9] * 9])  # confidence on an edge
    labels = torch.randint(10, (400,), generator=generator)
    expected = metrics.reliability_bins(probabilities, labels, bins=15)
    found = figures.reliability(probabilities.amax(1).numpy(), probabilities.argmax(1).eq(labels).numpy(), bins=15)
    filled = found.count > 0
    assert found.count.tolist() == expected.count.tolist()
    assert found.accuracy[filled] == pytest.approx(expected.accuracy.numpy()[filled])
    assert found.confidence[filled] == pytest.approx(expected.confidence.numpy()[filled])
    assert np.isnan(found.accuracy[~filled]).all()
    assert found.ece == metrics.expected_calibration_error(probabilities, labels, bins=15)
    largest = int(found.count.argmax())
    n = int(found.count[largest])
    interval = metrics.wilson_interval(round(found.accuracy[largest] * n), n)
    assert (found.ci_low[largest], found.ci_high[largest]) == pytest.approx(interval)


def test_reliability_by_hand() -> None:
    """Bins (0, .25], (.25, .5], (.5, .75], (.75, 1]: .5 lies on an edge and belongs below it."""
    confidence = np.array([0.5, 0.5, 0.6, 0.9, 1.0])
    found = figures.reliability(confidence, np.array([True, False, False, True, True]), bins=4)
    assert found.lower.tolist() == [0, 0.25, 0.5, 0.75]
    assert found.upper.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.count.tolist() == [0, 2, 1, 2]
    assert found.accuracy[1:].tolist() == [0.5, 0, 1]
    assert found.confidence[1:] == pytest.approx([0.5, 0.6, 0.95])
    assert found.ece == pytest.approx((2 * 0 + 1 * 0.6 + 2 * 0.05) / 5)
    assert (found.ci_low[3], found.ci_high[3]) == metrics.wilson_interval(2, 2)
    assert np.isnan([found.accuracy[0], found.confidence[0], found.ci_low[0], found.ci_high[0]]).all()


@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8"])
def test_reliability_of_any_floating_array(precision: Any) -> None:
    found = figures.reliability(np.array([0.25, 0.75, 1.0], dtype=precision), np.array([True, False, True]), bins=4)
    assert found.count.tolist() == [1, 0, 1, 1]
    assert found.ece == pytest.approx((0.75 + 0.75 + 0) / 3)


def test_reliability_of_a_run_finds_the_accuracy_on_the_same_images() -> None:
    predictions = {
        "clean/calibration/confidence": np.array([0.9, 0.6], dtype=np.float32),
        "clean/ood/some/correct": np.array([False, False]),
        "clean/fewer/correct": np.array([True]),
        "clean/clean/correct": np.array([True, False]),
        "sym-40/calibration/confidence": np.array([0.9, 0.6], dtype=np.float32),
    }
    found = figures.reliability_of(predictions, "clean", bins=2)
    assert found is not None
    assert found.accuracy[1] == 0.5
    assert figures.reliability_of(predictions, "sym-40") is None
    for hostile in (np.array([np.nan, 0.5]), np.array([0.5, 7.0]), np.array(["a", "b"]), np.zeros((2, 2))):
        assert figures.reliability_of({**predictions, "clean/calibration/confidence": hostile}, "clean") is None


def test_curves_keep_every_number_and_say_where_the_peak_was() -> None:
    accuracies = [0.3, 0.7, 0.5]
    log = [
        {
            "condition": "clean",
            "epoch": epoch,
            "loss": 1 / epoch,
            "test_accuracy": accuracy,
            "test_n": 200,
            "swaps": 7.0,
        }
        for epoch, accuracy in enumerate(accuracies, 1)
    ]
    found = figures.curves([*reversed(log), {"condition": "other", "epoch": 1, "loss": 2.0}])
    assert list(found) == ["clean", "other"]
    clean = found["clean"]
    assert clean.epoch.tolist() == [1, 2, 3]
    assert clean.series["test_accuracy"].tolist() == accuracies
    assert list(clean.own) == ["swaps"]
    assert clean.test_n == 200
    overfitting = clean.overfitting()
    assert overfitting is not None
    assert (overfitting.peak_epoch, overfitting.last_epoch) == (2, 3)
    assert overfitting.drop == pytest.approx(0.2)
    assert found["other"].overfitting() is None


def test_curves_of_an_untrusted_log() -> None:
    log: list[dict[str, Any]] = [
        {"condition": "clean", "epoch": 1, "loss": 10**400, "test_accuracy": "<script>", "test_n": -3},
        {"condition": "clean", "epoch": 2, "loss": float("nan"), "seconds": True, "lr": 0.1},
        {"condition": ["clean"], "epoch": 1}, {"epoch": 1}, {"condition": "clean", "epoch": "2"}, {},
    ]  # fmt: skip
    found = figures.curves(log)["clean"]
    assert found.epoch.tolist() == [1, 2]
    assert np.isnan(found.series["loss"]).all()
    assert set(found.series) == {"loss", "lr"}
    assert found.test_n is None
    assert found.overfitting() is None


def test_magnitudes_count_every_output_once() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    everything, largest = figures.magnitudes(probabilities, bins=10)
    assert everything.sum() == pytest.approx(1)
    assert largest.sum() == pytest.approx(1)
    assert everything[9] == pytest.approx(((probabilities >= 0.9) & (probabilities <= 1)).mean())
    assert largest[:2].sum() == 0  # the largest of four is at least a quarter
    certain, _ = figures.magnitudes(np.eye(3), bins=10)
    assert (certain[0], certain[9]) == pytest.approx((2 / 3, 1 / 3))


def bins(*shares: float, network: str = "student", outputs: str = "all", condition: str = "clean") -> list[Score]:
    return [
        score(share, "output_share", condition, network=network, outputs=outputs, low=i / 4, high=(i + 1) / 4)
        for i, share in enumerate(shares)
    ]


def test_histograms_of_softmax_outputs_by_network_from_scores() -> None:
    scores = [*bins(0.1, 0.2, 0.3, 0.4), *bins(1, 0, 0, 0, network="teacher"), *bins(1, 0, 0, 0, condition="sym-40")]
    student, teacher = figures.histograms([score(0.5), *reversed(scores)], "clean")[::-1]
    assert (student.network, student.outputs, student.n) == ("student", "all", 50)
    assert student.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert student.share.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert (student.ci_low < student.share).all()
    assert teacher.share.tolist() == [1, 0, 0, 0]


def test_bins_that_do_not_join_are_no_histogram() -> None:
    gap = [*bins(0.1, 0.2)[:1], *bins(0.1, 0.2, 0.3)[2:]]
    nothing = score(0.5, "output_share", network="student", outputs="all", low="none", high=1)
    assert figures.histograms([*gap, nothing], "clean") == []


def test_a_matrix_of_sources_and_targets_is_told_by_both() -> None:
    cells = [score(value, task="matrix", source=source, target=target)
             for value, source, target in ((0.1, "a", "a"), (0.2, "a", "b"), (0.3, "b", "a"))]  # fmt: skip
    table = figures.transfer_tables(cells, "clean")["matrix"]
    assert table.sources == ("a on a", "a on b", "b on a")
    assert [one.value for one in table.accuracy] == [0.1, 0.2, 0.3]
