"""What a loss method looks at: the suite's augmentation by default, the strong view on demand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import kdbench
from kdbench.plugin.loader import load_plugins
from kdbench.running.needs import Needs
from kdbench.suites import load_suite
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


SHOWN = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def sees_the_suites_augmentation(method: kdbench.Method) -> bool:
    """Whether the view named "images" is a draw of ``ctx.augment``, which here darkens."""
    ctx = make_context(Legible(3))
    ctx.augment = lambda shown: shown / 2
    return torch.equal(as_dict(method.views(SHOWN, ctx))["images"], SHOWN / 2)


@pytest.mark.parametrize("name", load_plugins().methods.names())
def test_a_methods_view_is_what_its_student_sees(name: str) -> None:
    spec = load_plugins().methods.get(name)
    choices = [{"view": view} for view in ("suite", "strong")] if "view" in spec.parameters.model_fields else []
    for given in ({}, *choices):
        params = spec.validate(given)
        assert spec.view(params) == given.get("view", spec.view(params))
        assert (spec.view(params) == "suite") == sees_the_suites_augmentation(spec.make(params))
    assert choices or spec.view(spec.validate({})) == "suite", "no method of these has a view and no choice"


@pytest.mark.parametrize("suite", ["webvision-mini", "food101"])
def test_nrd_says_that_it_sees_the_suites_augmentation_of_photographs(suite: str) -> None:
    node = Needs(load_suite(suite), load_plugins(), "web").student("nrd", {}, 0)
    assert node.method.view(node.params) == "suite"
    assert sees_the_suites_augmentation(node.method.make(node.params))


@pytest.mark.parametrize("name", ["dmi", "forward", "t-revision", "joint"])
@pytest.mark.parametrize("view", ["suite", "strong"])
def test_an_earlier_stage_sees_what_the_student_sees(name: str, view: str) -> None:
    """DMI's second stage hardly moves the network: with view=strong all but its last steps had the suite's view."""
    student = Needs(load_suite("digits"), load_plugins(), "sym-40").student(name, {"view": view}, 0)
    [stage] = student.needs.values()
    assert stage.method.view(stage.params) == student.method.view(student.params) == view


def as_dict(views: Any) -> dict[str, Tensor]:
    return {"images": views} if isinstance(views, Tensor) else dict(views)
