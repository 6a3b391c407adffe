"""smkd-s and smkd-p against float64 NumPy computations, and the reductions they must satisfy."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kdbench_smkd.correction import Prediction
from kdbench_smkd.exchange import passed_on, threshold
from torch import Tensor

import kdbench
from kdbench.methods.context import TrainSet
from kdbench.methods.method import Method
from kdbench.models import build
from kdbench.plugin.loader import load_plugins
from kdbench.running.needs import Needs
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.suites import FOLDER, load_suite
from kdbench.suites.reading import read_suite
from kdbench.testing import TINY
from kdbench.training.loop import fit
from tests.plugins.helpers import Legible, make, softmax
from tests.plugins.smkd_by_hand import (
    ALONE,
    CLASSES,
    PAIRS,
    SAMPLES,
    batch_of,
    context,
    draw,
    entropy_of,
    gradients_of,
    loss_of,
    pair_by_hand,
    target_by_hand,
)

PAIR: list[tuple[str, dict[str, Any]]] = [
    ("smkd-s", {}),
    ("smkd-s", {"self_target": "proselflc", "b": 6.0, "offset": 0.3, "eta": 2.0}),
    ("smkd-s", {"self_target": "ls", "epsilon": 0.25, "denominator": "own"}),
    ("smkd-s", {"self_target": "cp", "penalty": 0.3, "eta": 1.0, "denominator": "paper-alg1"}),
    ("smkd-p", {"b2": 4.0, "eta": 3.0, "denominator": "paper-alg1"}),
    ("smkd-p", {"b2": -8.0, "eta": 1.5, "self_target": "proselflc", "target_gradient": "stop"}),
]


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
@pytest.mark.parametrize(("name", "params"), PAIR, ids=str)
def test_pair_loss_equals_its_formula(name: str, params: dict[str, Any], scale: float) -> None:
    ours, theirs, labels = draw(9, scale)
    expected = pair_by_hand(ours.numpy(), theirs.numpy(), labels, 0.7, SAMPLES, params)
    assert loss_of(name, ours, theirs, labels, **params).item() == pytest.approx(expected, rel=1e-6)


def test_the_settings_of_the_pair_cover_samples_passed_on_and_not() -> None:
    ours, theirs, _ = draw(9, 2.0)
    assert [passed_on(Prediction.of(logits), 0.7, 2.0, 0.0).sum().item() for logits in (ours, theirs)] == [3, 2]


# Known answers.


def test_threshold_known_answers() -> None:
    assert threshold(0.5, 100, 1.0, 0.0) == pytest.approx(4.60517, abs=5e-6)  # ln 100
    for eta, expected in ((1, 4.6052), (2, 2.3026), (3, 1.5351), (4, 1.1513)):
        assert threshold(0.3, 100, eta, 0.0) == pytest.approx(expected, abs=5e-5)
    for progress, expected in ((0, 2.028), (0.25, 1.683), (0.5, 1.151), (0.75, 0.619), (1, 0.274)):
        assert threshold(progress, 100, 4.0, -4.0) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("name", ["mylc", "smkd-p"])
def test_the_record_is_state_and_comes_back(name: str) -> None:
    ours, theirs, labels = draw(3)
    ctx, batch = context(0.5, CLASSES, 20), batch_of(ours, theirs, labels)

    def fresh() -> Method:
        method = make(name)
        method.setup(context(0.5, CLASSES, 20))
        return method

    used, resumed = fresh(), fresh()
    used.loss(batch, ctx)
    resumed.load_state({key: tensor.clone() for key, tensor in used.state().items()})
    assert len(used.state()) == (1 if name == "mylc" else 2)
    later = dataclasses.replace(batch, index=batch.index + 10)
    expected, found, naive = (method.loss(later, ctx).item() for method in (used, resumed, fresh()))
    assert found == expected
    assert naive != pytest.approx(expected, rel=1e-6)


def test_peers_keep_records_of_their_own() -> None:
    ours, theirs, labels = draw(4)
    ctx, method = context(0.5, CLASSES, SAMPLES), make("smkd-s")
    method.setup(ctx)
    method.loss(batch_of(ours, theirs, labels), ctx)
    for owner, logits in (("student", ours), ("peer", theirs)):
        noted = method.state()[f"{owner}.entropies"].numpy()
        np.testing.assert_allclose(noted, entropy_of(softmax(logits.numpy())), rtol=1e-5)


def test_one_sample_that_is_passed_on_weighs_as_one_of_its_batch() -> None:
    """It weighed as much as the whole batch: the fewer were passed on, the more each pushed, until none was."""
    count, labels = 64, [0] * 64
    ours = torch.zeros(count, CLASSES, dtype=torch.float64)
    theirs = ours.clone()
    theirs[0, 1] = 20.0  # the one that the peer is sure of
    found = gradients_of("smkd-s", ours, theirs, labels, self_target="ls", epsilon=0.0, eta=4.0)[0]
    alone = gradients_of("smkd-s", ours, theirs, labels, self_target="ls", epsilon=0.0, eta="inf")[0]
    received = (found - alone)[0]
    expected = (torch.full((CLASSES,), 1 / CLASSES) - torch.eye(CLASSES)[0]) / count  # p - q, over the batch
    torch.testing.assert_close(received, expected.double())
    for name in ("smkd-s", "smkd-p"):
        assert load_plugins().methods.get(name).validate({})["denominator"] == "batch-mean"


def logged(method: Method, ctx: kdbench.Context, ours: Tensor, theirs: Tensor, labels: list[int]) -> Any:
    method.on_epoch_start(ctx)
    method.loss(batch_of(ours, theirs, labels), ctx)
    return method.epoch_log(ctx)


def test_the_log_says_when_the_exchange_has_died_and_one_warning_does() -> None:
    unsure, _, labels = draw(4)
    unsure, sure = 0 * unsure, 50 * torch.eye(CLASSES, dtype=torch.float64)[labels]
    method = make("smkd-s")
    method.setup(context(0.0, CLASSES, SAMPLES))
    early, late = (dataclasses.replace(context(0.0, CLASSES, SAMPLES), epochs=10, epoch=epoch) for epoch in (3, 5))
    assert logged(method, early, unsure, unsure, labels) == {"exchanged": 0.0, "exchange_died": 0.0}, "not yet"
    assert logged(method, late, sure, unsure, labels) == {"exchanged": float(SAMPLES), "exchange_died": 0.0}
    with pytest.warns(UserWarning, match=f"has died: 0 of {2 * SAMPLES} targets were passed on in epoch 6 of 10"):
        assert logged(method, late, unsure, unsure, labels) == {"exchanged": 0.0, "exchange_died": 1.0}
    assert logged(method, late, unsure, unsure, labels)["exchange_died"] == 1.0, "and no second warning"
    alone = make("smkd-s", eta="inf")
    alone.setup(context(0.0, CLASSES, SAMPLES))
    assert logged(alone, late, sure, sure, labels)["exchange_died"] == 0.0, "none was meant to be"


# Gradients.


@pytest.mark.parametrize(
    "params", [{"self_target": "ls", "epsilon": 0.3, "eta": 0.5}, {"self_target": "cp", "eta": "inf"}], ids=str
)
def test_gradient_of_the_smooth_pairs_matches_finite_differences(params: dict[str, Any]) -> None:
    ours, theirs, labels = draw(8, 1.5, samples=3)
    pair = (ours.requires_grad_(), theirs.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: loss_of("smkd-s", a, b, labels, **params), pair)


@pytest.mark.parametrize("denominator", ["own", "batch-mean", "paper-alg1"])
@pytest.mark.parametrize("kind", ["mylc", "proselflc", "ls", "cp"])
def test_no_gradient_reaches_the_peer_that_gives(kind: str, denominator: str) -> None:
    ours, theirs, labels = draw(9, 1.5)
    ps, q = (softmax(ours.numpy()), softmax(theirs.numpy())), np.eye(CLASSES)[labels]
    targets = [target_by_hand(kind, p, q, 0.7, SAMPLES, {}) for p in ps]
    passed = [entropy_of(p) < math.log(CLASSES) / 2 for p in ps]
    found = gradients_of("smkd-s", ours, theirs, labels, self_target=kind, eta=2.0, denominator=denominator)
    alone = gradients_of("smkd-s", ours, theirs, labels, self_target=kind, eta="inf")
    for to, giver in ((0, 1), (1, 0)):
        # d H(t, p) / dz = sum(t) p - t for a fixed target t.
        received = (targets[giver].sum(1, keepdims=True) * ps[to] - targets[giver]) * passed[giver][:, None]
        count = {"own": passed[giver].sum(), "batch-mean": SAMPLES, "paper-alg1": passed[to].sum()}[denominator]
        np.testing.assert_allclose((found[to] - alone[to]).numpy(), received / count, atol=1e-7)


# Reductions.


@pytest.mark.parametrize("name", [*ALONE, *PAIRS])
def test_reduction_2_doubling_the_batch_by_repetition_changes_nothing(name: str) -> None:
    ours, theirs, labels = draw(10)
    twice = {"proselflc": {}, "mylc": {"reliability": "batch"}}.get(name, {"reliability": "batch", "eta": 2.0})
    once = loss_of(name, ours, theirs, labels, **twice)
    doubled = loss_of(name, torch.cat([ours] * 2), torch.cat([theirs] * 2), labels * 2, **twice)
    assert doubled.item() == pytest.approx(once.item(), rel=1e-9)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", ALONE)
def test_reduction_8_eta_to_infinity_leaves_two_independent_networks(name: str, kind: str) -> None:
    ours, theirs, labels = draw(11, 4.0)
    expected = [gradients_of(kind, logits, theirs, labels)[0] for logits in (ours, theirs)]
    torch.testing.assert_close(
        gradients_of(name, ours, theirs, labels, self_target=kind, eta="inf"), tuple(expected), rtol=0, atol=0
    )
    torch.testing.assert_close(
        gradients_of(name, ours, theirs, labels, self_target=kind, eta=1e12), tuple(expected), rtol=0, atol=0
    )


def trained(name: str, folder: Path, **params: Any) -> dict[str, Tensor]:
    """The student's weights after two short epochs."""
    recipe = Recipe(epochs=2, batch_size=10, lr=0.1, weight_decay=5e-4)
    spec = Training(
        suite="x", dataset="x", dataset_sha256="", train_size=None, subset_seed=0, labels_sha256="", model="tiny",
        noise=LabelNoise(kind="symmetric", rate=0.4), model_source="", device="cpu", mean=None, std=None, flip=True,
        recipe=recipe, method="m", method_source="", params={}, seed=0, needs={},
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (25, 3, 32, 32), generator=generator).to(torch.uint8)
    data, student = TrainSet(images, torch.arange(25) % 10, 10), build(TINY, num_classes=10, seed=1)

    def peer(model: str | None, dropout: float, seed: int) -> torch.nn.Module:
        return build(TINY, num_classes=10, seed=seed)

    fit(spec, make(name, **params), student, data, {}, folder=folder, device=torch.device("cpu"), build=peer)
    return student.state_dict()


def test_reduction_8_a_student_without_exchange_is_trained_as_if_alone(tmp_path: Path) -> None:
    alone = trained("mylc", tmp_path / "alone")
    for name, params in (("smkd-s", {"eta": "inf"}), ("smkd-p", {"eta": "inf", "b2": 3.0})):
        paired = trained(name, tmp_path / name, **params)
        assert all(torch.equal(tensor, paired[key]) for key, tensor in alone.items())
    # The predictions of a network at the start are all but uniform: only eta <= 1 has anything passed on.
    exchanged = trained("smkd-s", tmp_path / "exchanged", eta=0.5)
    assert not torch.equal(alone["network.head.weight"], exchanged["network.head.weight"])


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_reduction_8_small_eta_passes_on_every_sample(eta: float) -> None:
    logits = torch.cat([draw(12, 3.0)[0], torch.zeros(3, CLASSES, dtype=torch.float64)])
    assert passed_on(Prediction.of(logits), 0.2, eta, 0.0).all()
    # With another b2 that holds no more: late in training the uniform predictions stay at home.
    assert passed_on(Prediction.of(logits), 0.9, eta, -8.0).tolist()[SAMPLES:] == [False] * 3


def test_reduction_8_p_with_b2_0_or_next_to_it_is_s() -> None:
    ours, theirs, labels = draw(13)
    static = gradients_of("smkd-s", ours, theirs, labels, eta=2.0)
    for b2 in (0.0, 1e-9, -1e-9):
        torch.testing.assert_close(gradients_of("smkd-p", ours, theirs, labels, eta=2.0, b2=b2), static)


def test_reduction_8_the_threshold_falls_for_negative_b2_and_is_the_static_one_at_half_time() -> None:
    times = [step / 20 for step in range(21)]
    for b2 in (-8.0, -2.0, 2.0):
        values = np.diff([threshold(t, 100, 3.0, b2) for t in times])
        assert (np.sign(values) == np.sign(b2)).all()
    for b2 in (-8.0, 0.0, 4.0, 1e6):
        assert threshold(0.5, 100, 3.0, b2) == pytest.approx(math.log(100) / 3)


def test_reduction_8_with_plain_labels_and_everything_passed_on_it_is_twice_cross_entropy() -> None:
    ours, theirs, labels = draw(14)
    found = loss_of("smkd-s", ours, theirs, labels, self_target="ls", epsilon=0.0, eta=0.5)
    expected = sum(2 * loss_of("ce", logits, theirs, labels).item() for logits in (ours, theirs))
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("denominator", ["own", "batch-mean", "paper-alg1"])
def test_nothing_passed_on_in_one_or_both_directions_is_no_division_by_0(denominator: str) -> None:
    unsure, sure = torch.zeros(2, CLASSES), torch.tensor([[30.0, 0, 0, 0, 0], [0, 30.0, 0, 0, 0]])
    for ours, theirs in ((unsure, unsure), (unsure, sure), (sure, unsure)):
        assert loss_of("smkd-s", ours, theirs, [0, 2], denominator=denominator).isfinite()
        for gradient in gradients_of("smkd-s", ours, theirs, [0, 2], denominator=denominator):
            assert gradient.isfinite().all()


@pytest.mark.parametrize("name", [*ALONE, *PAIRS])
def test_saturated_predictions_give_a_finite_loss_and_gradient(name: str) -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]])
    for labels in ([1, 1], [0, 1]):
        assert loss_of(name, logits, logits.flip(0), labels).isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients_of(name, logits, logits.flip(0), labels))


# What may be asked for.


@pytest.mark.parametrize("evaluate", ["student", "peer", "ensemble"])
def test_what_is_measured(evaluate: str) -> None:
    ours, theirs, labels = draw(15)
    ctx, method = context(0.5, CLASSES, SAMPLES), make("smkd-s", evaluate=evaluate)
    method.setup(ctx)
    assert set(method.networks()) == {"peer"}
    expected = {"student": ours, "peer": theirs, "ensemble": (ours + theirs) / 2}[evaluate]
    torch.testing.assert_close(method.predictor(ctx)(batch_of(ours, theirs, labels).images), expected)


def test_the_peer_has_the_architecture_that_was_asked_for() -> None:
    for peer, expected in (("", None), ("shufflenet-v2", "shufflenet-v2")):
        asked: list[tuple[str, str | None]] = []

        def note(name: str, *, model: str | None, dropout: float, asked: Any = asked) -> torch.nn.Module:
            asked.append((name, model))
            return Legible(CLASSES)

        make("smkd-p", peer=peer).setup(dataclasses.replace(context(0.0, CLASSES, SAMPLES), _make=note))
        assert asked == [("peer", expected)]


@pytest.mark.parametrize("value", ["inf", math.inf])
def test_eta_may_be_infinite_and_is_plain_text_in_a_record(value: Any) -> None:
    assert load_plugins().methods.get("smkd-s").validate({"eta": value})["eta"] == "inf"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("proselflc", {"b": 0}, "b: input should be greater than 0"),
        ("proselflc", {"offset": 1.2}, "offset: input should be less than or equal to 1"),
        ("mylc", {"b1": -3}, "b1: input should be greater than 0"),
        ("mylc", {"rho": -0.1}, "rho: input should be greater than or equal to 0"),
        ("mylc", {"reliability": "epoch"}, "reliability: input should be 'record' or 'batch'"),
        ("mylc", {"target_gradient": "half"}, "target_gradient: input should be 'keep' or 'stop'"),
        ("smkd-s", {"eta": 0}, "eta: input should be a number greater than 0, or inf, found 0"),
        ("smkd-s", {"eta": math.nan}, "eta: input should be a number greater than 0, or inf"),
        ("smkd-p", {"eta": "all"}, "eta: input should be a number greater than 0, or inf, found 'all'"),
        ("smkd-p", {"b2": math.inf}, "b2: input should be a finite number"),
        ("smkd-s", {"b2": -4}, "b2"),
        ("smkd-s", {"denominator": "mean"}, "denominator: input should be 'batch-mean', 'own' or 'paper-alg1'"),
        ("smkd-s", {"self_target": "ls", "epsilon": 1.5}, "epsilon: input should be less than or equal to 1"),
        ("smkd-s", {"self_target": "cp", "penalty": 1.0}, "penalty: input should be less than 1"),
        ("smkd-s", {"self_target": "ls", "b1": 8.0}, "b1: 8.0 has no effect with self_target='ls'"),
        ("smkd-p", {"epsilon": 0.1}, "epsilon: 0.1 has no effect with self_target='mylc'"),
        (
            "smkd-p",
            {"self_target": "ls", "target_gradient": "stop"},
            "target_gradient: 'stop' has no effect with self_target='ls'",
        ),
    ],
)
def test_bad_parameters_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=message):
        make(name, **params)


SUITES = [
    ("smkd-cifar100", "resnet34", "", 100, (30, 60, 80)),
    ("smkd-cifar100-resnet18", "resnet18", "shufflenet-v2", 200, (60, 120, 160)),
]


@pytest.mark.parametrize(("name", "student", "peer", "epochs", "milestones"), SUITES)
def test_peers_and_schedule_are_the_papers(
    name: str, student: str, peer: str, epochs: int, milestones: tuple[int, ...]
) -> None:
    suite = load_suite(name)
    assert (suite.dataset, suite.student) == ("cifar100", student)
    for condition in suite.conditions:
        for method in ("mkd", "kdcl", "smkd-s", "smkd-p"):
            node = Needs(suite, load_plugins(), condition).student(method, {}, 0)
            assert node.params["peer"] == peer
            assert (node.recipe.epochs, node.recipe.milestones) == (epochs, milestones)


def test_the_suite_for_sample_selection_is_that_of_cdr() -> None:
    suite = load_suite("smkd-cifar100-resnet50")
    noises = {"clean", "sym-20", "sym-40", "pair-20", "pair-40"}
    assert (suite.student, set(suite.conditions)) == ("resnet50", noises)
    for condition in suite.conditions.values():
        recipe = condition.recipe
        assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.weight_decay) == (200, 64, 0.01, 1e-3)
        assert (recipe.gamma, recipe.milestones, recipe.momentum) == (0.1, (40, 80), 0.9)


@pytest.mark.parametrize("suite", ["smkd-cifar100", "smkd-cifar100-resnet18", "smkd-cifar100-resnet50"])
@pytest.mark.parametrize("condition", ["clean", "sym-40"])
def test_baselines_have_the_papers_values_in_its_suites(suite: str, condition: str) -> None:
    """Not those of Shon et al. for the same data."""
    for method, params in {
        "label-smoothing": {"epsilon": 0.5}, "bootstrap-soft": {"beta": 0.5}, "gce": {"q": 0.7},
        "nce-rce": {"alpha": 10.0, "beta": 0.1},
    }.items():  # fmt: skip
        found = Needs(load_suite(suite), load_plugins(), condition).student(method, {}, 0).params
        assert {name: found[name] for name in params} == params, method


def test_the_suite_is_the_published_setting() -> None:
    suite = read_suite(FOLDER / "smkd-cifar100.toml")
    assert (suite.dataset, suite.student) == ("cifar100", "resnet34")
    noises = {name: (c.noise.kind, c.noise.rate) for name, c in suite.conditions.items() if c.noise}
    assert noises == {
        "sym-20": ("symmetric", 0.2), "sym-40": ("symmetric", 0.4), "sym-60": ("symmetric", 0.6),
        "sym-80": ("symmetric", 0.8), "pair-20": ("pair-flip", 0.2), "pair-40": ("pair-flip", 0.4),
    }  # fmt: skip
    assert set(suite.conditions) == {"clean", *noises}
    for condition in suite.conditions.values():
        recipe = condition.recipe
        assert (recipe.epochs, recipe.batch_size, recipe.weight_decay, recipe.momentum) == (100, 128, 5e-4, 0.9)
        assert (recipe.lr, recipe.gamma, recipe.milestones, recipe.nesterov) == (0.1, 0.2, (30, 60, 80), False)
    plugins = load_plugins()
    for model in (suite.student, *(network.model for network in suite.networks.values())):
        plugins.models.get(model)
    for kind, _ in noises.values():
        plugins.label_noises.get(kind)
