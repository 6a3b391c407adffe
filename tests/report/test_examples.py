from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench import corruptions
from kdbench.data import DataPlace, make_image_set
from kdbench.errors import KdbenchError
from kdbench.report.bench import Bench
from kdbench.report.examples import IMAGES, NOT, SEED, examples
from kdbench.report.runs import Run, open_runs
from kdbench.results.record import Record
from kdbench.specs import AttackBudget
from kdbench.suites import load_suite
from tests.leaderboard.evidence import make
from tests.report.reading import column, only_plot, opened, plots_and_gaps, rows

CPU = torch.device("cpu")


class Halves(nn.Module):
    """Sure of class 0 where the left half of an image is brighter than the right, of class 1 otherwise."""

    def forward(self, images: Tensor) -> Tensor:
        left, right = images.chunk(2, dim=3)
        difference = left.mean((1, 2, 3)) - right.mean((1, 2, 3))
        return 100 * torch.stack([difference, -difference], dim=1)


class Known:
    """A bench with two classes of images: the left half brighter by .5 (class 0), or the right by .01 (class 1)."""

    device = CPU
    class_names = ("left", "right")

    def __init__(self, side: int) -> None:
        labels = torch.arange(8) % 2
        images = torch.full((8, 3, side, side), 64, dtype=torch.uint8)
        images[labels == 0, :, :, : side // 2] = 192
        images[labels == 1, :, :, side // 2 :] = 67
        self.dataset = SimpleNamespace(test=make_image_set("halves", images, labels, self.class_names))

    def predictor(self, run: Run, condition: str) -> nn.Module:
        if run.label == "lost":
            raise KdbenchError("lost has no checkpoint")
        return Halves()


def test_images_are_shown_plain_and_attacked_with_what_the_student_answers(tmp_path: Path) -> None:
    """The attack moves each half by at most eps: too little for a difference of .5, enough for one of .01."""
    runs = opened(tmp_path, make("ce"))
    plot = only_plot(lambda: examples(runs, Known(side=8)))  # type: ignore[arg-type]  # as much of a bench as it asks
    assert (plot.key, plot.title) == ("examples-1", "Examples: ce")
    plain = rows(plot, variant="as it is")
    assert [row["right"] for row in plain] == [True] * IMAGES
    assert sorted(row["true_class"] for row in plain) == ["left"] * 3 + ["right"] * 3  # evenly over the classes
    [attacked] = {row["variant"] for row in rows(plot)} - {"as it is"}  # corruptions are made for 32 pixels
    assert attacked == "PGD-20 ε = .031"
    for row in rows(plot, variant=attacked):
        assert row["right"] == (row["true_class"] == "left")
        assert row["predicted"] == "left"
    large = 100 * 2 * 128 / 255  # the logits differ by twice the difference of the halves
    assert plain[0]["confidence"] == pytest.approx(1 / (1 + torch.tensor(-large).exp().item()))


def test_a_suite_of_another_radius_is_shown_at_its_own(tmp_path: Path) -> None:
    """The pages of cifar10-lite, whose radius is 2/255, showed images at .031; .001 is too little for .01 too."""
    suite = load_suite("digits").model_copy(update={"attack": AttackBudget(eps=0.001)})
    runs = opened(tmp_path, make("ce", suite=suite))
    plot = only_plot(lambda: examples(runs, Known(side=8)))  # type: ignore[arg-type]  # as above
    attacked = rows(plot, variant="PGD-20 ε = .001")
    assert [row["right"] for row in attacked] == [True] * IMAGES
    assert "20 steps of .000253 and ε = .001" in plot.caption


def test_what_is_wrong_has_a_dashed_frame_and_a_cross(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("ce"))
    plot = only_plot(lambda: examples(runs, Known(side=8)))  # type: ignore[arg-type]  # as above
    for number, row in enumerate(rows(plot)):
        variant, image = divmod(number, IMAGES)
        axes = plot.figure.axes[2 * image + variant]
        assert axes.get_xlabel().startswith(NOT) == (not row["right"])
        assert axes.get_xlabel().endswith(f"{row['predicted']}\n{100 * row['confidence']:.0f} %")
        assert {spine.get_visible() for spine in axes.spines.values()} == {not row["right"]}


def test_images_of_32_pixels_are_corrupted_too(tmp_path: Path) -> None:
    runs, bench = opened(tmp_path, make("ce")), Known(side=32)
    plot = only_plot(lambda: examples(runs, bench))  # type: ignore[arg-type]  # as above
    assert len({row["variant"] for row in rows(plot)}) == 7
    test = bench.dataset.test
    index = kdbench.data.stratified_subset(test.labels, IMAGES, SEED)
    foggy = corruptions.corrupt(test.images[index], "fog", 5, generator=torch.Generator().manual_seed(SEED))
    answers = Halves()(foggy.float() / 255).softmax(1).amax(1)
    assert column(plot, "confidence", variant="fog, severity 5") == pytest.approx(answers.tolist(), abs=1e-5)


def test_a_run_without_a_checkpoint_is_named_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    runs = opened(tmp_path, make("lost"), make("ce"))
    [plot], [gap] = plots_and_gaps(lambda: examples(runs, Known(side=8)))  # type: ignore[arg-type]  # as above
    assert (plot.key, plot.title) == ("examples-2", "Examples: ce")
    assert (gap.title, gap.reasons) == ("Examples", ("lost has no checkpoint",))


def test_a_real_student_answers_as_its_checkpoint_does(trained: tuple[Record, Path]) -> None:
    [run] = open_runs([trained[1]])
    plot = only_plot(lambda: examples([run], Bench([run], DataPlace.default(), CPU)))
    plain = rows(plot, variant="as it is")
    test = kdbench.data.digits.load(DataPlace.default()).test
    index = kdbench.data.stratified_subset(test.labels, IMAGES, SEED)
    model = kdbench.load_predictor(trained[1] / "checkpoint-clean.safetensors")
    with torch.no_grad():
        confidence, predicted = model(test.images[index].float() / 255).softmax(1).max(1)
    assert [row["true_class"] for row in plain] == [test.class_names[label] for label in test.labels[index]]
    assert [row["predicted"] for row in plain] == [test.class_names[label] for label in predicted]
    assert [row["confidence"] for row in plain] == pytest.approx(confidence.tolist(), abs=1e-4)
