"""The campaign's steps and studies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.campaign.steps import HERE, Place, compiling_pays, steps, training_seconds

ROOT = Path(__file__).parents[3]


def test_the_steps_are_those_of_the_campaign_in_its_order() -> None:
    place = Place(ROOT, Path("/work"), "cuda", False)
    names = [step.name for step in steps(place, {})]
    assert names == ["images", "doctor", "tests", "agreement", "scorecard", "pgd", "corruptions", "epoch", "throughput",
                     "reference", "cifar10-study", "nrd-study"]  # fmt: skip
    tests = next(step for step in steps(place, {}) if step.name == "tests").command
    assert "tests/training/test_compiling.py" in tests and "tests/corruptions/test_corrupt.py" in tests
    for step in steps(place, {}):
        for word in step.command:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word


def test_trainings_are_compiled_unless_that_was_measured_to_be_slower() -> None:
    plain, fast = {"images_per_second": 20_000.0}, {"images_per_second": 40_000.0, "warm_up_seconds": 100.0}
    assert training_seconds(plain) == 500 and training_seconds(fast) == 350
    rows = {"wrn-16-2": plain, "wrn-16-2, compiled": fast}
    assert compiling_pays(rows) and compiling_pays({})
    slow = {**rows, "wrn-16-2, compiled": {**fast, "warm_up_seconds": 300.0}}
    assert not compiling_pays(slow)
    place = Place(ROOT, Path("/work"), "cuda", False)
    found = [step.name for step in steps(place, {"throughput": slow}) if "--no-compile" in step.command]
    assert found == ["reference", "cifar10-study", "nrd-study"]


@pytest.mark.parametrize("name", ["cifar10-study.toml", "nrd-study.toml", "tiny-study.toml"])
def test_the_studies_can_be_planned(name: str) -> None:
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.plan import Plan
    from kdbench.studies.study import read_study
    from kdbench.suites import load_suite

    study = read_study(HERE / name)
    for request in study.requests():
        Plan.make(load_suite(study.suite), load_plugins(), request.method, request.params, study.conditions,
                  study.tasks, None)  # fmt: skip
