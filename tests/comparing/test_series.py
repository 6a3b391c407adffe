from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench.comparing.contestants import find
from kdbench.comparing.names import choose
from kdbench.comparing.series import Series, make_series
from kdbench.errors import KdbenchError
from kdbench.suites.changes import with_changes
from tests.comparing.conftest import Keep
from tests.leaderboard.evidence import Made, make

SIGMAS = (0.4, 0.1, 0.2)
CLEAN: dict[str, Any] = {"conditions": ["clean"]}


def study() -> Iterator[Made]:
    """Two seeds of a method with three values of sigma under two views, and one without the parameter."""
    for seed in (0, 1):
        for sigma in SIGMAS:
            for view in ("suite", "strong"):
                params = {"sigma": sigma, "view": view}
                yield make("soft", seed=seed, params=params, tasks=["clean", "ood"], skill=1 + sigma, **CLEAN)
        yield make("ce", seed=seed, tasks=["clean", "ood"], **CLEAN)


def series_of(runs: Path, x: str, *words: str, y: str = "clean") -> Series:
    field = find(words, runs)
    return make_series(field.contestants, choose(field.suite, field.runs, y.split(",")), x)


def test_a_line_is_a_method_with_all_other_parameters(runs: Path, keep_study: Keep) -> None:
    keep_study(study())
    found = series_of(runs, "sigma", "s", y="clean,ood")
    assert [panel.axis.title for panel in found.panels] == ["clean", "OOD"]
    assert found.titles == ['soft (view="strong")', 'soft (view="suite")', "ce (no sigma)"]
    assert found.flat == {"ce (no sigma)"}
    assert found.values == [0.1, 0.2, 0.4]
    for line in found.panels[0].lines:
        assert [x for x, _ in line.points] == ([None] if line.flat else [0.1, 0.2, 0.4])
    by_view = series_of(runs, "view", "s")
    assert by_view.titles == ["soft (sigma=0.1)", "soft (sigma=0.2)", "soft (sigma=0.4)", "ce (no view)"]
    assert set(by_view.values) == {"suite", "strong"}


def test_a_point_is_the_mean_over_seeds_with_its_interval(runs: Path, keep_study: Keep) -> None:
    made = list(study())
    keep_study(made)
    line = next(one for one in series_of(runs, "soft.sigma", "s").panels[0].lines if one.title == 'soft (view="suite")')
    own = [one for one in made if one.record.params_passed == {"sigma": 0.2, "view": "suite"}]
    values = [
        score.value for one in own for score in one.record.select("clean", "accuracy") if score.condition == "clean"
    ]
    point = dict(line.points)[0.2]
    assert point.value == pytest.approx(sum(values) / 2)
    assert point.ci_low < point.value < point.ci_high
    assert [seed for seed, _ in point.per_seed] == [0, 1]


def test_a_default_counts_as_a_value(runs: Path) -> None:
    made = make("soft", tasks=["clean"])
    spec = made.record.spec.model_copy(update={"params": {key: {"sigma": 0.3} for key in made.record.spec.params}})
    made.changed(spec=spec).keep(runs)
    make("soft", params={"sigma": 0.1}, tasks=["clean"]).keep(runs)
    [line] = series_of(runs, "sigma", "soft").panels[0].lines
    assert [x for x, _ in line.points] == [0.1, 0.3]


@pytest.mark.parametrize(
    ("x", "words", "message"),
    [
        ("sigme", ["s"], "no parameter in these runs named 'sigme' .did you mean 'sigma'"),
        ("sofd.sigma", ["s"], "no method with runs named 'sofd' .did you mean 'soft'"),
        ("sigma", ["soft sigma=0.1"], "'sigma' has 1 value in these runs: 0.1 .a figure needs two"),
    ],
)
def test_what_makes_no_figure_is_one_line(runs: Path, keep_study: Keep, x: str, words: list[str], message: str) -> None:
    keep_study(study())
    with pytest.raises(KdbenchError, match=message):
        series_of(runs, x, *words)


def test_a_value_of_the_suite_is_a_parameter_like_others(runs: Path) -> None:
    usual = make("soft", tasks=["clean"], **CLEAN)
    suite = usual.record.spec.suite
    own = suite.conditions["clean"].recipe.lr
    for lr in (own / 2, own / 4):
        for seed in (0, 1):
            made = make("soft", seed=seed, tasks=["clean"], **CLEAN)
            changed = with_changes(suite, {"recipe.lr": lr})
            made.changed(spec=made.record.spec.model_copy(update={"suite": changed})).keep(runs)
    usual.keep(runs)
    field = find(["soft"], runs, varied="recipe.lr")
    [line] = make_series(field.contestants, choose(field.suite, field.runs, ["clean"]), "recipe.lr").panels[0].lines
    assert line.title == "soft"
    assert [x for x, _ in line.points] == [own / 4, own / 2, own]
    assert field.suite.label == suite.label
    assert [len(point.per_seed) for _, point in line.points] == [2, 2, 1]
    with pytest.raises(KdbenchError, match="records of suites .*choose one with --suite"):
        find(["soft"], runs)
    with pytest.raises(KdbenchError, match="runs differ named 'recipe.rl' .did you mean 'recipe.lr'"):
        find(["soft"], runs, varied="recipe.rl")
