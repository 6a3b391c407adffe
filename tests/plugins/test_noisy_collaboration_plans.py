"""Noisy collaboration: the fickle teacher, what is trained first and for how long, the suite, and mistakes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from kdbench_noisy_collaboration.fixed_corruption import corrupted
from torch import Tensor, nn

import kdbench
from kdbench.hashes import integers_sha256
from kdbench.methods.recipes import Setting
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.running.graph import RunGraph
from kdbench.running.needs import Needs, Node, is_extended
from kdbench.running.options import RunOptions
from kdbench.running.suite_data import load_suite_data
from kdbench.specs import Condition, LabelNoise
from kdbench.suites import load_suite
from kdbench.testing import RECIPE, TINY
from tests.plugins.helpers import Legible, make, make_batch, softmax
from tests.plugins.noisy_by_hand import (
    CLASSES,
    QUIET,
    Seen,
    context,
    distillation,
    draw,
)

# The fickle teacher.


class Dropping(nn.Module):
    """A teacher with dropout and batch norm."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 32), nn.BatchNorm1d(32), nn.Dropout(p))
        self.head = nn.Linear(32, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(pixels))
        return logits


def test_a_fickle_teacher_answers_anew_at_each_visit_and_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    teacher = Dropping(0.4).eval().requires_grad_(False)
    before = copy.deepcopy(teacher.state_dict())
    _, _, labels = draw(16)
    ctx = context(teacher, labels)
    method = make("fickle-teacher", dropout=0.4)
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    method.setup(ctx)
    state = torch.get_rng_state()
    first, second = (method.loss(make_batch(labels, images=images), ctx).item() for _ in range(2))
    torch.set_rng_state(state)
    assert method.loss(make_batch(labels, images=images), ctx).item() == first != second
    assert not any(module.training for module in teacher.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in teacher.state_dict().items())
    # The loss is that of one pass with a mask in which about 40 % of the features are 0.
    features, masks = teacher.layers[:3](images), list[Tensor]()
    hook = teacher.layers[3].register_forward_hook(lambda module, given, result: masks.append(result))
    torch.set_rng_state(state)
    assert method.loss(make_batch(labels, images=images), ctx).item() == first
    hook.remove()
    assert 0.25 < (masks[0] == 0).double().mean().item() < 0.55
    kept = masks[0] != 0
    torch.testing.assert_close(masks[0][kept], features[kept] / 0.6)
    teaching = softmax(teacher.head(masks[0]).double().numpy(), 4.0)
    student = images.flatten(1)[:, :CLASSES].double().numpy()
    assert first == pytest.approx(distillation(student, teaching, labels), rel=1e-5)


def test_a_fickle_teacher_that_fails_is_left_as_it_was_too() -> None:
    teacher = Dropping(0.4).eval()
    ctx, method = context(teacher, [0]), make("fickle-teacher")
    method.setup(ctx)
    with pytest.raises(RuntimeError):
        method.loss(make_batch([0], images=torch.zeros(1, 3, 16, 16)), ctx)
    assert not any(module.training for module in teacher.modules())


def test_dropout_layers_of_every_kind_are_found_and_their_absence_is_told() -> None:
    teacher = build(TINY, num_classes=CLASSES, seed=0).eval()
    ctx = context(nn.Sequential(teacher, nn.AlphaDropout(0.1)), [0])
    method: Any = make("fickle-teacher")
    method.setup(ctx)
    assert [type(layer) for layer in method.layers] == [nn.Dropout, nn.AlphaDropout]
    with pytest.raises(kdbench.KdbenchError, match="no dropout layer in the teacher, expected some for dropout=0.4"):
        method.setup(context(Legible(CLASSES), [0]))
    make("fickle-teacher", dropout=0.0).setup(context(Legible(CLASSES), [0]))


# What is trained first, and for how long.


def planned(name: str, suite: str = "arani", condition: str = "clean", **params: Any) -> Node:
    return Needs(load_suite(suite), load_plugins(), condition).student(name, params, 0)


@pytest.mark.parametrize(
    ("dropout", "epochs", "milestones"),
    [
        (0.0, 200, (60, 120, 150)),
        (0.1, 250, (75, 150, 200)),
        (0.2, 250, (75, 150, 200)),
        (0.3, 300, (90, 180, 240)),
        (0.4, 350, (105, 210, 280)),
        (0.5, 350, (105, 210, 280)),
    ],
)
@pytest.mark.parametrize("suite", ["arani", "cifar10"])
def test_fickle_students_train_longer_the_more_the_teacher_drops(
    suite: str, dropout: float, epochs: int, milestones: tuple[int, ...]
) -> None:
    node = planned("fickle-teacher", suite, dropout=dropout)
    standard = load_suite(suite).condition("clean").recipe
    assert (node.recipe.epochs, node.recipe.milestones, node.recipe.gamma) == (epochs, milestones, 0.2)
    assert is_extended(node.recipe, standard) is (dropout > 0)
    assert node.dropout == 0
    teacher = node.needs["teacher"]
    assert (teacher.method.name, teacher.model, teacher.dropout) == ("ce", "wrn-40-2", dropout)
    assert teacher.recipe == standard
    assert planned("fickle-teacher", suite, dropout=dropout, schedule="suite").recipe == standard


def test_the_control_of_a_fickle_teacher_is_kd_with_its_schedule() -> None:
    for epochs in (250, 300, 350):
        node = planned("fickle-teacher", dropout=0.0, schedule=str(epochs))
        assert node.recipe == planned("fickle-teacher", dropout={250: 0.2, 300: 0.3, 350: 0.4}[epochs]).recipe
        assert node.needs["teacher"].suite_role == "teacher"
    assert planned("fickle-teacher", "nrd-cifar10", schedule="350").recipe.epochs == 400, "no other suite's budget"


@pytest.mark.parametrize("name", ["messy-collaboration", "fixed-label-corruption"])
def test_a_teacher_is_trained_on_changed_labels_where_the_variant_says_so(name: str) -> None:
    trains = {"messy-collaboration": "target-variability", "fixed-label-corruption": "corrupted-labels"}[name]
    own = planned("kd").needs["teacher"]
    for variant, rate, changed in (("S", 0.5, False), ("T", 0.25, True), ("TS", 0.25, True), ("TS", 0.0, False)):
        teacher = planned(name, variant=variant, rate=rate).needs["teacher"]
        assert teacher.suite_role == (None if changed else "teacher")
        assert (teacher.model, teacher.seed, teacher.recipe) == (own.model, own.seed, own.recipe)
        assert teacher.method.name == (trains if changed else "ce")
        if changed:
            assert teacher.params["rate"] == rate
    if name == "fixed-label-corruption":
        assert planned(name, variant="TS", corruption_seed=3).needs["teacher"].params["corruption_seed"] == 3


@pytest.mark.parametrize("name", ["messy-collaboration", "fixed-label-corruption"])
def test_on_noisy_labels_the_students_targets_alone_are_changed(name: str) -> None:
    for condition in ("clean", "sym-05", "sym-50"):
        node = planned(name, condition=condition)
        assert node.params["variant"] == ("T" if condition == "clean" else "S")
        assert planned(name, condition=condition, variant="TS").params["variant"] == "TS"
    for noise in kdbench.noise.builtin_specs():
        condition = Condition(noise=LabelNoise(kind=noise.name, rate=0.2), recipe=RECIPE)
        resolved = load_plugins().methods.get(name).resolve({}, Setting("s", "d", "m", condition))
        assert resolved.params["variant"] == "S", noise.name


def test_every_teacher_learns_from_the_noisy_labels_of_its_student(tiny_suite: Path, tmp_path: Path) -> None:
    suite, plugins = load_suite(str(tiny_suite)), load_plugins()
    options = RunOptions.make(device="cpu", out=tmp_path)
    dataset = load_suite_data(suite, plugins, options.place, ood=False).dataset
    graph = RunGraph(suite, dataset, plugins, options)
    labels = {name: integers_sha256(graph.train_set(name)[0].labels) for name in ("clean", "sym-40")}
    assert labels["clean"] != labels["sym-40"]
    changed = [
        (name, {"variant": v}) for name in ("messy-collaboration", "fixed-label-corruption") for v in ("T", "TS")
    ]
    for name, params in [*((name, {}) for name in QUIET), *changed]:
        for condition, expected in labels.items():
            student = graph.student(condition, name, params, 0)
            [teacher] = graph.own(student).values() or [graph.network(condition, "teacher")]
            assert student.needs == {"teacher": teacher.digest()}
            assert student.labels_sha256 == teacher.labels_sha256 == expected, name
            assert student.noise == teacher.noise


def test_fixed_corruption_draws_other_examples_than_the_conditions_noise() -> None:
    labels = torch.arange(10_000) % 10
    ours = corrupted(labels, 0.5, 10, 0)
    theirs = kdbench.noise.symmetric(labels, 0.5, 10, generator=torch.Generator().manual_seed(0))
    both = ((ours != labels) & (theirs != labels)).double().mean().item()
    assert both == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(ours, corrupted(labels, 0.5, 10, 1))
    assert (ours != labels).sum() == 5000


def test_student_and_teacher_of_fixed_corruption_have_the_same_labels_though_not_the_same_seed() -> None:
    labels = draw(17, batch=40)[2]
    found = []
    for name, seed in (("fixed-label-corruption", 1), ("corrupted-labels", 2)):
        ctx = context(Seen(), labels)
        ctx.generator.manual_seed(seed)
        method: Any = make(name, **({"variant": "TS"} if seed == 1 else {}))
        method.on_epoch_start(ctx)
        found.append(method.labels)
    assert torch.equal(*found)
    assert (found[0] != torch.tensor(labels)).sum() == 20


def test_messy_collaboration_runs_with_a_teacher_of_its_own(tiny_suite: Path, tmp_path: Path) -> None:
    params = {"variant": "TS", "rate": 0.2}
    record = kdbench.run(
        str(tiny_suite),
        "messy-collaboration",
        params=params,
        conditions=["sym-40"],
        tasks=["noisy_label"],
        out=tmp_path,
    )
    assert record.status == "finished"
    assert list(record.hashes.networks) == ["sym-40/student/teacher"]
    assert record.budget == "standard"
    [folder] = (path for path in (tmp_path / "tiny/trainings").glob("target-variability-*") if path.is_dir())
    assert record.hashes.networks["sym-40/student/teacher"].training in folder.name


# The suite.


def test_the_suite_is_the_published_setting_at_the_five_published_rates() -> None:
    arani, plain = load_suite("arani"), load_suite("cifar10")
    assert (arani.student, arani.networks["teacher"].model) == ("wrn-16-2", "wrn-40-2")
    assert arani.mean is None and arani.networks == plain.networks
    rates = [0.0, 0.05, 0.1, 0.15, 0.25, 0.5]
    for rate, condition in zip(rates, arani.conditions.values(), strict=True):
        noise = condition.noise
        assert (noise.rate if noise else 0.0) == rate
        assert noise is None or noise.kind == "symmetric"
        assert condition.recipe == plain.condition("clean").recipe
    recipe = arani.condition("clean").recipe
    assert (recipe.epochs, recipe.milestones, recipe.gamma, recipe.lr) == (200, (60, 120, 150), 0.2, 0.1)
    assert (recipe.batch_size, recipe.momentum, recipe.nesterov, recipe.weight_decay) == (128, 0.9, False, 5e-4)


# Mistakes, and what is said of each method.


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("fickle-teacher", {"dropout": 1.0}, "dropout: input should be less than 1, found 1.0"),
        ("fickle-teacher", {"dropout": -0.1}, "dropout: input should be greater than or equal to 0"),
        ("fickle-teacher", {"schedule": "400"}, "schedule: input should be 'paper', 'suite', '250', '300' or '350'"),
        ("soft-randomization", {"sigma": -0.1}, "sigma: input should be greater than or equal to 0"),
        ("soft-randomization", {"sigma": 12.75}, "sigma: input should be less than or equal to 1, found 12.75"),
        ("soft-randomization", {"temperature": 0}, "temperature: input should be greater than 0"),
        ("gaussian-augmentation", {"sigma": float("inf")}, "sigma: input should be a finite number"),
        ("messy-collaboration", {"rate": 1.1}, "rate: input should be less than or equal to 1, found 1.1"),
        ("messy-collaboration", {"variant": "ST"}, "variant: input should be 'S', 'T' or 'TS', found 'ST'"),
        ("messy-collaboration", {"alpha": 1.5}, "alpha: input should be less than or equal to 1"),
        ("target-variability", {"rate": -0.5}, "rate: input should be greater than or equal to 0"),
        ("fixed-label-corruption", {"rate": 40}, "rate: input should be less than or equal to 1, found 40"),
        ("fixed-label-corruption", {"corruption_seed": -1}, "corruption_seed: input should be greater than or equal"),
        ("corrupted-labels", {"rate": 2}, "rate: input should be less than or equal to 1"),
        ("signal-dependent-noise", {"sigma": -1}, "sigma: input should be greater than or equal to 0"),
        ("signal-dependent-noise", {"mode": "both"}, "mode: input should be 'independent' or 'shared', found 'both'"),
        ("swap-top2", {"pi": 1.2}, "pi: input should be less than or equal to 1, found 1.2"),
        ("swap-all", {"theta": -0.2}, "theta: input should be greater than or equal to 0"),
        ("swap-all", {"direction": "forward"}, "direction: input should be 'teacher-student' or 'reverse'"),
    ],
)
def test_values_out_of_range_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)


@pytest.mark.parametrize("name", [*QUIET, "gaussian-augmentation", "target-variability", "corrupted-labels"])
def test_every_method_says_what_it_computes_and_where_that_is_from(name: str) -> None:
    spec = load_plugins().methods.get(name)
    idea, _, rest = (spec.target.__doc__ or "").partition("\n")
    assert idea.endswith(".") and 20 < len(idea) <= 110
    assert "    L = " in rest
    assert spec.paper == "https://arxiv.org/abs/1910.05057"
    assert all(field.description for field in spec.parameters.model_fields.values())


def test_defaults_are_those_of_the_papers_headline_numbers() -> None:
    expected = {
        "fickle-teacher": {"dropout": 0.4},
        "soft-randomization": {"sigma": 0.05, "clip": False},
        "gaussian-augmentation": {"sigma": 0.05},
        "messy-collaboration": {"variant": "T", "rate": 0.5},
        "signal-dependent-noise": {"sigma": 0.1},
    }
    for name, values in expected.items():
        found = load_plugins().methods.get(name).validate({})
        assert values.items() <= found.items()
        if name != "gaussian-augmentation":
            assert {"temperature": 4.0, "alpha": 0.9, "direction": "teacher-student"}.items() <= found.items()
