from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.specs import Condition, LabelNoise, Recipe, Suite, TaskPlan, Training
from kdbench.suites import builtin_suites, load_suite
from kdbench.suites.reading import read_suite
from kdbench.training.optimisers import learning_rate


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_builtin_suites_are_valid_and_named_like_their_files(path: Path) -> None:
    suite = read_suite(path)
    assert suite.name == path.stem
    assert len(suite.why) > 80
    if "claims" in suite.name:  # measures what a claim is of, and no more
        return
    tasks = {"clean", "calibration", "pgd"} | ({"ood"} if suite.ood else set())
    if "web" not in suite.conditions:  # photographs, whose labels are noisy as they come
        tasks |= {"corruption", "noisy_label", "transfer"}
        assert any(condition.noise is not None for condition in suite.conditions.values())
    assert set(suite.tasks) == tasks
    assert any(condition.noise is None for condition in suite.conditions.values())


def test_drawn_noise_is_written_as_before_there_were_files_of_labels() -> None:
    drawn = LabelNoise(kind="symmetric", rate=0.4)
    assert drawn.canonical_json() == '{"kind":"symmetric","rate":0.4,"seed":0}'
    file = LabelNoise(kind="file", path="/home/me/a.npy", sha256="ab" * 32)
    assert LabelNoise.model_validate_json(file.canonical_json()) == file
    assert file.without_path() == LabelNoise(kind="file", sha256="ab" * 32)


def test_conditions_inherit_the_suite_recipe_and_override_it(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("[conditions.sym-40]", "[conditions.sym-40]\nrecipe = { epochs = 7 }")
    tiny_suite.write_text(text)
    suite = read_suite(tiny_suite)
    assert (suite.conditions["clean"].recipe.epochs, suite.conditions["sym-40"].recipe.epochs) == (3, 7)
    assert suite.conditions["sym-40"].recipe.batch_size == 20


def test_digest_depends_on_every_value_and_not_on_order() -> None:
    recipe = Recipe(epochs=1, batch_size=2, lr=0.1)
    a = Condition(recipe=recipe, noise=LabelNoise(kind="symmetric", rate=0.4))
    b = Condition.model_validate({"noise": {"rate": 0.4, "kind": "symmetric"}, "recipe": recipe.model_dump()})
    c = Condition(recipe=recipe, noise=LabelNoise(kind="symmetric", rate=0.4, seed=1))
    assert a.digest() == b.digest() != c.digest()


def test_learning_rate_schedules() -> None:
    cosine = Recipe(epochs=2, batch_size=1, lr=0.3, schedule="cosine")
    assert learning_rate(cosine, 0, 10) == pytest.approx(0.3)
    assert learning_rate(cosine, 5, 10) == pytest.approx(0.15)
    assert learning_rate(cosine, 9, 10) == pytest.approx(0.15 * (1 + math.cos(0.9 * math.pi)))
    cycle = Recipe(epochs=2, batch_size=1, lr=1.0, schedule="one-cycle", warmup=0.2)
    rates = [learning_rate(cycle, step, 10) for step in range(10)]
    assert rates[0] == pytest.approx(1 / 3)
    assert rates[2] == max(rates) == 1.0
    assert rates[-1] == pytest.approx(1 / 8)
    assert min(rates) > 0
    exponential = Recipe(epochs=3, batch_size=1, lr=2.0, schedule="exponential", gamma=0.97)
    assert [learning_rate(exponential, step, 6) for step in range(6)] == pytest.approx(
        [2.0, 2.0, 1.94, 1.94, 2 * 0.97**2, 2 * 0.97**2]
    )
    steps = Recipe(epochs=4, batch_size=1, lr=1.0, milestones=(1, 3), gamma=0.5)
    assert [learning_rate(steps, step, 8) for step in range(8)] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_field_that_came_later_leaves_older_hashes_alone() -> None:
    recipe = Recipe(epochs=1, batch_size=2, lr=0.1)
    assert "optimizer" not in recipe.canonical_json()
    assert Recipe.model_validate_json(recipe.canonical_json()) == recipe
    adam = Recipe(epochs=1, batch_size=2, lr=0.1, optimizer="adam")
    assert '"optimizer":"adam"' in adam.canonical_json()
    assert Recipe.model_validate_json(adam.canonical_json()) == adam
    assert adam.digest() != recipe.digest()


@pytest.mark.parametrize(
    ("suite", "conditions"),
    [
        ("digits", {"clean": "a5f044e99d55fe3f", "sym-40": "5e247ee34a4c277d"}),
        ("cifar10-lite", {"clean": "7d84354e4c7eb48e", "sym-40": "945a85ff455109bd"}),
    ],
)
def test_hashes_of_the_first_suites_hold(suite: str, conditions: dict[str, str]) -> None:
    """Where one of these is changed on purpose, every training of the suite is another one from then on."""
    loaded = load_suite(suite)
    assert {name: condition.digest() for name, condition in loaded.conditions.items()} == conditions
    assert "pretrained" not in loaded.canonical_json()


def test_the_hash_of_a_training_holds() -> None:
    values: dict[str, Any] = {
        "suite": "digits", "dataset": "digits", "dataset_sha256": "d", "train_size": None, "subset_seed": 0,
        "noise": LabelNoise(kind="symmetric", rate=0.4), "labels_sha256": "l", "model": "wrn-10-1", "model_source": "m",
        "mean": None, "std": None, "flip": False, "recipe": load_suite("digits").conditions["sym-40"].recipe,
        "method": "ce", "method_source": "s", "params": {}, "seed": 0, "device": "cpu", "needs": {},
    }  # fmt: skip
    assert Training(**values).digest() == "9b051ea9d297de0d"
    pretrained = Training(**values, pretrained=True)
    assert pretrained.digest() != "9b051ea9d297de0d"
    assert Training.model_validate_json(pretrained.canonical_json()) == pretrained


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_a_suite_has_one_attack_budget(path: Path) -> None:
    """PGD had 2/255 where transfer had 8/255, so that another network's examples seemed to beat the white box."""
    suite, tasks = read_suite(path), load_plugins().tasks
    attacking = [tasks.get(name) for name in tasks if "eps" in tasks.get(name).Settings.model_fields]
    assert {"pgd", "transfer", "attack", "teacher_transfer"} <= {task.name for task in attacking}
    if "pgd" in suite.tasks:
        [radius] = {task.settings_in(suite).eps for task in attacking}
        assert suite.attack is not None
        assert suite.attack.eps == radius == {"cifar10-lite": 2 / 255, "katz": 8 / 255}.get(suite.name, 0.031)
    else:
        assert suite.attack is None


def test_a_task_takes_the_suites_radius_unless_its_plan_says_another(tiny_suite: Path) -> None:
    plain = read_suite(tiny_suite)
    tiny_suite.write_text(tiny_suite.read_text().replace("[recipe]", "[attack]\neps = 0.125\n\n[recipe]"))
    suite, tasks = read_suite(tiny_suite), load_plugins().tasks
    own = TaskPlan(settings={"eps": 0.25})
    knowing = suite.model_copy(update={"tasks": {**suite.tasks, "transfer": own}})
    assert [tasks.get("transfer").settings_in(one).eps for one in (plain, suite, knowing)] == [8 / 255, 0.125, 0.25]
    assert tasks.get("pgd").settings_in(knowing).eps == 0.125
    assert tasks.get("pgd").settings_in(suite).subset == 10
    assert tasks.get("clean").settings_in(suite) == tasks.get("clean").resolve({})
    assert "attack" not in plain.canonical_json()
    assert '"attack":{"eps":0.125}' in suite.canonical_json()
    assert Suite.model_validate_json(suite.canonical_json()) == suite
    tiny_suite.write_text(tiny_suite.read_text().replace("eps = 0.125", "eps = 1.5"))
    with pytest.raises(KdbenchError, match=r"attack\.eps: input should be less than or equal to 1, found 1\.5"):
        read_suite(tiny_suite)


def test_nesterov_is_of_sgd() -> None:
    with pytest.raises(ValueError, match="nesterov = true goes with optimizer = sgd, not with adam"):
        Recipe(epochs=1, batch_size=2, lr=0.1, nesterov=True, optimizer="adam")


def test_a_suite_may_demand_a_view_and_the_others_keep_their_hashes(tiny_suite: Path) -> None:
    free = read_suite(tiny_suite)
    assert free.demanded(["view"]) == {} and '"view"' not in free.canonical_json()
    tiny_suite.write_text(tiny_suite.read_text().replace("version", 'view = "strong"\nversion', 1))
    strong = read_suite(tiny_suite)
    assert strong.demanded(["alpha", "view"]) == {"view": "strong"} and strong.demanded(["alpha"]) == {}
    assert strong.digest() != free.digest()
    assert Suite.model_validate_json(strong.canonical_json()) == strong
    assert Suite.model_validate_json(free.canonical_json()) == free
    tiny_suite.write_text(tiny_suite.read_text().replace('view = "strong"', 'view = "weak"'))
    with pytest.raises(KdbenchError, match="view: input should be 'suite' or 'strong', found 'weak'"):
        read_suite(tiny_suite)


@pytest.mark.parametrize("path", builtin_suites(), ids=lambda path: path.stem)
def test_a_copy_of_a_builtin_suite_keeps_its_family_and_the_original_its_hash(path: Path, tmp_path: Path) -> None:
    original, text = read_suite(path), path.read_text()
    assert original.family == original.name
    assert "family" not in original.model_dump(), "the run ids from before suites had families hold"
    copy = tmp_path / "mine.toml"
    copy.write_text(text.replace(f'name = "{path.stem}"', 'name = "mine"', 1))
    copied = read_suite(copy)
    assert (copied.name, copied.family) == ("mine", path.stem)
    assert f'"family":"{path.stem}"' in copied.canonical_json()
    assert Suite.model_validate_json(copied.canonical_json()) == copied
    assert Suite.model_validate_json(original.canonical_json()) == original


def test_without_a_family_a_suite_is_its_own(tiny_suite: Path) -> None:
    assert read_suite(tiny_suite).family == read_suite(tiny_suite).name
    tiny_suite.write_text(tiny_suite.read_text().replace("version", 'family = "a b"\nversion', 1))
    with pytest.raises(KdbenchError, match="family: string should match pattern"):
        read_suite(tiny_suite)
