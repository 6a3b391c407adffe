"""Networks with noise on their weights, and their adversarial training, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kdbench_smoothing.adversary import adversarial
from kdbench_smoothing.noisy_network import ColouredNoise, NoisyNetwork
from kdbench_smoothing.smoothed import Smoothed
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

import kdbench
from kdbench.models import build, create
from kdbench.testing import TINY
from tests.plugins.helpers import draw_pixels, make, make_batch, make_context, seeded

SILENT = {"diagonal": 0.0, "factor": 0.0, "white": 0.0}
LABELS = [0, 2, 1]

# The noise of the weights


@pytest.mark.parametrize("model", ["wrn-10-1", "shufflenet-v2"])
def test_reduction_12_without_noise_it_is_the_plain_network_bit_for_bit(model: str) -> None:
    network, pixels = create(model, num_classes=10).eval(), draw_pixels(0, 2, 3, 32, 32)
    silent = NoisyNetwork(network, ColouredNoise(network, **SILENT, floor=0.0))
    assert torch.equal(silent(pixels), network(pixels))


def test_reduction_12_the_floor_alone_adds_weight_noise_of_1e_4() -> None:
    network = create("wrn-10-1", num_classes=10)
    weights = dict(network.named_parameters())
    drawn = ColouredNoise(network, **SILENT)(weights, seeded(0))
    noise = torch.cat([(drawn[name] - weights[name]).flatten() for name in drawn if weights[name].ndim == 4])
    assert noise.std().item() == pytest.approx(1e-4, rel=0.02)


def test_reduction_12_two_forwards_differ_in_train_and_in_eval_mode_and_not_with_one_generator_state() -> None:
    network, pixels = build(TINY, num_classes=5, seed=0), draw_pixels(0, 4, 3, 32, 32)
    noisy = NoisyNetwork(network, ColouredNoise(network), generator=(generator := seeded(1)))
    for training in (True, False):
        noisy.train(training)
        assert not torch.equal(noisy(pixels), noisy(pixels))
    first = NoisyNetwork(network, noisy.noise, generator.manual_seed(1))(pixels)
    assert torch.equal(first, NoisyNetwork(network, noisy.noise, generator.manual_seed(1))(pixels))


def test_reduction_12_votes_sum_to_m_and_mean_probabilities_to_1() -> None:
    network, pixels = build(TINY, num_classes=5, seed=0).eval(), draw_pixels(0, 6, 3, 32, 32)
    noisy = NoisyNetwork(network, ColouredNoise(network))
    torch.manual_seed(0)
    shares = Smoothed(noisy, smoothing="votes", draws=7)(pixels).double().exp()
    votes = shares * 8 - 1 / 5
    torch.testing.assert_close(votes, votes.round(), atol=1e-5, rtol=0)
    torch.testing.assert_close(votes.sum(1), torch.full((6,), 7.0, dtype=torch.float64))
    assert ((votes.round() > 0).sum(1) > 1).any()  # the draws do not agree on every image
    mean = Smoothed(noisy, smoothing="soft", draws=7)(pixels).exp()
    torch.testing.assert_close(mean.sum(1), torch.ones(6))


def test_every_convolution_has_coloured_noise_and_the_last_linear_layer_white() -> None:
    network = create("wrn-10-1", num_classes=10)
    noise = ColouredNoise(network, rank=5)
    assert len(noise.convolutions) == sum(isinstance(m, nn.Conv2d) for m in network.modules())
    weights = [network.get_parameter(name) for name in noise.convolutions]
    assert [d.shape for d in noise.diagonals] == [w.shape for w in weights]
    assert [f.shape for f in noise.factors] == [(w.numel(), 5) for w in weights]
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    assert [network.get_parameter(name) for name in noise.linear] == [linear.weight]
    values = {value.item() for p in noise.parameters() for value in p.unique()}
    assert sorted(values) == pytest.approx([0.01, 0.0625, 0.25])


def test_the_noise_has_the_covariance_of_its_formula() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.Flatten(), nn.Linear(2, 2))
    noise = ColouredNoise(network, rank=2)
    with torch.no_grad():
        noise.diagonals[0].copy_(torch.tensor([-0.5, 0.1, 0.2, 0.3, 0.4, 0.9]).view(2, 1, 1, 3))
        noise.factors[0].copy_(torch.randn(6, 2, generator=seeded(0)))
        noise.whites[0].copy_(torch.tensor([[0.1, 0.5], [1.0, 2.0]]))
        weights, generator = dict(network.named_parameters()), seeded(1)
        drawn = [noise(weights, generator) for _ in range(8000)]
    w, f = weights["0.weight"].detach().flatten().numpy(), noise.factors[0].detach().numpy()
    d = np.abs(noise.diagonals[0].detach().flatten().numpy())
    samples = np.stack([one["0.weight"].flatten().numpy() for one in drawn])
    expected = np.diag(d * w.std(ddof=1) + 1e-8) + f @ f.T
    np.testing.assert_allclose(np.cov(samples.T), expected, atol=0.06 * np.abs(expected).max())
    np.testing.assert_allclose(samples.mean(0), w, atol=0.05 * np.sqrt(expected.max()))
    v, a = weights["2.weight"].detach().numpy(), noise.whites[0].detach().numpy()
    spread = np.stack([one["2.weight"].numpy() for one in drawn]).std(0)
    np.testing.assert_allclose(spread, a * v.std(ddof=1), rtol=0.05)


def test_gradients_of_a_draw_are_those_of_its_formula() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 2)).double()
    noise = ColouredNoise(network, rank=2)
    tensors = [network[0].weight, noise.diagonals[0], noise.factors[0], noise.whites[0]]

    def drawn(weight: Tensor, diagonal: Tensor, factor: Tensor, white: Tensor) -> tuple[Tensor, ...]:
        learned = {"diagonals.0": diagonal, "factors.0": factor, "whites.0": white}
        weights = {"0.weight": weight, "2.weight": network[2].weight.detach()}
        return tuple(functional_call(noise, learned, (weights, seeded(3))).values())

    assert torch.autograd.gradcheck(drawn, tuple(t.detach().clone().requires_grad_() for t in tensors))
    linear = noise(dict(network.named_parameters()), seeded(3))["2.weight"]
    (gradient,) = torch.autograd.grad(linear.sum(), network[2].weight)
    assert torch.equal(gradient, torch.ones_like(gradient))  # not through std(w)


def test_the_network_keeps_its_tensors_and_their_names() -> None:
    network = build(TINY, num_classes=5, seed=0)
    names, before = list(network.state_dict()), [p.clone() for p in network.parameters()]
    NoisyNetwork(network, ColouredNoise(network))(draw_pixels(0, 2, 3, 32, 32)).sum().backward()
    assert list(network.state_dict()) == names
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))
    assert all(p.grad is not None for p in network.parameters())


def test_batch_statistics_are_the_networks_own() -> None:
    network = build(TINY, num_classes=5, seed=0).train()
    statistics = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    NoisyNetwork(network, ColouredNoise(network))(draw_pixels(0, 2, 3, 32, 32))
    assert int(statistics.num_batches_tracked) == 1
    assert statistics.running_mean.abs().sum() > 0


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(kdbench.KdbenchError, match="without convolutions"):
        ColouredNoise(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))


# The attack in training


class Mixed(nn.Module):
    """Convolution and batch norm, one of its modules in another mode and one of its parameters frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.Linear(6, 4)
        self.conv.bias.requires_grad_(False)  # type: ignore[union-attr]  # it has a bias
        self.train()
        self.norm.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.conv(pixels)).relu().mean((2, 3)))
        return logits


def test_reduction_15_an_attack_leaves_modes_flags_and_statistics_as_they_were() -> None:
    torch.manual_seed(0)
    for network in (Mixed(), NoisyNetwork(mixed := Mixed(), ColouredNoise(mixed))):
        network.train()
        next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)).eval()
        modes = [m.training for m in network.modules()]
        flags = [p.requires_grad for p in network.parameters()]
        tensors = {name: t.clone() for name, t in network.state_dict().items()}
        images, labels = draw_pixels(1, 4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
        found = adversarial(network, images, labels, eps=0.1, step_size=0.03, steps=4)
        assert [m.training for m in network.modules()] == modes
        assert [p.requires_grad for p in network.parameters()] == flags
        assert all(p.grad is None for p in network.parameters())
        assert all(torch.equal(tensors[name], t) for name, t in network.state_dict().items())
        assert not found.requires_grad
        assert not images.requires_grad


def test_reduction_15_a_training_step_of_each_method_leaves_the_student_in_its_mode() -> None:
    for name, params in (("cni", {}), ("kd-smoothed", {}), ("kd-smoothed-adversarial", {}), ("katz-as-published", {})):
        student, teacher = build(TINY, num_classes=3, seed=0).train(), build(TINY, num_classes=3, seed=1).eval()
        ctx, method = make_context(student, teacher), make(name, **params)
        method.setup(ctx)
        method.loss(make_batch(LABELS[:2]), ctx).backward()
        assert all(m.training for m in student.modules()), name
        assert not any(m.training for m in teacher.modules()), name


def test_the_attack_is_the_benchmarks_own_best_iterate_pgd() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4))
    images, labels = draw_pixels(1, 16, 3, 8, 8), torch.arange(16) % 4
    budget = {"eps": 8 / 255, "step_size": 0.006, "steps": 10}
    found = adversarial(network, images, labels, **budget)
    torch.testing.assert_close(found, kdbench.attacks.pgd_best_iterate(network, images, labels, **budget))
    assert (found - images).abs().max() <= 8 / 255 + 1e-6
    assert found.min() >= 0 and found.max() <= 1
    hard = kdbench.losses.cross_entropy
    assert (hard(network(found), labels) >= hard(network(images), labels)).all()


# CNI


def test_cni_without_noise_and_attack_is_cross_entropy() -> None:
    student = build(TINY, num_classes=3, seed=0).train()
    gradients = []
    for name, params in (("cni", {**SILENT, "adversarial_share": 0.0}), ("ce", {})):
        student.zero_grad()
        ctx, method = make_context(student), make(name, **params)
        method.setup(ctx)
        method.loss(make_batch(LABELS, images=draw_pixels(2, 3, 3, 32, 32)), ctx).backward()
        gradients.append([p.grad.clone() for p in student.parameters() if p.grad is not None])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=2e-3, rtol=0.05)  # the floor's noise of 1e-4 remains


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_cni_is_its_formula(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    student, images = build(TINY, num_classes=3, seed=0).eval(), draw_pixels(2, 3, 3, 32, 32)
    shifted = (images + 0.05).clamp(0, 1)
    monkeypatch.setattr("kdbench_smoothing.coloured_noise_injection.adversarial", lambda *args, **kwargs: shifted)
    ctx, method = make_context(student), make("cni", adversarial_share=share, factor_decay=0.02)
    method.setup(ctx)
    ctx.generator.manual_seed(5)
    loss = method.loss(make_batch(LABELS, images=images), ctx).item()
    noise: Any = method.networks()["noise"]
    expected = 0.5 * 0.02 * sum(float((f.detach().double().numpy() ** 2).sum()) for f in noise.factors)
    noisy = NoisyNetwork(student, noise, ctx.generator.manual_seed(5))
    for weight, seen in ((1 - share, images), (share, shifted)):
        if weight:
            logp = log_softmax(noisy(seen).detach().double().numpy(), axis=1)
            expected -= weight * logp[range(3), LABELS].mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_cni_trains_the_weights_and_every_tensor_of_the_noise() -> None:
    student = build(TINY, num_classes=3, seed=0).train()
    ctx, method = make_context(student), make("cni", factor_decay=0.0)
    method.setup(ctx)
    method.loss(make_batch(LABELS, images=draw_pixels(2, 3, 3, 32, 32)), ctx).backward()
    for name, parameter in [*student.named_parameters(), *method.networks()["noise"].named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_cni_is_measured_smoothed_and_its_predictor_draws_from_the_global_generator() -> None:
    student, images = build(TINY, num_classes=3, seed=0).eval(), draw_pixels(2, 3, 3, 32, 32)
    ctx, method = make_context(student), make("cni", smoothing="votes", draws=5, input_sigma=0.1)
    method.setup(ctx)
    predictor: Any = method.predictor(ctx)
    assert (predictor.smoothing, predictor.draws, predictor.input_sigma) == ("votes", 5, 0.1)
    state = ctx.generator.get_state()
    torch.manual_seed(1)
    first = predictor(images)
    torch.manual_seed(1)
    assert torch.equal(first, predictor(images))
    assert torch.equal(ctx.generator.get_state(), state)
    assert kdbench.attacks.is_random(predictor, images)


def test_the_gradient_of_cni_is_that_of_both_parts_though_the_attack_freezes_the_network_in_between() -> None:
    student, images = build(TINY, num_classes=3, seed=0).eval(), draw_pixels(2, 3, 3, 32, 32)
    ctx, method = make_context(student), make("cni", factor_decay=0.02)
    method.setup(ctx)
    noise: Any = method.networks()["noise"]
    parameters = [*student.parameters(), *noise.parameters()]
    ctx.generator.manual_seed(0)
    method.loss(make_batch(LABELS, images=images), ctx).backward()
    found = [p.grad.clone() for p in parameters if p.grad is not None]
    noisy, labels = NoisyNetwork(student, noise, ctx.generator.manual_seed(0)), torch.tensor(LABELS)
    clean = noisy(images)
    attacked = adversarial(noisy, images, labels, eps=8 / 255, step_size=0.006, steps=10)
    again = noisy(attacked)
    # Each part by itself, and the draws of the clean one made anew in a graph that no attack has seen.
    fresh = NoisyNetwork(student, noise, ctx.generator.manual_seed(0))(images)
    assert torch.equal(clean, fresh)
    student.zero_grad()
    noise.zero_grad()
    (0.5 * F.cross_entropy(fresh, labels) + 0.02 * noise.factor_penalty()).backward()
    (0.5 * F.cross_entropy(again, labels)).backward()
    for one, parameter in zip(found, parameters, strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_reduction_2_doubling_the_batch_of_cni_by_repetition_changes_nothing() -> None:
    student, images = build(TINY, num_classes=3, seed=0).eval(), draw_pixels(2, 3, 3, 32, 32)
    ctx, method = make_context(student), make("cni")
    method.setup(ctx)
    losses = []
    for repeat in (1, 2):
        ctx.generator.manual_seed(3)
        losses.append(method.loss(make_batch(LABELS * repeat, images=torch.cat([images] * repeat)), ctx))
    torch.testing.assert_close(*losses)
