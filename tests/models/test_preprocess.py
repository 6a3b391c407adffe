"""What stands around a network from elsewhere, against PIL, NumPy and hand-made columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import folded_copy
from kdbench.models.preprocess import Preprocessed, Preprocessing


class Seen(nn.Module):
    """Remembers its pixels; its logits are their means by channel."""

    seen: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen = pixels
        return pixels.mean((2, 3))


@pytest.mark.parametrize("side", [20, 48, 64])
def test_images_are_resized_as_pil_does(side: int) -> None:
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    inner = Seen()
    Preprocessed(inner, Preprocessing(resize=side), ("a", "b", "c"))(pixels)
    for image, got in zip(pixels, inner.seen, strict=True):
        for channel, found in zip(image, got, strict=True):
            expected = Image.fromarray(channel.numpy()).resize((side, side), Image.Resampling.BILINEAR)
            assert np.allclose(found.numpy(), np.asarray(expected), atol=1e-5)
    assert float(inner.seen.min()) >= 0
    assert float(inner.seen.max()) <= 1


def test_pixels_are_normalised_after_they_are_resized() -> None:
    inner = Seen()
    Preprocessed(inner, Preprocessing((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), 40), ("a", "b", "c"))(torch.ones(1, 3, 32, 32))
    assert inner.seen.shape == (1, 3, 40, 40)
    assert inner.seen[0, :, 0, 0].tolist() == pytest.approx([0.9 / 0.5, 0.8 / 0.25, 0.7 / 2.0])


def test_outputs_are_put_in_order_by_name_and_others_left_out() -> None:
    pixels = torch.rand(4, 3, 8, 8)
    model = Preprocessed(Seen(), Preprocessing(classes=("dog", "cow", "cat")), ("cat", "dog"))
    assert torch.equal(model(pixels), pixels.mean((2, 3))[:, [2, 0]])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("dog", "cow"), "the model has 3 outputs, 2 classes were named"),
        (("dog", "dog", "cow"), "2 outputs of the model are named 'dog'"),
        (("dok", "cat", "cow"), "no class of the model named 'dog' .did you mean 'dok'"),
    ],
)
def test_names_that_do_not_fit_are_refused(outputs: tuple[str, ...], message: str) -> None:
    with pytest.raises(KdbenchError, match=message):
        Preprocessed(Seen(), Preprocessing(classes=outputs), ("dog",))(torch.rand(1, 3, 8, 8))


def test_gradients_reach_the_pixels_and_batch_norms_are_still_folded() -> None:
    network = models.create("wrn-10-1", num_classes=3).eval()
    given = Preprocessing((0.5,) * 3, (0.25,) * 3, 16, ("c", "b", "a"))
    model = Preprocessed(network, given, ("a", "b", "c")).eval()
    pixels = torch.rand(4, 3, 32, 32, requires_grad=True)
    logits = model(pixels)
    logits[:, 0].sum().backward()  # type: ignore[no-untyped-call]  # torch's own
    assert pixels.grad is not None
    assert bool((pixels.grad != 0).any())
    small = nn.functional.interpolate(pixels.detach(), (16, 16), mode="bilinear", antialias=True)
    assert torch.allclose(logits, network((small - 0.5) / 0.25)[:, [2, 1, 0]], atol=1e-5)
    folded = folded_copy(model, pixels.detach(), torch.device("cpu"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(pixels), logits, atol=1e-4)


def test_logits_of_half_precision_leave_in_float32() -> None:
    model = Preprocessed(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).bfloat16(), Preprocessing(), ("a", "b"))
    assert model(torch.rand(2, 3, 4, 4).bfloat16()).dtype == torch.float32
