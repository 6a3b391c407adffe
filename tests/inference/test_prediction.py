from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.prediction import folded_copy, freeze, frozen, predict

CPU = torch.device("cpu")


class Network(nn.Module):
    """Convolution, batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.linear = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.linear(self.dropout(self.norm(self.conv(images))).mean((2, 3)))
        return found


def network() -> Network:
    """In training mode, with one module in eval mode and one frozen parameter."""
    model = Network()
    for number, parameter in enumerate(model.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    model.norm.running_mean = torch.full((4,), 0.3)
    model.norm.running_var = torch.full((4,), 2.0)
    model.train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    return model


def some_images(count: int = 23) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)


def state_of(model: nn.Module) -> tuple[list[bool], list[bool], list[Tensor]]:
    modes = [module.training for module in model.modules()]
    return modes, [p.requires_grad for p in model.parameters()], [b.clone() for b in model.buffers()]


def by_hand(model: Network, images: Tensor) -> Tensor:
    """Eval-mode logits, one image at a time, in float64."""
    conv, linear = model.conv.double(), model.linear.double()
    gain, shift = (part.detach().double()[None, :, None, None] for part in (model.norm.weight, model.norm.bias))
    rows = []
    for image in images.double() / 255:
        found = (conv(image[None]) - 0.3) / (2 + 1e-5) ** 0.5 * gain + shift
        rows.append(linear(found.mean((2, 3))))
    return torch.cat(rows).detach()


@pytest.mark.parametrize("batch_size", [1, 10, 23, 500])
def test_logits_are_those_of_eval_mode_last_incomplete_batch_included(batch_size: int) -> None:
    model, images = network(), some_images()
    logits = predict(model, images, device=CPU, batch_size=batch_size)
    assert (logits.shape, logits.dtype, logits.requires_grad) == ((23, 5), torch.float32, False)
    assert torch.allclose(logits.double(), by_hand(model, images), atol=1e-5)


def test_bytes_and_pixels_are_the_same_image() -> None:
    model, images = network(), some_images()
    pixels = images.float() / 255
    kept = pixels.clone()
    assert torch.equal(predict(model, images, device=CPU), predict(model, pixels, device=CPU))
    assert torch.equal(pixels, kept)
    assert torch.equal(images, some_images())


def test_the_model_is_left_as_it_was() -> None:
    model = network()
    before = state_of(model)
    predict(model, some_images(), device=CPU)
    after = state_of(model)
    assert after[:2] == before[:2]
    assert all(torch.equal(*pair) for pair in zip(before[2], after[2], strict=True)), "batch statistics moved"


def test_logits_are_full_precision_inside_autocast() -> None:
    model, images = network(), some_images()
    plain = predict(model, images, device=CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(model.eval()(images.float() / 255).float(), plain)
        assert torch.equal(predict(model, images, device=CPU), plain)


def test_half_precision_logits_come_out_as_float32() -> None:
    class Half(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)).half()

    assert predict(Half(), some_images(), device=CPU).dtype == torch.float32


def test_frozen_means_eval_and_no_gradients_and_ends_on_an_error_too() -> None:
    model = network()
    before = state_of(model)

    def fails() -> None:
        with frozen(model):
            assert not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert state_of(model)[:2] == before[:2]


def test_frozen_twice_comes_back_in_steps() -> None:
    model = network()
    with frozen(model):
        with frozen(model):
            pass
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert model.linear.weight.requires_grad


def test_a_plain_function_needs_no_freezing() -> None:
    with frozen(torch.square) as same:
        assert same is torch.square
    with frozen(torch.square, some_images()) as same:
        assert same is torch.square


def test_for_a_measurement_batch_norms_are_folded_unless_that_is_not_wanted() -> None:
    model, images = network(), some_images()
    before = state_of(model)
    with frozen(model) as same, frozen(model, images, fold=False) as plain, frozen(model, images) as fast:
        assert same is model
        assert plain is model
        assert isinstance(fast, nn.Module)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
        assert torch.allclose(fast(images.float() / 255), model(images.float() / 255), atol=1e-4)
    after = state_of(model)
    assert after[:2] == before[:2]
    assert all(torch.equal(*pair) for pair in zip(before[2], after[2], strict=True))


def test_a_folded_copy_outlasts_its_making_and_leaves_the_network_as_it_was() -> None:
    model, images = network(), some_images()
    before = state_of(model)
    copy = folded_copy(model, images, CPU)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    assert state_of(model)[:2] == before[:2]
    expected = predict(model, images, device=CPU)
    with torch.no_grad(), frozen(copy):
        assert torch.allclose(copy(images.float() / 255), expected, atol=1e-4)
    assert state_of(model)[:2] == before[:2]
    unfoldable = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    assert folded_copy(unfoldable, images, CPU) is unfoldable


def test_freeze_is_for_good() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert freeze(model) is model
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def limited(part: Tensor, *, room: int, tried: list[int]) -> Tensor:
    tried.append(len(part))
    if len(part) > room:
        raise torch.OutOfMemoryError("full")
    return part * 10


@pytest.mark.parametrize("room", [1, 3, 7, 8, 100])
def test_too_large_a_batch_is_halved_and_nothing_is_lost_or_repeated(room: int) -> None:
    tried: list[int] = []
    index = torch.arange(100, 121)
    parts = list(in_batches(functools.partial(limited, room=room, tried=tried), index, 8))
    assert torch.equal(torch.cat([part for part, _ in parts]), index)
    assert all(torch.equal(result, part * 10) for part, result in parts)
    failed = [size for size in tried if size > room]
    assert failed == [size for size in (8, 4, 2) if size > room], "the smaller size must stay for the rest"


def test_a_batch_of_one_that_does_not_fit_is_an_error() -> None:
    tried: list[int] = []
    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(functools.partial(limited, room=0, tried=tried), torch.arange(5), 4))
    assert tried == [4, 2, 1]


def test_another_error_is_not_tried_again() -> None:
    def fails(part: Tensor) -> Tensor:
        raise RuntimeError(f"{len(part)} images of a wrong shape")

    with pytest.raises(RuntimeError, match="4 images"):
        list(in_batches(fails, torch.arange(5), 4))


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_holds_at_least_one(size: int) -> None:
    with pytest.raises(KdbenchError, match=f"batch_size found {size}, expected at least 1"):
        list(in_batches(lambda part: part, torch.arange(5), size))
