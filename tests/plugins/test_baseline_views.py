"""What a loss method looks at: the suite's augmentation by default, the strong view on demand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.plugins.helpers import Legible, make, make_context
from tests.plugins.test_baselines import EVERY

ON_VIEWS = [name for name in EVERY if name != "tf-kd-reg"]


@pytest.mark.parametrize("name", ON_VIEWS)
def test_the_suites_augmentation_by_default_and_the_strong_view_on_demand(name: str) -> None:
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ctx = make_context(Legible(3))
    ctx.augment = lambda shown: shown / 2
    plain = as_dict(make(name).views(images, ctx))
    assert all(torch.equal(view, images / 2) for view in plain.values())
    strong = as_dict(make(name, view="strong").views(images, ctx))
    assert plain.keys() == strong.keys() == ({"images", "second"} if name == "gjs" else {"images"})
    for view in strong.values():
        assert view.shape == images.shape and view.min() >= 0 and view.max() <= 1
        cut_out = ((view - 0.5).abs() < 1e-6).all(1).float().mean((1, 2))
        assert (cut_out > 0.04).all()  # Cutout in the mean colour: at least a corner of 8 x 8


def test_the_two_views_of_gjs_are_drawn_independently() -> None:
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    views = as_dict(make("gjs", view="strong").views(images, make_context(Legible(3))))
    differing = (views["images"] - views["second"]).abs().amax((1, 2, 3)) > 1e-3
    assert differing.all()


def as_dict(views: Any) -> dict[str, Tensor]:
    return {"images": views} if isinstance(views, Tensor) else dict(views)
