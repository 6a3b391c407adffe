"""Where restarts start."""

from __future__ import annotations

import pytest
import torch

from kdbench.attacks._starts import BLOCK, RandomStarts, starting


def test_starts_are_uniform_in_the_ball() -> None:
    starts = RandomStarts(seed=7, eps=0.1, device=torch.device("cpu"))
    deltas = ((starts.of(torch.arange(50), torch.full((50, 3, 8, 8), 0.5)) - 0.5) / 0.1).flatten().double()
    assert float(deltas.abs().max()) <= 1 + 1e-5
    # Moments of U(-1, 1) within five standard errors of 9600 draws.
    assert float(deltas.mean()) == pytest.approx(0.0, abs=5 * (1 / 3 / 9600) ** 0.5)
    assert float(deltas.square().mean()) == pytest.approx(1 / 3, abs=5 * (4 / 45 / 9600) ** 0.5)


def test_random_starts_are_clipped_to_the_pixel_range() -> None:
    images = torch.zeros(4, 3, 8, 8)
    images[2:] = 1.0
    starts = RandomStarts(seed=7, eps=0.2, device=torch.device("cpu")).of(torch.arange(4), images)
    assert float(starts.min()) == 0.0
    assert float(starts.max()) == 1.0
    assert float((starts[:2] == 0).double().mean()) == pytest.approx(0.5, abs=0.15)


def test_a_start_depends_on_the_place_of_its_image_alone() -> None:
    images = torch.full((3 * BLOCK, 1, 2, 2), 0.5)
    whole = RandomStarts(seed=7, eps=0.1, device=torch.device("cpu")).of(torch.arange(len(images)), images)
    places = torch.tensor([0, 5, BLOCK - 1, BLOCK, 2 * BLOCK + 3, 3 * BLOCK - 1])
    some = RandomStarts(seed=7, eps=0.1, device=torch.device("cpu")).of(places, images[places])
    assert torch.equal(some, whole[places])
    assert len(whole.unique(dim=0)) == len(images)
    assert not torch.equal(RandomStarts(seed=8, eps=0.1, device=torch.device("cpu")).of(places, images[places]), some)


def test_restarts_begin_where_the_generator_says_or_the_caller_or_at_the_image() -> None:
    images, part = torch.full((5, 3, 8, 8), 0.5), torch.tensor([1, 4])
    uniform = starting("uniform", images, 0.1, 3, torch.Generator().manual_seed(3))
    fewer = starting("uniform", images, 0.1, 2, torch.Generator().manual_seed(3))
    points = [uniform(run, part, images[part]) for run in range(3)]
    assert len({float(point.sum()) for point in points}) == 3
    for run in range(2):
        assert torch.equal(fewer(run, part, images[part]), points[run])
    fixed = starting("uniform", images, 0.1, 1, None)
    assert torch.equal(fixed(0, part, images[part]), starting("uniform", images, 0.1, 1, None)(0, part, images[part]))
    assert starting("zero", images, 0.1, 3, None)(2, part, images[part]).equal(images[part])
    given = images + torch.linspace(-0.1, 0.1, 5)[:, None, None, None]
    assert starting(given, images, 0.1, 1, None)(0, part, images[part]).equal(given[part])
