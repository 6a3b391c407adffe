from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.attacks import find_attack
from kdbench.errors import KdbenchError
from kdbench.plugin.builtin import kdbench_register_tasks
from kdbench.plugin.loader import load_plugins
from kdbench.results.headline import unattacked_keys
from kdbench.running.evaluation import TaskResult
from kdbench.running.plan import Plan
from kdbench.specs import Suite, TaskPlan
from kdbench.suites import builtin_suites
from kdbench.suites.reading import read_suite
from kdbench.tasks import Attack, builtin_tasks
from kdbench.tasks.attack import with_attacks
from kdbench.tasks.scorecard import Objection, Scorecard
from tests.cli.test_cli import kdbench as command
from tests.tasks.helpers import (
    LEVELS,
    Nearest,
    assert_share,
    measure,
    nearest_is_right,
    one,
    select,
    ten_classes,
)

pytest.importorskip("pyautoattack")
pytest.importorskip("torchattacks")

EPS = 0.031


def standing(eps: float, count: int = 60) -> np.ndarray:
    """Images whose level is right and farther than eps from the borders, half-way between the classes' levels."""
    data = ten_classes(count=count, wrong=17)
    seen = data.test.images.numpy()[:, 0, 0, 0].astype(float)
    borders = (np.array(LEVELS[1:]) + np.array(LEVELS[:-1])) / 2
    away = np.abs(seen[:, None] - borders).min(1)
    found: np.ndarray = nearest_is_right(data.test) & (away > eps * 255)
    return found


@pytest.mark.parametrize("name", ["pgd", "apgd", "torchattacks:PGD"])
def test_a_linear_model_is_broken_up_to_the_radius_and_no_further(name: str) -> None:
    data = ten_classes(count=60, wrong=17)
    expected, right = standing(EPS), nearest_is_right(data.test)
    assert (expected.sum(), right.sum()) == (23, 43)
    outcome = measure(Attack(), Nearest(sharpness=200.0), data, attacks=[name])
    assert len(outcome.scores) == 2
    assert_share(one(outcome, "robust_accuracy", attack=name), expected.sum(), 60)
    assert_share(one(outcome, "conditional_accuracy", attack=name), expected.sum(), 43)
    assert np.array_equal(outcome.correct[f"{name}/correct"].numpy(), expected)
    assert all(score.higher_is_better for score in outcome.scores)


@pytest.mark.parametrize(
    ("name", "options", "setting"),
    [
        ("apgd", {}, {}),
        ("torchattacks:PGD", {"steps": 3}, {"steps": 3, "restarts": 1, "alpha": 2 / 255, "random_start": True}),
        ("torchattacks:FGSM", {"restarts": 2, "eps": 0.01}, {"restarts": 2, "option eps": 0.01}),
        (
            "pgd",
            {"steps": 7, "restarts": 2, "objective": "margin", "start": "zero", "iterate": "best"},
            {
                "steps": 7,
                "restarts": 2,
                "objective": "margin",
                "start": "zero",
                "iterate": "best",
                "step_rule": "sign",
                "step_size": 2.5 * EPS / 7,
            },
        ),
    ],
)
def test_the_setting_says_what_it_takes_to_attack_again(name: str, options: Any, setting: Any) -> None:
    outcome = measure(
        Attack(), Nearest(sharpness=200.0), ten_classes(count=20, wrong=4), attacks=[name], options={name: options}
    )
    drawn = {"seed": 0, "subset": 1000, "subset_seed": 0}
    assert [score.setting for score in outcome.scores] == [{"attack": name, "eps": EPS, **setting, **drawn}] * 2


def test_the_headline_picks_one_score() -> None:
    settings = Attack().resolve({"attacks": ["pgd", "torchattacks:FGSM"], "options": {"pgd": {"steps": 2}}})
    headline = Attack().headline(settings)
    outcome = measure(Attack(), Nearest(), ten_classes(count=20, wrong=4), **settings.model_dump())
    [score] = select(outcome, headline.metric, **headline.setting)
    assert (score.setting["attack"], headline.title) == ("pgd", "pgd ε .031")
    assert Attack().results_key(score) == "pgd/correct"


def test_several_attacks_are_measured_once_each_on_the_same_subset() -> None:
    names = ["torchattacks:FGSM", "torchattacks:VANILA", "torchattacks:FGSM"]
    outcome = measure(Attack(), Nearest(), ten_classes(count=60, wrong=17), attacks=names, subset=20)
    assert [score.setting["attack"] for score in select(outcome, "robust_accuracy")] == names[:2]
    assert {score.n for score in select(outcome, "robust_accuracy")} == {20}
    assert set(outcome.correct) == {"index", "torchattacks:FGSM/correct", "torchattacks:VANILA/correct"}
    assert len(outcome.correct["index"]) == 20
    assert set(outcome.subsets) == {"attack"}
    right = nearest_is_right(ten_classes(count=60, wrong=17).test)[outcome.correct["index"].numpy()]
    assert_share(one(outcome, "robust_accuracy", attack="torchattacks:VANILA"), right.sum(), 20)
    assert one(outcome, "conditional_accuracy", attack="torchattacks:VANILA").value == 1


def test_radius_zero_is_the_clean_accuracy() -> None:
    outcome = measure(Attack(), Nearest(), ten_classes(count=60, wrong=17), eps=0)
    assert_share(one(outcome, "robust_accuracy", attack="apgd"), 43, 60)


def test_options_and_seed_reach_the_attack() -> None:
    data = ten_classes(count=60, wrong=17)

    def robust(**options: Any) -> float:
        outcome = measure(
            Attack(), Nearest(), data, attacks=["torchattacks:PGD"], options={"torchattacks:PGD": options}
        )
        return one(outcome, "robust_accuracy").value

    assert robust(steps=1, alpha=1e-6, random_start=False) == 43 / 60
    assert robust(steps=20) < 43 / 60


class Noisy(Nearest):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + 0.02 * torch.randn_like(images[:, :, :1, :1]))


@pytest.mark.parametrize("name", ["apgd", "pgd"])
def test_a_random_model_is_attacked_through_averages_judged_by_votes_and_says_so(name: str) -> None:
    """Noise of .02 on a border .049 away: one answer in a hundred is wrong without an attack, a vote never."""
    settings: dict[str, Any] = {"attacks": [name], "subset": 6, "gradient_draws": 9, "votes": 101, "eps": 0.001}
    outcome = measure(Attack(), Noisy(), ten_classes(count=12, wrong=0), **settings)
    score = one(outcome, "robust_accuracy")
    assert (score.setting["gradient_draws"], score.setting["votes"]) == (9, 101)
    [check] = [check for check in outcome.checks if check.name == "random_model"]
    assert (check.value, check.passed) == (1.0, True)
    plain = measure(Attack(), Nearest(), ten_classes(count=12, wrong=0), **settings)
    assert "votes" not in one(plain, "robust_accuracy").setting


class Masked(nn.Module):
    """The same answer whatever the image; the gradient is there and zero."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.tensor([2.0] + [0.0] * 9) + 0 * images.mean((1, 2, 3))[:, None]


def test_masked_gradients_flag_the_attacks_that_follow_them() -> None:
    names = ["pgd", "torchattacks:FGSM", "torchattacks:VANILA", "autoattack"]
    data = ten_classes(count=20, wrong=0, present=[0])
    outcome = measure(Attack(), Masked(), data, attacks=names)
    failed = {(check.name, check.setting["attack"]) for check in outcome.checks if not check.passed}
    assert failed == {(kind, name) for kind in ("zero_gradients", "large_eps") for name in names[:2]}
    flagged = {score.setting["attack"] for score in outcome.scores for check in outcome.checks if check.concerns(score)}
    assert flagged == set(names[:2])


def test_an_attack_that_clipping_undoes_is_flagged() -> None:
    """White noise of .5 breaks the model; clipped to a radius of .001 it breaks nothing."""
    names = ["torchattacks:GN", "torchattacks:FGSM"]
    data, options = ten_classes(count=20, wrong=0), {names[0]: {"std": 0.5}}
    outcome = measure(Attack(), Nearest(), data, attacks=names, options=options, eps=0.001)
    found = {check.setting["attack"]: check for check in outcome.checks if check.name == "outside_ball"}
    assert {name: (check.value, check.passed, check.n) for name, check in found.items()} == {
        names[0]: (1.0, False, 20), names[1]: (0.0, True, 20),
    }  # fmt: skip
    assert [score.setting["attack"] for score in outcome.scores if found[names[0]].concerns(score)] == [names[0]] * 2


def test_an_honest_network_passes_every_check() -> None:
    outcome = measure(Attack(), Nearest(), ten_classes(count=20, wrong=0), attacks=["pgd", "apgd"])
    assert [(check.name, check.setting.get("attack")) for check in outcome.checks] == [
        ("random_model", None), ("outside_ball", "pgd"), ("zero_gradients", "pgd"), ("outside_ball", "apgd"),
        ("zero_gradients", "apgd"), ("large_eps", "pgd"), ("large_eps", "apgd"),
    ]  # fmt: skip
    assert all(check.passed for check in outcome.checks)
    assert not any(objections(outcome))
    broken = dataclasses.replace(outcome, checks=outcome.checks[1:])
    assert [objection.field for objection in objections(broken)] == ["checks"]


@pytest.mark.parametrize(("eps", "broken"), [(0.3, 1.0), (0.0001, 0.0)])
def test_a_fast_tier_is_held_against_the_whole_attack(
    monkeypatch: pytest.MonkeyPatch, eps: float, broken: float
) -> None:
    lazy = kdbench.attack("lazy", tier_of="pgd")(lambda model, images, labels, ctx: images)
    find = find_attack
    monkeypatch.setattr("kdbench.tasks.attack.find_attack", lambda name: lazy if name == "lazy" else find(name))
    outcome = measure(Attack(), Nearest(), ten_classes(count=20, wrong=4), attacks=["lazy"], eps=eps, tier_subset=6)
    [check] = [check for check in outcome.checks if check.name == "tier"]
    assert (check.value, check.passed, check.n, check.limit) == (broken, broken == 0, 6, 0)
    assert check.meaning.startswith("pgd breaks images")
    assert all(check.concerns(score) is (broken > 0) for score in outcome.scores)


def test_a_tier_that_leaves_nothing_standing_and_an_attack_that_is_none_have_no_such_check() -> None:
    data = ten_classes(count=10, wrong=0)
    outcome = measure(Attack(), Nearest(), data, attacks=["autoattack-fast", "pgd"], eps=0.3)
    assert one(outcome, "robust_accuracy", attack="autoattack-fast").value == 0
    assert "tier" not in {check.name for check in outcome.checks}


def objections(outcome: TaskResult) -> list[Objection]:
    results = {f"attack/{name}": array.numpy() for name, array in outcome.correct.items()}
    clean = {"clean/correct": np.ones(20, dtype=bool)}
    settings = Attack().resolve({"attacks": ["pgd", "apgd"]})
    return list(
        Attack().audit(
            Scorecard(
                "attack", settings, tuple(outcome.scores), tuple(outcome.checks), results | clean, unattacked_keys()
            )
        )
    )


def test_no_conditional_accuracy_where_nothing_was_right() -> None:
    outcome = measure(Attack(), Nearest(LEVELS[::-1]), ten_classes(count=10, wrong=0), attacks=["torchattacks:FGSM"])
    assert not select(outcome, "conditional_accuracy")
    assert one(outcome, "robust_accuracy").value == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": ["apdg"]}, "no attack named 'apdg' .did you mean 'apgd'"),
        ({"attacks": ["torchattacks:OnePixel"]}, "small in L0, kdbench's in Linf"),
        ({"attacks": ["torchattacks:PGGD"]}, "did you mean 'PGD'"),
        ({"attacks": []}, "attacks: "),
        ({"eps": 1.5}, "eps: "),
        ({"eps": -0.1}, "eps: "),
        ({"subset": 0}, "subset"),
        ({"attack": ["apgd"]}, "no setting of task 'attack' named 'attack' .did you mean 'attacks'"),
        ({"options": {"apgd": {"steps": 3}}}, "no option named 'steps' .*describe attack apgd"),
        ({"attacks": ["pgd"], "options": {"pgd": {"stepz": 3}}}, "no option named 'stepz' .did you mean 'steps'"),
        ({"attacks": ["pgd"], "options": {"pgd": {"steps": 0}}}, "attack 'pgd', option steps: .* found 0"),
        ({"attacks": ["torchattacks"]}, "'torchattacks' is a family of attacks"),
        ({"gradient_draws": 4}, "gradient_draws"),
        ({"votes": 0}, "votes"),
        ({"options": {"torchattacks:PGD": {"steps": 3}}}, "options for 'torchattacks:PGD', which is not among its"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(settings: dict[str, Any], message: str) -> None:
    task = Attack()
    with pytest.raises(KdbenchError, match=message):
        task.prepare(task.resolve(settings))


def test_it_is_registered_but_no_standard_task() -> None:
    assert Attack.name not in {task.name for task in builtin_tasks()}
    assert Attack.name in {task.name for task in kdbench_register_tasks()}
    assert all(Attack.name not in read_suite(path).tasks for path in builtin_suites())


def suite_of(path: Path, **tasks: TaskPlan) -> Suite:
    suite = read_suite(path)
    return suite.model_copy(update={"tasks": {**suite.tasks, **tasks}})


def test_the_suite_attacks_where_it_plans_pgd(tiny_suite: Path) -> None:
    suite = read_suite(tiny_suite)
    extended, tasks = with_attacks(suite, None, ["b", "a", "b"])
    assert tasks is None
    assert extended.tasks["attack"] == TaskPlan(conditions=("clean",), settings={"attacks": ["a", "b"]})
    assert {name: plan for name, plan in extended.tasks.items() if name != "attack"} == suite.tasks
    assert Suite.model_validate_json(extended.model_dump_json()) == extended
    assert with_attacks(suite, None, ["a", "b"])[0] == extended
    assert len({one.digest() for one in (suite, extended, with_attacks(suite, None, ["a"])[0])}) == 3
    assert with_attacks(suite, ["clean"], ["a"])[1] == ["clean", "attack"]
    assert with_attacks(suite, ["attack"], "a")[1] == ["attack"]
    assert with_attacks(suite, ["clean"], None) == (suite, ["clean"])
    assert with_attacks(suite, None, []) == (suite, None)
    assert with_attacks(suite, None, ["a"], everywhere=True)[0].tasks["attack"].conditions is None


def test_what_the_suite_says_of_the_task_stays(tiny_suite: Path) -> None:
    settings = {"attacks": ["apgd"], "subset": 3, "options": {"x": {"steps": 1}, "y": {"steps": 2}}}
    suite = suite_of(tiny_suite, attack=TaskPlan(conditions=("sym-40",), settings=settings))
    extended, _ = with_attacks(suite, None, ["y"])
    expected = {"attacks": ["y"], "subset": 3, "options": {"y": {"steps": 2}}}
    assert extended.tasks["attack"] == TaskPlan(conditions=("sym-40",), settings=expected)
    assert suite.tasks["attack"].settings == settings


def test_options_stand_behind_the_name(tiny_suite: Path) -> None:
    settings = {"attacks": ["y"], "options": {"y": {"steps": 2, "start": "zero"}}}
    suite = suite_of(tiny_suite, attack=TaskPlan(settings=settings))
    asked = ["y steps=50 restarts=3", "x objective=dlr"]
    assert with_attacks(suite, None, asked)[0].tasks["attack"].settings == {
        "attacks": ["x", "y"],
        "options": {"x": {"objective": "dlr"}, "y": {"steps": 50, "start": "zero", "restarts": 3}},
    }
    for text, message in (
        ("pgd steps", "attack pgd got 'steps' .write it as attack pgd name=value"),
        ("", "attack '' can't be read"),
        ("pgd 'steps", "can't be read .write a name, or a name and options"),
    ):
        with pytest.raises(KdbenchError, match=message):
            with_attacks(suite, None, [text])


def test_a_plan_has_the_task_under_the_clean_condition_alone(tiny_suite: Path) -> None:
    suite, plugins = read_suite(tiny_suite), load_plugins()
    plan = Plan.make(suite, plugins, "ce", {}, None, None, ["torchattacks:FGSM"])
    assert "attack" in plan.tasks_of("clean")
    assert "attack" not in plan.tasks_of("sym-40")
    assert plan.tasks["attack"][1].attacks == ("torchattacks:FGSM",)
    assert set(plan.tasks) == {*suite.tasks, "attack"}
    without = Plan.make(suite, plugins, "ce", {}, None, None)
    assert (without.suite, set(without.tasks)) == (suite, set(suite.tasks))
    for tasks in (None, ["calibration"]):
        with pytest.raises(KdbenchError, match="task 'attack' does not apply to condition sym-40"):
            Plan.make(suite, plugins, "ce", {}, ["sym-40"], tasks, ["apgd"])
    with pytest.raises(KdbenchError, match="did you mean 'apgd'"):
        Plan.make(suite, plugins, "ce", {}, None, None, ["agpd"])
    with pytest.raises(KdbenchError, match="no option named 'stepz' .did you mean 'steps'"):
        Plan.make(suite, plugins, "ce", {}, None, None, ["pgd stepz=3"])


def test_both_commands_attack(tiny_suite: Path, tmp_path: Path) -> None:
    common = ["--suite", tiny_suite, "--out", tmp_path / "runs", "--tasks", "clean"]
    run = ["run", "--method", "ce", "--condition", "clean", *common, "--json"]
    done = command(*run, "--attack", "torchattacks:FGSM restarts=2", "--attack", "torchattacks:VANILA")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["spec"]["suite"]["tasks"]["attack"]["settings"] == {
        "attacks": ["torchattacks:FGSM", "torchattacks:VANILA"],
        "options": {"torchattacks:FGSM": {"restarts": 2}},
    }
    assert record["spec"]["tasks"] == {"attack": 3, "clean": 1}
    scores = {
        (score["metric"], score["setting"]["attack"]): score for score in record["scores"] if score["task"] == "attack"
    }
    assert len(scores) == 4
    [clean] = [score for score in record["scores"] if score["task"] == "clean"]
    assert scores["robust_accuracy", "torchattacks:VANILA"]["value"] == clean["value"]
    assert scores["robust_accuracy", "torchattacks:FGSM"]["value"] < clean["value"]
    folder = tmp_path / "runs/tiny/ce" / record["run_id"]
    with np.load(folder / "predictions.npz") as arrays:
        assert arrays["clean/attack/torchattacks:FGSM/correct"].mean() == pytest.approx(
            scores["robust_accuracy", "torchattacks:FGSM"]["value"]
        )

    evaluate = ["evaluate", folder / "checkpoint-clean.safetensors", *common, "--json"]
    done = command(*evaluate, "--attack", "torchattacks:FGSM restarts=2")
    assert done.returncode == 0, done.stderr
    found = [score for score in json.loads(done.stdout)["scores"] if score["task"] == "attack"]
    assert found == [score for key, score in scores.items() if key[1] == "torchattacks:FGSM"]


def test_evaluate_attacks_whatever_the_condition(tiny_suite: Path) -> None:
    tiny_suite.write_text(
        tiny_suite.read_text() + '\n[tasks.attack]\nconditions = ["clean"]\nsettings = { subset = 4 }\n'
    )
    model = kdbench.models.create("wrn-10-1", num_classes=10)
    result = kdbench.evaluate(model, str(tiny_suite), tasks=["attack"], attacks=["apgd"], condition="sym-40")
    assert {(score.task, score.condition) for score in result.scores} == {("attack", "sym-40")}
    assert result.scores[0].n == 4
    assert set(result.correct) == {"attack/index", "attack/apgd/correct"}


def test_an_unknown_attack_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = command("run", "--method", "ce", "--attack", "torchattacks:FGMS", "--out", tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "no attack of torchattacks named 'FGMS' (did you mean 'FGSM'?)" in done.stderr
    assert not list(tmp_path.iterdir())
