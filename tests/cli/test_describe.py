from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from kdbench.cli.describe import describe_entry, describe_needs, describe_parameters
from kdbench.plugin.loader import load_plugins


class Settings(BaseModel):
    share: Annotated[float, Field(ge=0, lt=1, description="how much")] = 0.5
    count: Annotated[int, Field(gt=0, le=9)] = 3
    way: Literal["up", "down"] = "up"
    only: Literal["this"] = "this"
    fast: bool = False
    name: str | None = None
    sizes: dict[str, float] = Field(default_factory=lambda: {"a": 0.5})
    needed: int


def test_ranges_and_choices_are_in_words() -> None:
    found = {row["name"]: row for row in describe_parameters(Settings)}
    assert found["share"] == {"name": "share", "default": 0.5, "range": "number >= 0 < 1", "meaning": "how much"}
    assert {name: row["range"] for name, row in found.items()} == {
        "share": "number >= 0 < 1",
        "count": "integer > 0 <= 9",
        "way": "up | down",
        "only": "this",
        "fast": "true | false",
        "name": "string or none",
        "sizes": "table",
        "needed": "integer",
    }


def test_a_default_is_the_value_that_is_used() -> None:
    defaults = {row["name"]: row["default"] for row in describe_parameters(Settings)}
    assert (defaults["sizes"], defaults["needed"], defaults["name"]) == ({"a": 0.5}, "required", None)


def test_a_method_is_described_with_parameters_needs_and_recipes() -> None:
    methods = load_plugins().methods
    found = describe_entry("nrd", methods.get("nrd"), methods.origin("nrd"))
    parameters = {row["name"]: row for row in found["parameters"]}
    assert (parameters["pi2"]["default"], parameters["pi2"]["range"]) == (0.6, "number > 0 < 1")
    assert found["from"].startswith("kdbench ")
    assert found["recipes"]
    assert describe_needs(methods.get("kd"))["teacher"].startswith("the suite's teacher")
    assert describe_needs(methods.get("ce")) == {}


def test_everything_that_is_registered_can_be_described_as_json() -> None:
    for registry in load_plugins().registries():
        for name in registry:
            description = describe_entry(name, registry.get(name), registry.origin(name))
            assert json.loads(json.dumps(description))["name"] == name


def test_a_claim_and_a_task_say_what_they_are() -> None:
    plugins = load_plugins()
    claim = plugins.claims.get("kd-label-noise")
    found = describe_entry("kd-label-noise", claim, "kdbench 1")
    assert (found["what"], found["suite"]) == (claim.sentence, claim.suite)
    assert found["comparisons"] == [str(one) for one in claim.comparisons]
    task = describe_entry("calibration", plugins.tasks.get("calibration"), "kdbench 1")
    assert task["version"] == plugins.tasks.get("calibration").version
    assert "bins" in {row["name"] for row in task["settings"]}
