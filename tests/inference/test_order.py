"""One shuffled order for all measurements: results stay where their images are, batches hold all classes."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import judge_transfer, pgd, pgd_best_iterate, run, transfer
from kdbench.errors import KdbenchError
from kdbench.inference.batch_dependence import LIMIT, batch_dependence
from kdbench.inference.order import mixed, mixed_all, over_all, sample
from kdbench.inference.prediction import predict
from tests.attacks.dark_and_light import from_the_ball, made

CPU = torch.device("cpu")


def test_the_order_is_a_fixed_shuffle_and_that_of_a_part_is_a_part_of_it() -> None:
    order = mixed_all(1000, CPU)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, mixed_all(1000, CPU))
    labels = torch.arange(1000) // 100  # sorted, ten classes
    for part in order.split(100):
        assert len(labels[part].unique()) == 10
    chosen = torch.arange(1000) % 3 == 0
    assert mixed(chosen).tolist() == [place for place in order.tolist() if place % 3 == 0]


def test_a_sample_has_images_of_all_classes_in_their_order() -> None:
    images = (torch.arange(1000) // 100)[:, None, None, None]
    assert set(sample(images, 128).flatten().tolist()) == set(range(10))
    assert torch.equal(sample(images[:5], 8), images[:5])
    places = sample(torch.arange(1000)[:, None, None, None], 20).flatten()
    assert torch.equal(places, places.sort().values)


def test_results_of_all_are_in_the_callers_order() -> None:
    seen = []

    def squares(part: Tensor) -> Tensor:
        seen.append(part)
        return (part**2)[:, None]

    assert torch.equal(over_all(squares, 50, 8, CPU)[:, 0], torch.arange(50) ** 2)
    assert all(torch.equal(part, part.sort().values) for part in seen)
    assert not torch.equal(seen[0], torch.arange(8))
    with pytest.raises(KdbenchError, match="no images"):
        over_all(squares, 0, 8, CPU)


class BatchStatistics(nn.Module):
    """Two classes, dark and light, told apart by an image's brightness less the mean of its batch: right where a batch
    holds both, and no better than chance where it holds one."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3))
        centred = bright - bright.mean()
        return 100 * torch.stack([-centred, centred], 1)


def sorted_by_class(count: int = 512) -> tuple[Tensor, Tensor]:
    """Half of the images dark, then half light, each class of some width."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(count) >= count // 2).long()
    levels = 0.3 + 0.4 * labels + 0.1 * (torch.rand(count, generator=generator) - 0.5)
    return levels[:, None, None, None].expand(count, 3, 4, 4).clone(), labels


def test_sorted_images_are_measured_as_shuffled_ones() -> None:
    """In batches of one class such a model gets half of the images right; shuffled, all."""
    model, (images, labels) = BatchStatistics(), sorted_by_class()
    one_class = torch.cat([model(part).argmax(1) for part in images.split(16)])
    assert 0.4 < (one_class == labels).double().mean() < 0.6
    found = predict(model, images, device=CPU, batch_size=16).argmax(1)
    assert (found == labels).all()
    budget = {"eps": 0.01, "step_size": 0.01, "steps": 1, "batch_size": 16}
    attacked = pgd(model, images, labels, **budget)
    assert attacked.clean_correct.all()
    assert attacked.robust[1].all()
    assert run(made(from_the_ball), model, images, labels, eps=0.01, batch_size=16).robust.all()
    assert transfer(model, model, images, labels, **budget).adversarial_correct.all()
    examples = pgd_best_iterate(model, images, labels, **budget)
    assert (examples - images).abs().amax((1, 2, 3)).le(0.0101).all()
    assert judge_transfer(model, images, examples, labels, batch_size=16).adversarial_correct.all()


def test_transfer_mixes_the_parts_that_it_holds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # By its module, as the function has the same name.
    monkeypatch.setattr(sys.modules["kdbench.attacks.transfer"], "PART", 64)
    model, (images, labels) = BatchStatistics(), sorted_by_class()
    found = transfer(model, model, images, labels, eps=0.01, step_size=0.01, steps=1)
    assert found.clean_correct.all()
    assert found.adversarial_correct.all()


class Alone(nn.Module):
    """Answers each image by itself, with or without noise."""

    def __init__(self, noise: float = 0.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.noise, self.generator = noise, generator
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits + self.noise * torch.randn(logits.shape, generator=self.generator)


def test_an_answer_that_depends_on_the_batch_is_found_and_others_are_not() -> None:
    images, _ = sorted_by_class(64)
    assert batch_dependence(Alone(), images, CPU) == pytest.approx(0, abs=1e-5)
    assert batch_dependence(Alone(noise=1.0), images, CPU) == pytest.approx(0, abs=1e-5)
    assert batch_dependence(Alone(1.0, torch.Generator()), images, CPU) is None  # its draws can't be repeated
    unaware = Alone()
    unaware.net[1] = nn.BatchNorm2d(4, track_running_stats=False)
    for model in (BatchStatistics(), unaware):
        found = batch_dependence(model, images, CPU)
        assert found is not None
        assert found > 10 * LIMIT
