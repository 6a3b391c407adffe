from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from kdbench.corruptions import NAMES, PublishedArrays, corrupt
from kdbench.data import make_image_set
from kdbench.errors import KdbenchError
from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult
from kdbench.tasks import TestData
from kdbench.tasks.corruption import Corruption
from kdbench.tasks.scorecard import Scorecard
from tests.tasks.helpers import Nearest, assert_share, flat, image_set, measure, one, select

CELLS = [(name, severity) for name in NAMES for severity in (1, 2, 3, 4, 5)]
TWO = (100, 150)


class Seeing(Nearest):
    """Remembers every batch of images it was shown, as bytes."""

    def __init__(self) -> None:
        super().__init__(TWO)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((images * 255).round().byte())
        return super().forward(images)


def pictures(count: int = 16) -> TestData:
    """Random pictures of two classes, dim or bright red, a quarter of them with the wrong label."""
    random = np.random.default_rng(5)
    labels = [number % 2 for number in range(count)]
    centre = np.array([TWO[label if number % 4 else 1 - label] for number, label in enumerate(labels)])
    levels = centre[:, None, None, None] + random.integers(-15, 16, (count, 1, 1, 1))
    levels = levels + random.integers(-60, 61, (count, 3, 32, 32))
    images = torch.from_numpy(np.clip(levels, 0, 255).astype(np.uint8))
    return TestData(image_set(images, labels, classes=2))


@pytest.fixture(scope="module")
def generated() -> tuple[TaskResult, Seeing]:
    model = Seeing()
    return measure(Corruption(), model, pictures(), subset=12), model


def test_ninety_five_cells_and_their_means(generated: tuple[TaskResult, Seeing]) -> None:
    outcome, _ = generated
    data = pictures()
    index = outcome.correct["index"]
    assert len(index) == 12
    pixels = data.test.images.numpy()[:, 0].mean((1, 2))
    clean = ((pixels > 125) == data.test.labels.numpy())[index.numpy()]
    assert 0 < clean.sum() < 12
    cells = select(outcome, "accuracy")
    assert [(score.setting["corruption"], score.setting["severity"]) for score in cells] == CELLS
    drawn = {"seed": 0, "subset": 12, "subset_seed": 0}
    kept = {cell: outcome.correct[f"{cell[0]}-{cell[1]}/correct"].numpy() for cell in CELLS}
    for score, (name, severity) in zip(cells, CELLS, strict=True):
        assert_share(score, kept[name, severity].sum(), 12)
        assert score.setting == {"corruption": name, "severity": severity, "images": "generated", **drawn}
    by_corruption = [np.mean([kept[name, severity].mean() for severity in (1, 2, 3, 4, 5)]) for name in NAMES]
    assert len(by_corruption) == 19
    mca, conditional = one(outcome, "mca"), one(outcome, "conditional_mca")
    assert mca.value == pytest.approx(np.mean(by_corruption), abs=1e-12)
    ratios = [(kept[cell] & clean).sum() / clean.sum() for cell in CELLS]
    assert conditional.value == pytest.approx(np.mean(ratios), abs=1e-12)
    assert (mca.n, conditional.n) == (12, clean.sum())
    assert mca.setting == conditional.setting == {"images": "generated", **drawn}
    assert mca.value != conditional.value
    assert len(outcome.scores) == 97
    assert len({score.value for score in cells}) > 2, "the cells must differ to tell the means apart"


def test_the_interval_of_a_mean_is_that_of_as_many_images_as_a_cell_shows(generated: tuple[TaskResult, Seeing]) -> None:
    mca = one(generated[0], "mca")
    low, high = (binomtest(k, 12).proportion_ci(0.95, "wilson") for k in (int(mca.value * 12), int(mca.value * 12) + 1))
    assert low.low <= mca.ci_low <= high.low
    assert low.high <= mca.ci_high <= high.high
    assert mca.ci_low < mca.value < mca.ci_high


def test_the_images_are_those_of_the_subset_corrupted(generated: tuple[TaskResult, Seeing]) -> None:
    outcome, model = generated
    images = pictures().test.images[outcome.correct["index"]]
    corrupted = model.seen[-95:]  # behind the clean test set and a few trials
    assert len(corrupted) == len(CELLS)
    for number, (name, severity) in enumerate(CELLS):
        if name in ("brightness", "contrast", "pixelate", "jpeg_compression", "saturate"):
            assert torch.equal(corrupted[number], corrupt(images, name, severity)), (name, severity)
        assert corrupted[number].shape == images.shape
        assert not torch.equal(corrupted[number], images), (name, severity)


def test_one_seed_one_set_of_images(generated: tuple[TaskResult, Seeing]) -> None:
    outcome, model = generated
    again, other = Seeing(), Seeing()
    assert measure(Corruption(), again, pictures(), subset=12).scores == outcome.scores
    assert all(torch.equal(*pair) for pair in zip(again.seen, model.seen, strict=True))
    measure(Corruption(), other, pictures(), subset=12, seed=1)
    same = {cell for cell, *pair in zip(CELLS, other.seen[-95:], model.seen[-95:], strict=True) if torch.equal(*pair)}
    assert {name for name, _ in same} >= {"brightness", "contrast", "pixelate", "jpeg_compression"}
    assert not {name for name, _ in same} & {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "fog"}


def test_noise_of_two_severities_is_drawn_apart(generated: tuple[TaskResult, Seeing]) -> None:
    """Were one stream used for all severities, the noise would be the same up to its strength."""
    outcome, model = generated
    images = pictures().test.images[outcome.correct["index"]].int()
    first, second = (model.seen[-95 + CELLS.index(("gaussian_noise", s))].int() - images for s in (1, 5))
    correlation = np.corrcoef(first.flatten().numpy(), second.flatten().numpy())[0, 1]
    assert abs(correlation) < 0.05


def test_no_conditional_mean_where_nothing_was_right(tmp_path: Path) -> None:
    table = np.zeros((19, 5, 2), dtype=bool)
    data = TestData(image_set(flat([100, 102]), [1, 1], classes=2), published_corruptions=whole(tmp_path))
    _publish(tmp_path, data, table)
    outcome = measure(Corruption(), Nearest(TWO), data)
    assert not select(outcome, "conditional_mca")
    assert one(outcome, "mca").value == 0


def whole(folder: Path) -> PublishedArrays:
    return PublishedArrays(folder, dict.fromkeys(NAMES, 5))


ROWS = (17, 4321, 9999, 0, 250, 5)


def _publish(folder: Path, data: TestData, table: np.ndarray) -> None:
    """Arrays of the published shape, mostly holes: image i of the set is right in a cell where the table says so."""
    for c, name in enumerate(NAMES):
        shape = (50_000, 32, 32, 3)
        array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
        for s, i in np.ndindex(5, len(data.test)):
            label = int(data.test.labels[i])
            shown = label if table[c, s, i] else 1 - label
            array[10_000 * s + int(data.test.source_index[i])] = (TWO[shown], 7, 9)
        array.flush()


def test_published_arrays_are_used_and_paired_by_the_source_order(tmp_path: Path) -> None:
    images = flat([100, 101, 103, 150, 149, 104])
    made = make_image_set(
        "made/test", images, torch.tensor([0, 0, 0, 1, 1, 1]), ("a", "b"), "official archive", torch.tensor(ROWS)
    )
    assert made.source_index.tolist() != list(ROWS), "the canonical order must differ from the source's"
    data = TestData(made, published_corruptions=whole(tmp_path))
    table = np.random.default_rng(0).random((19, 5, 6)) < 0.7
    _publish(tmp_path, data, table)
    outcome = measure(Corruption(), Nearest(TWO), data)
    for (c, name), s in ((pair, s) for pair in enumerate(NAMES) for s in range(5)):
        assert np.array_equal(outcome.correct[f"{name}-{s + 1}/correct"].numpy(), table[c, s]), (name, s)
        score = one(outcome, "accuracy", corruption=name, severity=s + 1)
        assert score.setting["images"] == "published"
    assert one(outcome, "mca").setting == {"images": "published", "seed": 0}
    assert one(outcome, "mca").value == pytest.approx(table.mean(), abs=1e-12)
    seen = made.images.numpy()[:, 0, 0, 0]
    clean = (seen > 125) == made.labels.numpy()
    assert clean.sum() == 5
    assert one(outcome, "conditional_mca").value == pytest.approx(table[:, :, clean].mean(), abs=1e-12)

    part = measure(Corruption(), Nearest(TWO), data, subset=4)
    index = part.correct["index"].numpy()
    assert len(index) == 4
    assert one(part, "mca").value == pytest.approx(table[:, :, index].mean(), abs=1e-12)


def test_what_is_not_published_is_generated_and_the_scores_say_which(
    tmp_path: Path, generated: tuple[TaskResult, Seeing]
) -> None:
    """Fog without its last two severities, and no snow: these three cells and the mean are as expected."""
    there = dict.fromkeys(NAMES, 5) | {"fog": 3}
    del there["snow"]
    data = dataclasses.replace(pictures(), published_corruptions=PublishedArrays(tmp_path, there))
    _publish(tmp_path, data, np.ones((19, 5, len(data.test)), dtype=bool))
    outcome = measure(Corruption(), Nearest(TWO), data, subset=12)
    made = {("fog", 4), ("fog", 5), *(("snow", severity) for severity in range(1, 6))}
    for name, severity in CELLS:
        score = one(outcome, "accuracy", corruption=name, severity=severity)
        is_made = (name, severity) in made
        assert score.setting["images"] == ("generated" if is_made else "published")
        assert score.value == (
            one(generated[0], "accuracy", corruption=name, severity=severity).value if is_made else 1
        )
    rest = [one(generated[0], "accuracy", corruption=name, severity=severity).value for name, severity in made]
    mca = one(outcome, "mca")
    assert mca.setting["images"] == "published but for snow; severities 4-5 of fog"
    assert mca.value == pytest.approx((88 + sum(rest)) / 95, abs=1e-12)


def test_published_arrays_that_are_missing_are_an_error_and_nothing_is_generated(tmp_path: Path) -> None:
    data = dataclasses.replace(pictures(), published_corruptions=whole(tmp_path))
    with pytest.raises(KdbenchError, match="gaussian_noise.npy"):
        measure(Corruption(), Nearest(TWO), data, subset=2)


def test_making_the_images_part_by_part_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = Seeing(), Seeing()
    measure(Corruption(), whole, pictures(300))
    monkeypatch.setattr("kdbench.tasks.corruption.PART", 256)
    measure(Corruption(), parts, pictures(300))
    # The clean images come first; then each variant in batches, however long these are.
    assert torch.equal(torch.cat(whole.seen), torch.cat(parts.seen))


@pytest.fixture(scope="module")
def by_corruption() -> TaskResult:
    return measure(Corruption(), Seeing(), pictures(), subset=12, by_corruption=True)


def test_each_corruption_by_itself_where_it_is_asked_for(
    generated: tuple[TaskResult, Seeing], by_corruption: TaskResult
) -> None:
    """All else stays as it is, to the last bit."""
    plain, outcome = generated[0], by_corruption
    own = ("mean_accuracy", "mean_conditional_accuracy")
    assert [score for score in outcome.scores if score.metric not in own] == plain.scores
    pixels = pictures().test.images.numpy()[:, 0].mean((1, 2))
    clean = ((pixels > 125) == pictures().test.labels.numpy())[outcome.correct["index"].numpy()]
    for name in NAMES:
        cells = np.stack([outcome.correct[f"{name}-{severity}/correct"].numpy() for severity in (1, 2, 3, 4, 5)])
        mean, conditional = (one(outcome, metric, corruption=name) for metric in own)
        assert mean.value == pytest.approx(cells.mean(), abs=1e-12)
        assert conditional.value == pytest.approx(np.mean([(c & clean).sum() / clean.sum() for c in cells]), abs=1e-12)
        assert (mean.n, conditional.n) == (12, clean.sum())
        assert "severity" not in mean.setting
    assert len({score.value for score in select(outcome, own[1])}) > 1, "the corruptions must differ"
    means = [np.mean([score.value for score in select(outcome, metric)]) for metric in own]
    assert means == pytest.approx([one(outcome, metric).value for metric in ("mca", "conditional_mca")])


def test_a_mean_that_is_not_its_cells_is_found(by_corruption: TaskResult) -> None:
    outcome = by_corruption

    def objections(scores: list[Score]) -> list[str]:
        results = {f"corruption/{name}": values.numpy() for name, values in outcome.correct.items()}
        card = Scorecard("corruption", Corruption.Settings(subset=12), tuple(scores), (), results, ())
        return [str(found.subject and found.subject.metric) for found in Corruption().audit(card)]

    assert objections(outcome.scores) == []
    for metric in ("mca", "mean_accuracy"):
        first = next(score for score in outcome.scores if score.metric == metric)
        forged = first.model_copy(update={"value": first.value / 2 + 0.1})
        assert objections([forged if score is first else score for score in outcome.scores]) == [metric]
