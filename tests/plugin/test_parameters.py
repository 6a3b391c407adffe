"""Keyword-only arguments as a schema: what methods and attacks share."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from kdbench.errors import KdbenchError
from kdbench.plugin.parameters import parameters_of, parse_assignments, validated


def target(positional: int, *, share: Annotated[float, Field(ge=0, le=1)] = 0.5, mode: str = "a") -> None:
    """It has two parameters."""


class Made:
    def __init__(self, positional: int, *, size: int = 3) -> None:
        """It has one."""


def test_keyword_only_arguments_are_the_parameters() -> None:
    model = parameters_of("thing 'x'", target, extra=(int, 7))
    assert validated("thing 'x'", "option", model, {"mode": "b"}) == {"extra": 7, "share": 0.5, "mode": "b"}
    assert validated("thing 'x'", "option", parameters_of("thing 'x'", Made), {}) == {"size": 3}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shar": 1}, "no option named 'shar' .did you mean 'share'. `kdbench describe thing x` lists them"),
        ({"share": 2}, "thing 'x', option share: .* found 2 .`kdbench describe thing x` shows ranges"),
        ({"share": float("inf")}, "finite number"),
    ],
)
def test_mistakes_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        validated("thing 'x'", "option", parameters_of("thing 'x'", target), params)


def test_an_annotation_that_exists_for_a_type_checker_alone_is_named() -> None:
    def wrong(*, size: Nowhere = 1) -> None:  # type: ignore[name-defined]  # noqa: F821  # wrong on purpose
        """It can't be read."""

    with pytest.raises(KdbenchError, match="thing 'x': annotation of a parameter.*Nowhere"):
        parameters_of("thing 'x'", wrong)


def test_assignments_are_json_or_text() -> None:
    read = parse_assignments("--set", ["a=1", "b=[1, 2]", "c=text", "d=x=y", "e=true", "f="])
    assert read == {"a": 1, "b": [1, 2], "c": "text", "d": "x=y", "e": True, "f": ""}
    for wrong in ("a", "=1"):
        with pytest.raises(KdbenchError, match=f"--set got '{wrong}' .write it as --set name=value"):
            parse_assignments("--set", [wrong])
    with pytest.raises(KdbenchError, match="--set gives 'a' twice .give it one value"):
        parse_assignments("--set", ["a=2", "b=1", "a=4"])
