"""What many draws cost: memory that does not grow with them, and targets that are made once and kept."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import pytest
import torch
from kdbench_smoothing import smoothed as smoothing_module
from kdbench_smoothing.smoothed import Smoothed
from torch import Tensor, nn

import kdbench
from tests.plugins.helpers import Legible, draw_pixels, make, make_context
from tests.plugins.test_smoothing import Reader, numbered


class Weighted(nn.Module):
    """Draws a weight for each pixel; notes how many of these are held for a backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[weakref.ref[Tensor]] = []
        self.most = 0

    def forward(self, pixels: Tensor) -> Tensor:
        weight = torch.randn_like(pixels)
        self.held = [*(ref for ref in self.held if ref() is not None), weakref.ref(weight)]
        self.most = max(self.most, len(self.held))
        return (pixels * weight).tanh().flatten(1)[:, :4]


@pytest.mark.parametrize("smoothing", ["votes", "soft", "mean-logit"])
@pytest.mark.parametrize("draws", [7, 8, 9, 21, 64])
def test_many_draws_are_taken_in_chunks_with_the_gradient_of_all_at_once(
    smoothing: Any, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, held = [], []
    for chunk in (8, 1000):
        monkeypatch.setattr(smoothing_module, "CHUNK", chunk)
        network = Weighted()
        model = Smoothed(network, smoothing=smoothing, draws=draws, input_sigma=0.1)
        leaf = draw_pixels(3, 5, 3, 2, 2).requires_grad_()
        torch.manual_seed(7)
        logits = model(leaf)
        after = torch.rand(1)
        (gradient,) = torch.autograd.grad((logits * torch.arange(4.0)).sum(), leaf)
        found.append((logits.detach(), gradient, after))
        held.append(network.most)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][2], found[1][2]), "what is drawn next is the same"
    torch.testing.assert_close(found[0][1], found[1][1])
    assert found[0][1].abs().sum() > 0
    assert held[0] <= min(draws, 2 * 8 + 1)
    assert held[1] == draws


def test_draws_without_a_gradient_are_made_once() -> None:
    model = Smoothed(Weighted(), smoothing="votes", draws=30)
    calls = []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(draw_pixels(3, 5, 3, 2, 2))
    assert len(calls) == 30


def plain_context(images: Tensor, teacher: nn.Module, classes: int) -> Any:
    """A context whose ``predict`` answers for these images, as the harness does for the training set."""
    return dataclasses.replace(
        make_context(Legible(classes), teacher, classes=classes), train_size=len(images),
        _predict=lambda network: network(images),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "smoothing"),
    [("kd-smoothed", "soft"), ("kd-smoothed", "votes"), ("kd-smoothed-adversarial", "mean-logit"),
     ("katz-as-published", "votes")],
)  # fmt: skip
def test_cached_targets_are_those_of_the_image_in_any_order(name: str, smoothing: str) -> None:
    """The rows of a cache belong to examples, not to places in a batch: the published code mixed these up."""
    classes = 4
    images = numbered(draw_pixels(1, 12, classes), list(range(12)))
    losses = []
    for cached in (False, True):
        reader = Reader(classes)
        ctx = plain_context(images, reader, classes)
        method = make(name, smoothing=smoothing, draws=5, view="plain", cached=cached)
        method.setup(ctx)
        found = []
        for epoch in range(2):
            method.on_epoch_start(ctx)
            for index in ([7, 3, 11, 0], [4, 9, 2, 8 - epoch]):
                labels = torch.tensor(index) % 3
                batch = kdbench.Batch(images[index], labels, torch.tensor(index), {"images": images[index]})
                found.append(method.loss(batch, ctx).item())
        losses.append(found)
        assert reader.calls == (5 if cached else 4 * 5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_resumed_training_keeps_its_targets() -> None:
    images = numbered(draw_pixels(1, 6, 4), list(range(6)))
    reader = Reader(4)
    ctx = plain_context(images, reader, 4)
    first, second = (make("kd-smoothed", view="plain", cached=True, draws=3) for _ in range(2))
    assert first.state() == {}
    first.on_epoch_start(ctx)
    second.load_state(first.state())
    second.on_epoch_start(ctx)
    assert reader.calls == 3
    assert torch.equal(second.state()["kept"], first.state()["kept"])


def test_the_plain_view_is_the_image_itself() -> None:
    images = draw_pixels(0, 2, 3, 4, 4)
    ctx = dataclasses.replace(make_context(Legible(4), Reader(4)), augment=lambda shown: shown.flip(3))
    for view, shown in (("plain", images), ("suite", images.flip(3))):
        found = make("kd-smoothed", view=view).views(images, ctx)
        assert isinstance(found, Tensor)
        assert torch.equal(found, shown)


@pytest.mark.parametrize("name", ["kd-smoothed", "kd-smoothed-adversarial", "katz-as-published"])
@pytest.mark.parametrize("view", ["suite", "strong"])
def test_a_cache_of_augmented_images_is_refused(name: str, view: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=f"parameter cached: true with view='{view}'"):
        make(name, cached=True, view=view)
