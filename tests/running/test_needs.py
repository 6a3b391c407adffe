"""What must be trained before what: names are checked, seeds derived and circles found before any data are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pluggy
import pytest
from torch import Tensor, nn

import kdbench
import kdbench.data
from kdbench.cli.describe import describe_entry
from kdbench.errors import KdbenchError
from kdbench.models import builtin_specs
from kdbench.plugin.loader import Plugins
from kdbench.running.needs import Needs, is_extended, tuned_recipe
from kdbench.specs import Recipe, Suite
from kdbench.suites.changes import with_changes
from kdbench.suites.reading import read_suite
from kdbench.training.seeds import derive_seed


def loss(batch: kdbench.Batch, ctx: kdbench.Context, *, p: float = 0.0) -> Tensor:
    """Cross-entropy."""
    return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


def plugins_with(**needs: Any) -> Plugins:
    """The built-in models and data sets, a method for the suite's own networks, and one each with these needs."""
    plugins = Plugins(pluggy.PluginManager("kdbench"))
    for model in builtin_specs():
        plugins.models.add(model.name, model, "test")
    for dataset in kdbench.data.builtin_specs():
        plugins.datasets.add(dataset.name, dataset, "test")
    for name, needed in {"ce": (), **needs}.items():
        plugins.methods.add(name, kdbench.method(name, needs=needed)(loss), "test")
    return plugins


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    return read_suite(tiny_suite)


def student_of(suite: Suite, params: dict[str, Any] | None = None, seed: int = 3, **needs: Any) -> Any:
    return Needs(suite, plugins_with(**needs), "clean").student(next(iter(needs)), params or {}, seed)


def test_a_suites_network_has_the_suites_seed_and_a_student_like_one_the_runs(suite: Suite) -> None:
    node = student_of(
        suite, m={"a": "teacher", "b": kdbench.Network("reference"), "c": kdbench.Network("student", dropout=0.2)}
    )
    assert node.seed == 3
    found = {role: (needed.seed, needed.dropout, needed.suite_role) for role, needed in node.needs.items()}
    assert found == {
        "a": (derive_seed(1000, "teacher"), 0.0, "teacher"),
        "b": (derive_seed(2000, "reference"), 0.0, None),
        "c": (derive_seed(3, "student"), 0.2, None),
    }


def test_the_suites_own_recipe_makes_the_suites_own_network(suite: Suite) -> None:
    plain = student_of(suite, m={"a": "teacher"}).needs["a"]
    spelled = student_of(suite, m={"a": kdbench.Network()}).needs["a"]
    assert (plain.seed, plain.model, plain.params, plain.recipe) == (
        spelled.seed, spelled.model, spelled.params, spelled.recipe,
    )  # fmt: skip


def test_student_like_networks_are_the_same_at_any_depth_of_one_run_and_another_in_another(suite: Suite) -> None:
    needs = {"outer": {"stage": kdbench.Network("student", "inner"), "own": kdbench.Network("student")},
             "inner": {"start": kdbench.Network("student")}}  # fmt: skip
    node = student_of(suite, **needs)
    assert node.needs["stage"].needs["start"].seed == node.needs["own"].seed == derive_seed(3, "student")
    assert student_of(suite, seed=4, **needs).needs["own"].seed == derive_seed(4, "student")


def test_a_teachers_own_student_like_need_does_not_depend_on_the_run(suite: Suite) -> None:
    needs = {"outer": {"t": kdbench.Network("teacher", "inner")}, "inner": {"start": kdbench.Network("student")}}
    deep = [student_of(suite, seed=seed, **needs).needs["t"].needs["start"].seed for seed in (3, 4)]
    assert deep[0] == deep[1] == derive_seed(derive_seed(1000, "teacher"), "student")


def test_a_share_of_the_epochs_moves_the_milestones(suite: Suite) -> None:
    recipe = Recipe(epochs=200, batch_size=1, lr=0.1, milestones=(60, 120, 150))
    assert (recipe.with_share(0.1).epochs, recipe.with_share(0.1).milestones) == (20, (6, 12, 15))
    assert (recipe.with_share(0.001).epochs, recipe.with_share(0.001).milestones) == (1, ())
    node = student_of(suite, m={"a": kdbench.Network("student", epochs_share=0.34)})
    assert (node.recipe.epochs, node.needs["a"].recipe_for(200).epochs) == (3, 1)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"m": {"techer"}}, "no network role named 'techer' .did you mean 'teacher'"),
        ({"m": {"a": kdbench.Network("techer")}}, "no network role named 'techer'"),
        ({"m": {"a": kdbench.Network(method="cee")}}, "no method named 'cee' .did you mean 'ce'"),
        ({"m": {"a": kdbench.Network(params={"q": 1})}}, "no parameter named 'q'"),
        ({"m": {"a": kdbench.Network(params={"p": "x"})}}, "parameter p: input should be a valid number"),
        ({"m": {"a": kdbench.Network(model="wrn-10-3")}}, "no model named 'wrn-10-3'"),
        ({"m": {"a": kdbench.Network(model="resnet18", dropout=0.1)}}, "its builder takes no dropout"),
        ({"m": {"a": kdbench.Network("student", "m")}}, "needed for its own training: m needs m needs m"),
        ({"m": {"a": kdbench.Network("student", "n")}, "n": {"b": kdbench.Network("student", "m")}},
         "needed for its own training: m needs n needs m needs n"),
        ({"m": lambda params: {"a": kdbench.Network("student", "m", {"p": params["p"] + 1})}}, "more than 8 deep"),
    ],
)  # fmt: skip
def test_mistakes_are_errors_before_there_are_data(suite: Suite, needs: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        student_of(suite, **needs)
    assert "\n" not in str(caught.value)


def test_a_suites_network_that_needs_itself_is_a_circle_too(tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('method = "ce"', 'method = "m"'))
    with pytest.raises(KdbenchError, match="needed for its own training: m needs m needs m"):
        student_of(read_suite(tiny_suite), m={"teacher"})


def test_a_chain_of_stages_that_ends_is_no_circle(suite: Suite) -> None:
    def earlier(params: Any) -> dict[str, kdbench.Network]:
        return {"earlier": kdbench.Network("student", "m", {"p": params["p"] - 1})} if params["p"] else {}

    node = student_of(suite, {"p": 2}, m=earlier)
    assert node.needs["earlier"].needs["earlier"].params == {"p": 0}
    assert node.needs["earlier"].needs["earlier"].needs == {}


def test_parameters_that_do_not_go_together_are_refused_in_planning(suite: Suite) -> None:
    class Picky(kdbench.Method):
        """Picky."""

        def __init__(self, *, low: float = 0.0, high: float = 1.0) -> None:
            if low > high:
                raise KdbenchError(f"low {low} is above high {high}", "exchange them")

    plugins = plugins_with()
    plugins.methods.add("picky", kdbench.method("picky")(Picky), "test")
    with pytest.raises(KdbenchError, match="low 2.0 is above high 1.0"):
        Needs(suite, plugins, "clean").student("picky", {"low": 2}, 0)


def test_a_model_that_lacks_its_package_is_refused_in_planning(suite: Suite) -> None:
    def missing() -> None:
        raise KdbenchError("model 'large' needs a package", "install it")

    plugins = plugins_with(m=())
    plugins.models.add("large", kdbench.ModelSpec("large", nn.Identity, "never built", requires=missing), "test")
    for changed in (suite.model_copy(update={"student": "large"}), suite):
        needs = Needs(changed, plugins, "clean")
        if changed is suite:
            assert needs.student("m", {}, 0).model == suite.student
        else:
            with pytest.raises(KdbenchError, match="'large' needs a package"):
                needs.student("m", {}, 0)


def test_a_longer_schedule_is_extended_and_a_tuned_or_shorter_one_is_not() -> None:
    standard = Recipe(epochs=200, batch_size=1, lr=0.1, milestones=(60, 120, 150))
    longer = tuned_recipe("m", standard, {"epochs": 300})
    assert (longer.epochs, longer.milestones) == (300, (90, 180, 225))
    stated = tuned_recipe("m", standard, {"epochs": 250, "milestones": [75]})
    assert stated.milestones == (75,)
    same = tuned_recipe("m", standard, {"lr": 0.3})
    other_drops = tuned_recipe("m", standard, {"epochs": 200, "milestones": [100]})
    found = [is_extended(recipe, standard) for recipe in (longer, stated, other_drops, same, standard.with_share(0.5))]
    assert found == [True, True, True, False, False]
    with pytest.raises(KdbenchError, match="method 'm', recipe .*must lie inside the 9 epochs"):
        tuned_recipe("m", standard, {"epochs": 9, "milestones": [10]})


def test_needs_are_described_in_words(staged: Plugins) -> None:
    described = describe_entry("follow", staged.methods.get("follow"), "test")
    assert described["needs"] == {
        "guide": "the suite's teacher",
        "peers": "a network like the student, trained by peers",
    }
    described = describe_entry("peers", staged.methods.get("peers"), "test")
    assert described["needs"] == {"start": "a network like the student, trained by ce, for 40% of the epochs"}
    assert json.loads(json.dumps(described)) == described


def test_what_was_set_by_hand_goes_before_what_a_method_tunes(suite: Suite, tmp_path: Path) -> None:
    """Otherwise ``--set recipe.lr`` would change nothing for a method that tunes it, and say nothing."""
    tuned = tmp_path / "recipes.toml"
    tuned.write_text(
        "[[m]]\noptimizer = { lr = 0.5, weight_decay = 0.1 }\nextended = { epochs = 9, milestones = [6] }\n"
    )
    plugins = plugins_with()
    plugins.methods.add("m", kdbench.method("m", recipes=tuned, needs={"teacher"})(loss), "test")

    def recipes(condition: str, changes: dict[str, Any]) -> tuple[Recipe, Recipe]:
        node = Needs(with_changes(suite, changes), plugins, condition).student("m", {}, 0)
        return node.recipe, node.needs["teacher"].recipe

    def facts(recipe: Recipe) -> tuple[Any, ...]:
        return recipe.lr, recipe.weight_decay, recipe.epochs, recipe.milestones

    assert [facts(one) for one in recipes("clean", {})] == [(0.5, 0.1, 9, (6,)), (0.03, 0.0, 3, ())]
    assert [facts(one) for one in recipes("clean", {"recipe.lr": 0.2})] == [(0.2, 0.1, 9, (6,)), (0.2, 0.0, 3, ())]
    other = {"conditions.sym-40.recipe.epochs": 4}
    assert [facts(one) for one in recipes("sym-40", other)] == [(0.5, 0.1, 4, ()), (0.03, 0.0, 4, ())]
    assert recipes("clean", other) == recipes("clean", {})
    same = recipes("clean", {"recipe.lr": 0.03})
    assert same[0].lr == 0.03, "the suite's own value, but by hand"
