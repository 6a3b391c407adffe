"""What a run was asked to do: every name exists, tasks are where they mean something, and a run has one hash."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import kdbench
from kdbench.corruptions import NAMES, PublishedArrays
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.running.needs import Needs
from kdbench.running.plan import Plan
from kdbench.running.suite_data import SuiteData
from kdbench.suites.changes import with_changes
from kdbench.suites.reading import read_suite
from kdbench.tasks import TestData
from tests.running.conftest import MakeGraph


def plan_of(
    suite: Path,
    method: str = "ce",
    params: dict[str, Any] | None = None,
    conditions: Iterable[str] | None = None,
    tasks: Iterable[str] | None = None,
    attacks: Iterable[str] | None = None,
) -> Plan:
    return Plan.make(read_suite(suite), load_plugins(), method, params or {}, conditions, tasks, attacks)


@pytest.mark.parametrize(
    ("edit", "asked", "message"),
    [
        (None, {"method": "ndr"}, "no method named 'ndr' .did you mean 'nrd'"),
        (None, {"tasks": ["cleen"]}, "no task named 'cleen' .did you mean 'clean'"),
        (None, {"tasks": []}, "no task was named"),
        (None, {"conditions": ["sym40"]}, "no condition named 'sym40' .did you mean 'sym-40'"),
        (None, {"method": "kd", "params": {"alhpa": 1}}, "no parameter named 'alhpa' .did you mean 'alpha'"),
        (None, {"method": "kd", "params": {"alpha": 2}}, "parameter alpha: input should be less than or equal to 1"),
        (None, {"attacks": ["agpd"]}, "agpd"),
        (('student = "wrn-10-1"', 'student = "wrn-10-3"'), {}, "no model named 'wrn-10-3' .did you mean 'wrn-10-1'"),
        (('model = "wrn-10-1"', 'model = "wrn-10-3"'), {}, "no model named 'wrn-10-3'"),
        (('kind = "symmetric"', 'kind = "symetric"'), {}, "no label noise named 'symetric' .did you mean 'symmetric'"),
        (('dataset = "digits"', 'dataset = "digitz"'), {}, "no dataset named 'digitz' .did you mean 'digits'"),
        (('[tasks.clean]', '[tasks.clena]'), {}, "no task named 'clena' .did you mean 'clean'"),
        (("steps = 2 }", "stpes = 2 }"), {}, "no setting of task 'transfer' named 'stpes' .did you mean 'steps'"),
        (("[networks.teacher]", "[networks.techer]"), {"method": "kd"}, "no network role named 'teacher'"),
        (("[networks.reference]", "[networks.refernce]"), {"tasks": ["transfer"]}, "no network role named 'reference'"),
    ],
)  # fmt: skip
def test_a_name_that_is_unknown_and_a_value_that_cannot_be_are_errors(
    tiny_suite: Path, edit: tuple[str, str] | None, asked: dict[str, Any], message: str
) -> None:
    if edit:
        assert edit[0] in tiny_suite.read_text()
        tiny_suite.write_text(tiny_suite.read_text().replace(*edit))
    with pytest.raises(KdbenchError, match=message) as caught:
        plan_of(tiny_suite, **asked)
    assert "\n" not in str(caught.value)


def test_each_condition_has_the_tasks_that_mean_something_there(tiny_suite: Path) -> None:
    plan = plan_of(tiny_suite)
    assert list(plan.params) == ["clean", "sym-40"]
    # The suite keeps pgd and transfer to clean; noisy-label accuracy means nothing there, and clean accuracy elsewhere.
    assert list(plan.tasks_of("clean")) == ["clean", "calibration", "pgd", "transfer"]
    assert list(plan.tasks_of("sym-40")) == ["noisy_label", "calibration"]
    _, settings = plan.tasks_of("clean")["pgd"]
    assert (settings.subset, settings.steps, settings.restarts) == (10, (2, 3), 2)


def test_a_task_that_was_asked_for_must_mean_something_somewhere(tiny_suite: Path) -> None:
    plan = plan_of(tiny_suite, conditions=["sym-40"])
    assert list(plan.tasks_of("sym-40")) == ["noisy_label", "calibration"], "the suite's own tasks are left out quietly"
    with pytest.raises(KdbenchError, match="task 'clean' does not apply to condition sym-40"):
        plan_of(tiny_suite, conditions=["sym-40"], tasks=["calibration", "clean"])


def test_nothing_is_trained_for_no_measurement(tiny_suite: Path) -> None:
    assert list(plan_of(tiny_suite, tasks=["clean"]).params) == ["clean"]
    assert list(plan_of(tiny_suite, tasks=["noisy_label", "clean"]).params) == ["clean", "sym-40"]
    assert list(plan_of(tiny_suite, tasks=["pgd"]).params) == ["clean"], "the suite keeps it to that"
    asked = plan_of(tiny_suite, conditions=["clean", "sym-40"], tasks=["clean"])
    assert list(asked.params) == ["clean", "sym-40"], "what was asked for"
    assert list(asked.tasks_of("sym-40")) == []


def test_conditions_are_taken_once_in_the_order_they_were_asked_for(tiny_suite: Path) -> None:
    assert list(plan_of(tiny_suite, conditions=["sym-40", "clean", "sym-40"]).params) == ["sym-40", "clean"]


def test_roles_are_those_of_the_method_and_of_the_tasks_of_a_condition(tiny_suite: Path) -> None:
    assert plan_of(tiny_suite, "ce").roles("clean") == ["reference", "teacher"], "transfer attacks by both"
    assert plan_of(tiny_suite, "ce").roles("sym-40") == []
    assert plan_of(tiny_suite, "kd").roles("sym-40") == ["teacher"]
    assert plan_of(tiny_suite, "kd", tasks=["clean"]).roles("clean") == ["teacher"]
    assert plan_of(tiny_suite, "ce", tasks=["clean"]).roles("clean") == []
    # A network that is trained for the method alone is no role of the suite's.
    assert plan_of(tiny_suite, "forward", tasks=["clean"]).roles("clean") == []


def test_what_was_passed_stays_beside_what_it_became_for_each_condition(tiny_suite: Path) -> None:
    passed = {"alpha": 1}
    plan = plan_of(tiny_suite, "kd", passed)
    assert plan.params_passed == passed
    expected = {"temperature": 4.0, "alpha": 1.0, "direction": "teacher-student"}
    assert plan.params == {"clean": expected, "sym-40": expected}
    by_condition = plan_of(tiny_suite, "messy-collaboration").params
    assert (by_condition["clean"]["variant"], by_condition["sym-40"]["variant"]) == ("T", "S")


def demanding(suite: Path, view: str) -> Path:
    suite.write_text(suite.read_text().replace("version", f'view = "{view}"\nversion', 1))
    return suite


@pytest.mark.parametrize("view", ["suite", "strong"])
@pytest.mark.parametrize("method", ["ce", "gjs", "nrd", "dmi"])
def test_a_suite_that_demands_a_view_gives_it_to_every_method_that_has_the_choice(
    tiny_suite: Path, view: str, method: str
) -> None:
    plan = plan_of(demanding(tiny_suite, view), method)
    assert {params["view"] for params in plan.params.values()} == {view}
    assert plan.params_passed == {}, "what the user gave is what the user gave"
    assert set(plan.views.values()) == {"crop" if view == "suite" else "strong"}
    assert plan_of(tiny_suite, method, {"view": view}).params == plan.params, "saying it once more changes nothing"
    assert not [note for note in plan.notes() if "view" in note]
    teacher = Needs(plan.suite, plan.plugins, "clean").network("teacher")
    assert teacher.params["view"] == view


def test_another_view_than_the_suite_demands_is_refused_in_a_line(tiny_suite: Path) -> None:
    message = "method 'nrd', parameter view: found 'strong', but suite 'tiny' demands 'suite' .leave it out"
    with pytest.raises(KdbenchError, match=message) as caught:
        plan_of(demanding(tiny_suite, "suite"), "nrd", {"view": "strong"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("method", "view"), [("kd", "suite"), ("smkd-s", "suite"), ("dividemix", "suite")])
def test_a_method_that_cannot_see_what_the_suite_demands_is_named(tiny_suite: Path, method: str, view: str) -> None:
    assert not [note for note in plan_of(tiny_suite, method).notes() if "view" in note]
    plan = plan_of(demanding(tiny_suite, "strong"), method)
    [note] = [note for note in plan.notes() if "view" in note]
    assert note == (
        f"note: suite 'tiny' demands the view 'strong', and method '{method}' has no parameter for it: its students "
        f"see the view '{view}', and its row says so"
    )
    assert set(plan.views.values()) == {"crop"}


def test_a_class_with_views_of_its_own_runs_and_says_so(tiny_suite: Path) -> None:
    class Negative(kdbench.Method):
        """Sees negatives."""

        def views(self, images: Tensor, ctx: kdbench.Context) -> Tensor:
            return 1 - images

    plugins = load_plugins.__wrapped__()
    plugins.methods.add("negative", kdbench.method("negative")(Negative), "tests")
    plan = Plan.make(read_suite(demanding(tiny_suite, "suite")), plugins, "negative", {}, None, None)
    assert plan.views == {"clean": "own", "sym-40": "own"}
    assert "demands the view 'suite', and method 'negative' has no parameter for it" in plan.notes()[0]


def test_a_run_names_its_trainings_tasks_and_data(make_graph: MakeGraph, tmp_path: Path) -> None:
    graph = make_graph()
    plan = Plan.make(graph.suite, graph.plugins, "kd", {"alpha": 0.5}, None, None)
    suite_data = SuiteData(graph.dataset, TestData(graph.dataset.test))
    spec = plan.spec(suite_data, graph, 3)
    assert spec.trainings == {
        "clean/student": graph.student("clean", "kd", {"alpha": 0.5}, 3).digest(),
        "clean/reference": graph.network("clean", "reference").digest(),
        "clean/teacher": graph.network("clean", "teacher").digest(),
        "sym-40/student": graph.student("sym-40", "kd", {"alpha": 0.5}, 3).digest(),
        "sym-40/teacher": graph.network("sym-40", "teacher").digest(),
    }
    assert spec.method_source == graph.plugins.methods.get("kd").source
    assert spec.tasks == {name: graph.plugins.tasks.get(name).version for name in graph.suite.tasks}
    assert spec.datasets == {"digits": graph.dataset.sha256}
    assert {recipe.epochs for recipe in spec.recipes.values()} == {1}
    assert spec.corruption_images == "generated"
    whole = PublishedArrays(tmp_path, dict.fromkeys(NAMES, 5))
    published = SuiteData(graph.dataset, TestData(graph.dataset.test, published_corruptions=whole))
    assert plan.spec(published, graph, 3).corruption_images == "published"
    assert spec.run_id == plan.spec(suite_data, make_graph(out=tmp_path / "elsewhere"), 3).run_id


def test_other_seeds_parameters_conditions_and_tasks_are_other_runs(make_graph: MakeGraph) -> None:
    graph = make_graph()
    suite_data = SuiteData(graph.dataset, TestData(graph.dataset.test))

    def run_id(params: dict[str, Any], conditions: list[str] | None, tasks: list[str] | None, seed: int) -> str:
        plan = Plan.make(graph.suite, graph.plugins, "kd", params, conditions, tasks)
        return plan.spec(suite_data, graph, seed).run_id

    ids = [
        run_id(*asked)
        for asked in itertools.product(({}, {"alpha": 0.5}), (None, ["clean"]), (None, ["calibration"]), (0, 1))
    ]
    assert len(set(ids)) == len(ids)
    # A parameter at its default is no other run, whether it was passed or not.
    assert run_id({"alpha": 0.9}, None, None, 0) == ids[0]


def test_networks_of_the_method_alone_are_named_by_their_way(make_graph: MakeGraph) -> None:
    graph = make_graph()
    plan = Plan.make(graph.suite, graph.plugins, "forward", {}, ["clean"], ["clean"])
    spec = plan.spec(SuiteData(graph.dataset, TestData(graph.dataset.test)), graph, 0)
    own = graph.own(graph.student("clean", "forward", {}, 0))
    assert own
    assert spec.trainings.keys() == {"clean/student", *(f"clean/student/{path}" for path in own)}


def test_another_setting_is_told_before_it_runs_and_shares_no_run_id(make_graph: MakeGraph) -> None:
    graph = make_graph()
    changed = with_changes(graph.suite, {"recipe.lr": 0.03})
    plans = [Plan.make(one, graph.plugins, "kd", {}, ["clean"], ["clean"]) for one in (graph.suite, changed)]
    assert [len(plan.notes()) for plan in plans] == [0, 1]
    assert plans[1].notes()[0].startswith("note: tiny, recipe.lr=0.03: another setting than suite 'tiny'")
    suite_data = SuiteData(graph.dataset, TestData(graph.dataset.test))
    standard, other = (plan.spec(suite_data, graph, 0) for plan in plans)
    assert standard.trainings == other.trainings, "lr .03 is the suite's own: the same networks, another run"
    assert standard.run_id != other.run_id
