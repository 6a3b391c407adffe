from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

from kdbench.augment import auto_augment, random_erasing
from kdbench.errors import KdbenchError
from kdbench.metrics import wilson_interval
from kdbench.report.confidence import magnitudes
from kdbench.report.learning import polygon_projection
from kdbench.report.memorisation import GROUPS, recall, view_predictions
from kdbench.report.parts import Plot, Table, missing
from kdbench.report.runs import open_runs
from kdbench.report.scores import corruptions
from kdbench.report.style import make_figure, percent, plain, png_of, styled, svg_of
from tests.leaderboard.evidence import make


def test_softmax_vectors_on_a_decagon_are_sums_of_its_corners() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), size=(3, 7))
    expected = np.zeros((3, 7, 2))
    for c in range(10):
        corner = (math.cos(2 * math.pi * c / 10), math.sin(2 * math.pi * c / 10))
        expected += probabilities[..., c, None] * np.array(corner)
    assert polygon_projection(probabilities) == pytest.approx(expected)
    assert np.linalg.norm(polygon_projection(np.eye(10)), axis=1) == pytest.approx(np.ones(10))


def test_magnitudes_count_every_output_once() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    everything, largest = magnitudes(probabilities, bins=10)
    assert everything.sum() == pytest.approx(1)
    assert largest.sum() == pytest.approx(1)
    assert everything[9] == pytest.approx(((probabilities >= 0.9) & (probabilities <= 1)).mean())
    assert largest[:2].sum() == 0  # the largest of four is at least a quarter
    certain, _ = magnitudes(np.eye(3), bins=10)
    assert (certain[0], certain[9]) == pytest.approx((2 / 3, 1 / 3))


def test_overall_accuracy_is_that_of_both_groups_by_their_share() -> None:
    generator = torch.Generator().manual_seed(0)
    true, predicted = (torch.randint(5, (300,), generator=generator) for _ in range(2))
    observed = torch.where(
        torch.rand(300, generator=generator) < 0.5, torch.randint(5, (300,), generator=generator), true
    )
    clean, mislabelled, everything = recall(predicted, observed, true, views=0)
    assert [one.group for one in (clean, mislabelled, everything)] == list(GROUPS)
    share = float((observed != true).double().mean())  # draws that kept the label are not among them
    assert everything.accuracy == pytest.approx(share * mislabelled.accuracy + (1 - share) * clean.accuracy)
    assert mislabelled.n == int((observed != true).sum())
    assert everything.interval == wilson_interval(everything.hits, 300)
    nothing = recall(predicted, true, true, views=0)[1]
    assert nothing.n == 0
    assert math.isnan(nothing.accuracy)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 10)
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(self.layer.weight, generator=generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def test_views_are_averaged_as_softmax_outputs_in_the_order_of_their_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (12, 3, 32, 32), generator=generator, dtype=torch.uint8)
    model = Linear()
    found = view_predictions(model, images, [1, 3], torch.Generator().manual_seed(7), torch.device("cpu"))
    assert set(found) == {0, 1, 3}
    pixels = images.float() / 255
    with torch.no_grad():
        assert found[0].equal(model(pixels).argmax(1))
        draws = torch.Generator().manual_seed(7)
        total = torch.zeros(12, 10, dtype=torch.float64)
        for number in (1, 2, 3):
            total += model(random_erasing(auto_augment(pixels, draws), draws)).double().softmax(1)
            if number in found:
                assert found[number].equal(total.argmax(1))


def test_a_table_is_csv_without_formulas_and_without_nan() -> None:
    table = Table(("name", "value"), (("=cmd()", 0.25), ('a "b", c', float("nan")), ("-1", -1.0)))
    assert table.to_csv() == 'name,value\n\'=cmd(),0.25\n"a ""b"", c",\n\'-1,-1.0\n'
    assert table.to_text()[1] == ['a "b", c', ""]
    assert missing("x", ["a", "b", "a"]).reasons == ("a", "b")


def test_figures_take_anybodys_text_as_text(tmp_path: Path) -> None:
    hostile = "$\\frac{1}{$ \u202eevil\ud800 <script>\x00\n\U0010fffd \U0001f4a9" + "x" * 10_000
    before = dict(matplotlib.rcParams)
    with styled():
        figure = make_figure(2)
        axes = figure.subplots()
        axes.set_title(plain(hostile))
        plot, drawing = png_of(figure), svg_of(figure)
        assert svg_of(figure) == drawing  # the same bytes for the same figure
    assert dict(matplotlib.rcParams) == before
    assert plot.startswith(b"\x89PNG")
    assert b"<script" not in drawing
    assert len(plain(hostile)) == 48
    assert "\u202e" not in plain(hostile)


def test_four_runs_leave_no_empty_panel(tmp_path: Path) -> None:
    runs = open_runs([make("ce", seed=seed).keep(tmp_path) for seed in range(4)])
    with styled():
        [plot] = corruptions(runs)
    assert isinstance(plot, Plot)
    assert [axes.get_title("left") for axes in plot.figure.axes] == [
        f"{run.label}: mean {percent(run.record.select('corruption', 'mca')[0].value)} %" for run in runs
    ]


def test_labels_say_no_more_than_tells_runs_apart(tmp_path: Path) -> None:
    ce, other_seed = make("ce").keep(tmp_path), make("ce", seed=1).publish(tmp_path)
    with_params = make("nrd", params={"alpha": 0.5}).keep(tmp_path)
    assert [run.label for run in open_runs([ce])] == ["ce"]
    assert [run.label for run in open_runs([ce.parent, ce, other_seed])] == ["ce, seed 0", "ce, seed 1"]
    assert [run.label for run in open_runs([ce, with_params])] == ["ce", "nrd, alpha=0.5"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    ce = make("ce")
    other = ce.record.spec.suite.model_copy(update={"name": "others"})
    paths = [ce.keep(tmp_path), make("ce", suite=other).keep(tmp_path)]
    with pytest.raises(KdbenchError, match="suites digits, others"):
        open_runs(paths)
    with pytest.raises(KdbenchError, match="8 runs were given, expected 1 to 7"):
        open_runs([make("ce", seed=seed).keep(tmp_path) for seed in range(8)])
    with pytest.raises(KdbenchError, match="cannot read record"):
        open_runs([tmp_path])


def test_evidence_that_is_not_the_hashed_one_is_not_used(tmp_path: Path) -> None:
    path = make("ce").keep(tmp_path)
    [run] = open_runs([path])
    assert "clean" in run.curves()
    assert "clean/clean/correct" in run.predictions()
    assert run.softmax_history("clean").softmax.shape == (8, 20, 10)
    with path.with_name("log.jsonl").open("a") as file:
        file.write("{}\n")
    path.with_name("predictions.npz").unlink()
    with pytest.raises(KdbenchError, match=r"log\.jsonl of ce is not the file that the record hashed"):
        run.curves()
    with pytest.raises(KdbenchError, match=r"predictions\.npz of ce is not beside the record"):
        run.predictions()
    with pytest.raises(KdbenchError, match="checkpoint-clean.safetensors of ce is not beside the record"):
        run.checkpoint("clean")
