from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from torch import Tensor

import kdbench
from kdbench.errors import KdbenchError


@kdbench.method("probe", needs={"teacher"})
def probe(
    batch: kdbench.Batch, ctx: kdbench.Context, *, share: Annotated[float, Field(ge=0, le=1)] = 0.5, mode: str = "a"
) -> Tensor:
    """First line.

    More.
    """
    return batch.images.sum() * share


def test_decorator_reads_name_summary_needs_and_parameters() -> None:
    assert (probe.name, probe.summary, probe.needs) == ("probe", "First line.", {"teacher": "teacher"})
    assert probe.validate({}) == {"share": 0.5, "mode": "a"}
    assert len(probe.source) == 64


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shar": 1}, "no parameter named 'shar' .did you mean 'share'"),
        ({"share": 1.5}, "parameter share: input should be less than or equal to 1, found 1.5"),
        ({"share": "much"}, "parameter share: input should be a valid number.*found 'much'"),
        ({"share": float("nan")}, "parameter share: input should be a finite number"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        probe.validate(params)


def test_parameters_need_type_and_default() -> None:
    with pytest.raises(KdbenchError, match="parameter 'x' has no type or no default"):
        kdbench.method("bad")(lambda batch, ctx, *, x: x)


def test_a_class_must_be_a_method() -> None:
    class NoMethod:
        """Not derived."""

        def __init__(self, *, x: int = 1) -> None:
            self.x = x

    spec = kdbench.method("no-method")(NoMethod)
    with pytest.raises(KdbenchError, match="'no-method' is not a kdbench.Method"):
        spec.make({"x": 1})


def test_needs_come_as_a_set_a_mapping_or_a_function_of_the_parameters() -> None:
    start = kdbench.Network(like="student", epochs_share=0.5)
    given = kdbench.method("m", needs={"start": start, "guide": "teacher"})(lambda batch, ctx: None)
    assert given.needed({}) == {"guide": "teacher", "start": start}

    def by_parameter(params: Mapping[str, Any]) -> dict[str, kdbench.Network]:
        return {"teacher": kdbench.Network(dropout=params["p"])} if params["p"] else {}

    def loss(batch: kdbench.Batch, ctx: kdbench.Context, *, p: float = 0.0) -> None: ...

    chosen = kdbench.method("m", needs=by_parameter)(loss)
    assert chosen.needed(chosen.validate({})) == {}
    assert chosen.needed(chosen.validate({"p": 0.2})) == {"teacher": kdbench.Network(dropout=0.2)}


class Plain(kdbench.Method):
    """Sees the suite's augmentation."""


class Other(kdbench.Method):
    """Has a view of its own."""

    def views(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
        return 1 - images


class Twice(kdbench.Method):
    """Takes two draws of the suite's augmentation."""

    own_views = False

    def views(self, images: Tensor, ctx: kdbench.Context) -> dict[str, Tensor]:
        return {"images": ctx.augment(images), "second": ctx.augment(images)}


class Chooses(Other):
    """Lets its user choose."""

    def __init__(self, *, view: Literal["negative", "suite"] = "negative") -> None:
        self.view = view


@pytest.mark.parametrize(
    ("target", "params", "view"),
    [
        (Plain, {}, "suite"),
        (Other, {}, "own"),
        (Twice, {}, "suite"),
        (Chooses, {}, "negative"),
        (Chooses, {"view": "suite"}, "suite"),
    ],
)
def test_the_view_is_that_of_the_parameter_or_the_classs_own_or_the_suites(
    target: type[kdbench.Method], params: dict[str, Any], view: str
) -> None:
    spec = kdbench.method("m")(target)
    assert spec.view(spec.validate(params)) == view
    assert probe.view(probe.validate({})) == "suite", "a loss function"


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ("teacher", "needs found 'teacher', expected a set .write needs={'teacher'}"),
        ({"teacher": 3}, r"needs\['teacher'\] is a int .write a kdbench.Network"),
    ],
)
def test_needs_of_another_kind_are_refused_where_they_are_written(needs: Any, message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        kdbench.method("bad", needs=needs)


def test_a_function_that_returns_no_mapping_is_refused() -> None:
    bad = kdbench.method("bad", needs=lambda params: {"teacher"})(lambda batch, ctx: None)  # type: ignore[arg-type,return-value]  # wrong on purpose
    with pytest.raises(KdbenchError, match="'bad': needs returned set .return a mapping from role"):
        bad.needed({})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout found 1.0, expected a rate in \[0, 1\)"),
        ({"epochs_share": 0.0}, r"epochs_share found 0.0, expected a share in \(0, 1\]"),
    ],
)
def test_a_network_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        kdbench.Network(**options)  # type: ignore[arg-type]  # mixed options


def test_what_a_method_may_override_is_documented_with_its_exact_signature() -> None:
    text = (Path(__file__).parents[2] / "docs/plugins.md").read_text()
    documented = set(re.findall(r"^    def (\w+\(self.*\) -> .*?)(?:  #.*)?$", text, re.M))
    declared = {
        f"{name}{inspect.signature(hook)}".replace("'", "")
        for name, hook in vars(kdbench.Method).items()
        if inspect.isfunction(hook)
    }
    assert declared <= documented
    fields = {name for name, _ in inspect.getmembers(kdbench.Network) if not name.startswith("_")} | {"params"}
    assert fields == set(re.findall(r"(\w+)=", re.search(r"kdbench\.Network\((.*)\)", text)[1]))  # type: ignore[index]  # a miss fails
