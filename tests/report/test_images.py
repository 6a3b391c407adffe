from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kdbench import corruptions
from kdbench.data import DataPlace, make_image_set
from kdbench.errors import KdbenchError
from kdbench.report import images as galleries
from kdbench.report.bench import Bench
from kdbench.report.images import MOST_IMAGES, images
from kdbench.report.parts import Card, Gallery, Missing
from kdbench.report.runs import Run, open_runs
from kdbench.results.record import Record
from kdbench.tasks.base import TestData
from kdbench.tasks.pgd import PGD
from kdbench.training.seeds import derive_seed
from tests.leaderboard.evidence import Made, make
from tests.leaderboard.student import N
from tests.report.reading import opened, with_files

CLASSES = tuple(f"class {number}" for number in range(10))


class Mean(nn.Module):
    """Answers with a class that follows from an image's mean."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.one_hot((1000 * pixels.mean((1, 2, 3))).long() % 10, 10).float()


class Shelf:
    """A bench whose test images all differ, and whose student may be there."""

    device = torch.device("cpu")

    def __init__(self, labels: Any, student: nn.Module | None = None) -> None:
        generator = torch.Generator().manual_seed(3)
        pixels = torch.randint(0, 256, (len(labels), 3, 32, 32), dtype=torch.uint8, generator=generator)
        labels = torch.as_tensor(np.asarray(labels)).long()
        self.dataset = SimpleNamespace(test=make_image_set("shelf", pixels, labels, CLASSES))
        self.student = student

    def predictor(self, run: Run, condition: str) -> nn.Module:
        if self.student is None:
            raise KdbenchError("no checkpoint")
        return self.student


def labels_of(made: Made) -> Any:
    return made.predictions.get("clean/clean/label", np.arange(N) % 10)


def gallery(run: Run, bench: Shelf | Bench) -> Gallery:
    [found] = images([run], bench)  # type: ignore[arg-type]  # a shelf is as much of a bench as it asks
    assert isinstance(found, Gallery)
    return found


def rows(found: Gallery) -> list[dict[str, Any]]:
    return [dict(zip(found.table.columns, row, strict=True)) for row in found.table.rows]


def pixels(png: bytes) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(png)))).permute(2, 0, 1)


@pytest.fixture
def made() -> Made:
    return make("ce", skill=0.7)


def test_images_stand_under_the_mistake_that_the_results_say(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(galleries, "SURE", 0.5)  # the made-up student is never surer where it is wrong
    [run] = opened(tmp_path, made)
    kept = made.predictions
    correct, sure = kept["clean/clean/correct"], kept["clean/calibration/confidence"]
    place = {int(image): number for number, image in enumerate(kept["clean/pgd/index"])}
    found = rows(gallery(run, Shelf(labels_of(made))))
    assert len(found) == len({(row["condition"], row["kind"], row["image"]) for row in found})
    kinds = {row["kind"] for row in found if row["condition"] == "clean"}
    assert {"Wrong", "Wrong with a confidence of at least 50 %", "Right as they are, wrong under mCA"} <= kinds
    for row in (row for row in found if row["condition"] == "clean"):
        assert row["confidence"] == float(sure[row["image"]])
        assert correct[row["image"]] == row["kind"].startswith("Right")
        if "confidence" in row["kind"]:
            assert row["confidence"] >= 0.5
        if "PGD" in row["kind"]:
            assert not kept["clean/pgd/pgd-std-20/correct"][place[row["image"]]]
        if "mCA" in row["kind"]:
            name = "-".join(row["version"].replace(" severity", "").rsplit(" ", 1)).replace(" ", "_")
            index = kept["clean/corruption/index"].tolist().index(row["image"])
            assert not kept[f"clean/corruption/{name}/correct"][index]
            cells = [a[index] for key, a in kept.items() if key.startswith("clean/corruption/") and "-" in key]
            assert f"mCA: wrong in {sum(not cell for cell in cells)} of {len(cells)}" in row["known"]


def test_a_kind_says_how_many_of_how_many_and_is_drawn_the_same_each_time(made: Made, tmp_path: Path) -> None:
    [run] = opened(tmp_path, made)
    first, again = (gallery(run, Shelf(labels_of(made))) for _ in range(2))
    assert first == again
    wrong = int((~made.predictions["clean/clean/correct"]).sum())
    assert first.groups[0].said == f"{MOST_IMAGES} shown of {wrong:,} such images; {N:,} were measured."
    assert all(len(group.cards) <= MOST_IMAGES for group in first.groups)


def corrupted(found: Gallery) -> list[tuple[dict[str, Any], Card]]:
    [group] = [group for group in found.groups if group.title.endswith("wrong under mCA (clean)")]
    own = [row for row in rows(found) if (row["condition"], row["kind"]) == ("clean", group.title[: -len(" (clean)")])]
    return list(zip(own, group.cards, strict=True))


def test_corrupted_images_are_those_that_were_measured(made: Made, tmp_path: Path) -> None:
    [run] = opened(tmp_path, made)
    bench = Shelf(labels_of(made))
    index = torch.from_numpy(made.predictions["clean/corruption/index"])
    for row, card in corrupted(gallery(run, bench)):
        [(_, plain), (_, changed)] = card.images
        assert torch.equal(pixels(plain), bench.dataset.test.images[row["image"]])
        *words, severity = row["version"].replace(" severity", "").split()
        name = "_".join(words)
        generator = torch.Generator().manual_seed(derive_seed(0, "corruption", name, int(severity)))
        every = corruptions.corrupt(bench.dataset.test.images[index], name, int(severity), generator=generator)
        assert torch.equal(pixels(changed), every[index.tolist().index(row["image"])])


def test_without_a_checkpoint_adversarial_images_are_not_made_up(made: Made, tmp_path: Path) -> None:
    [run] = opened(tmp_path, made)
    groups = [group for group in gallery(run, Shelf(labels_of(made))).groups if "PGD" in group.title]
    assert groups and all(len(card.images) == 1 for group in groups for card in group.cards)
    assert all("could not be made again: no checkpoint" in group.said for group in groups)


def on_digits(trained: tuple[Record, Path]) -> tuple[Run, Bench]:
    [run] = open_runs([trained[1]])
    return run, Bench([run], DataPlace.default(None), torch.device("cpu"))


def test_attacked_images_are_near_and_fool_the_student_as_in_the_record(trained: tuple[Record, Path]) -> None:
    run, bench = on_digits(trained)
    task, settings = PGD(), PGD().settings_in(run.record.spec.suite)
    index = torch.from_numpy(run.predictions()["clean/pgd/index"])
    score, *_ = [one for one in run.record.scores if task.results_key(one) == "pgd-std-3/correct"]
    student, rows = bench.predictor(run, "clean"), torch.arange(len(index))
    data = TestData(bench.dataset.test)
    found = task.attacked(score, student, data, index, rows, settings, torch.device("cpu"))
    assert found is not None and found.shape == bench.dataset.test.images[index].shape
    away = (found - bench.dataset.test.images[index].float() / 255).abs()
    assert settings.eps / 2 < float(away.max()) <= settings.eps + 1e-6
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    right = (student(found).argmax(1) == bench.dataset.test.labels[index]).numpy()
    assert np.array_equal(right, run.predictions()["clean/pgd/pgd-std-3/correct"])
    some = torch.tensor([7, 2])
    again = task.attacked(score, student, data, index, some, settings, torch.device("cpu"))
    assert again is not None and torch.allclose(again, found[some], atol=settings.eps / 100)


def test_what_cannot_be_attacked_again_is_none(trained: tuple[Record, Path]) -> None:
    run, bench = on_digits(trained)
    task, settings = PGD(), PGD().settings_in(run.record.spec.suite)
    rest = bench.predictor(run, "clean"), TestData(bench.dataset.test), torch.arange(4), torch.arange(2), settings
    known = next(one for one in run.record.scores if task.results_key(one) == "pgd-std-3/correct")
    for odd in ({"votes": 32}, {"steps": 99}, {"variant": "none"}, {"rule": "any"}):
        score = known.model_copy(update={"setting": {**known.setting, **odd}})
        assert task.attacked(score, *rest, torch.device("cpu")) is None


def test_an_attacked_image_stands_beside_its_difference_and_both_answers(
    trained: tuple[Record, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bench = on_digits(trained)
    eps, test, student = 0.031, bench.dataset.test, bench.predictor(run, "clean")
    found = gallery(run, bench)
    [group] = [group for group in found.groups if "wrong under PGD" in group.title]
    own = [row for row in rows(found) if f"{row['kind']} ({row['condition']})" == group.title]
    assert len(own) == len(group.cards) > 0
    assert "no pixel further away than 7.91/255, and the difference, 16 times magnified" in group.said
    assert f"{len(own)} of {len(own)} are wrong again, as in the record" in group.said
    for row, card in zip(own, group.cards, strict=True):
        plain, changed, difference = (pixels(png).float() / 255 for _, png in card.images)
        assert torch.equal(plain, test.images[row["image"]].float() / 255)
        away = changed - plain
        assert float(away.abs().max()) <= eps + 0.5 / 255
        assert float((difference - (0.5 + 16 * away).clamp(0, 1)).abs().max()) <= 17 * 0.5 / 255 + 1e-6
        assert row["version_predicted"] != row["true_class"] == row["predicted"]
        answers = student(torch.stack([plain, changed])).softmax(1)
        assert float(answers[0].max()) == pytest.approx(row["confidence"], abs=1e-4)
        assert float(answers[1].max()) == pytest.approx(row["version_confidence"], abs=0.05), "up to 8 bits of a PNG"
        said = f"taken for {row['version_predicted']}, {100 * row['version_confidence']:.0f} %"
        assert any(line == f"{row['version']}: {said}" for line in card.lines)
    monkeypatch.setattr(PGD, "attacked", lambda self, score, predictor, data, index, rows, *rest:
                        data.test.images[index[rows]].float() / 255)  # fmt: skip
    [group] = [group for group in gallery(run, bench).groups if "wrong under PGD" in group.title]
    assert f"0 of {len(own)} are wrong again, as in the record, the others are right" in group.said
    assert all("right here, wrong in the record" in " ".join(card.lines) for card in group.cards)


def test_adversarial_images_of_another_student_are_not_shown(
    trained: tuple[Record, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bench = on_digits(trained)
    other = nn.Sequential(nn.Flatten(), nn.Linear(bench.dataset.test.images[0].numel(), 10)).requires_grad_(False)
    for tensor in other.parameters():
        tensor.zero_()
    monkeypatch.setattr(bench, "predictor", lambda run, condition: other)
    [group] = [group for group in gallery(run, bench).groups if "wrong under PGD" in group.title]
    assert all(len(card.images) == 1 for card in group.cards)
    assert "answers otherwise than the record says" in group.said


def test_a_student_that_answers_otherwise_shows_no_corrupted_images(made: Made, tmp_path: Path) -> None:
    """Its answers are the proof that images are those that were measured."""
    [run] = opened(tmp_path, made)
    assert all(len(card.images) == 1 for _, card in corrupted(gallery(run, Shelf(labels_of(made), Mean()))))


def test_a_student_that_answers_as_measured_names_its_answers(made: Made, tmp_path: Path) -> None:
    labels, student = labels_of(made), Mean()
    bench, kept = Shelf(labels), dict(made.predictions)
    index = torch.from_numpy(kept["clean/corruption/index"])
    answers = {}
    for name in corruptions.NAMES:
        for severity in corruptions.SEVERITIES:
            generator = torch.Generator().manual_seed(derive_seed(0, "corruption", name, severity))
            every = corruptions.corrupt(bench.dataset.test.images[index], name, severity, generator=generator)
            answer = student(every.float() / 255).argmax(1)
            answers[f"{name.replace('_', ' ')} severity {severity}"] = answer
            kept[f"clean/corruption/{name}-{severity}/correct"] = (answer == bench.dataset.test.labels[index]).numpy()
    [run] = opened(tmp_path, with_files(made, predictions=kept))
    found = corrupted(gallery(run, Shelf(labels, student)))
    assert found
    for row, card in found:
        answer = int(answers[row["version"]][index.tolist().index(row["image"])])
        assert len(card.images) == 2 and f"{row['version']}: taken for class {answer}, 23 %" in card.lines


def test_images_of_another_device_are_not_made_again(made: Made, tmp_path: Path) -> None:
    provenance = made.record.provenance.model_copy(update={"device": "cuda"})
    [run] = opened(tmp_path, made.changed(provenance=provenance))
    assert all(len(card.images) == 1 for _, card in corrupted(gallery(run, Shelf(labels_of(made)))))


def test_what_is_too_large_for_the_page_is_left_out_and_counted(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run] = opened(tmp_path, made)
    monkeypatch.setattr(galleries, "MOST_BYTES", 20_000)
    first, *others = gallery(run, Shelf(labels_of(made))).groups
    used = sum(len(png) for group in (first, *others) for card in group.cards for _, png in card.images)
    assert 0 < used <= 20_000
    assert f"{len(first.cards)} shown of" in first.said and "more are too large for the page" in first.said


@pytest.mark.parametrize(
    "index", [np.array([-1, 5]), np.array([0, 10**6]), np.array([0.5, 1.5]), np.zeros((2, 2), int)]
)
def test_indices_that_name_no_test_image_are_ignored(made: Made, tmp_path: Path, index: Any) -> None:
    kept = {**made.predictions, "clean/pgd/index": index}
    [run] = opened(tmp_path, with_files(made, predictions=kept))
    assert not [group for group in gallery(run, Shelf(labels_of(made))).groups if "PGD" in group.title]


def test_answers_that_contradict_the_right_ones_are_named(made: Made, tmp_path: Path) -> None:
    labels = labels_of(made)
    kept = {**made.predictions, "clean/clean/answer": (labels + 1).astype(np.int16) % 10}
    [run] = opened(tmp_path, with_files(made, predictions=kept))
    [gap] = images([run], Shelf(labels))  # type: ignore[arg-type]  # as above
    assert isinstance(gap, Missing) and "contradict" in gap.reasons[0]


def test_a_model_that_was_measured_on_a_part_is_named(made: Made, tmp_path: Path) -> None:
    [run] = opened(tmp_path, made)
    part = run.record.model_copy(update={"spec": run.record.spec.model_copy(update={"examples": 100})})
    [gap] = images([dataclasses.replace(run, record=part)], Shelf(labels_of(made)))  # type: ignore[arg-type]  # as above
    assert isinstance(gap, Missing) and "a part of the test images" in gap.reasons[0]
