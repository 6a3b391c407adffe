from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference
from torchvision.transforms.v2 import RandomResizedCrop

from kdbench.augment import _photograph, colour_jitter, photograph_view, resized_crop
from kdbench.errors import KdbenchError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((12, 3, 20, 28), generator=generator(5))


def test_a_box_is_magnified_as_torchvision_does(images: torch.Tensor) -> None:
    size = list(images.shape[2:])
    boxes = _photograph.draw_boxes(12, *size, generator(1), images.device, (0.08, 1.0), (0.75, 4 / 3))
    mirrored = torch.arange(12) % 2 == 1
    found = _photograph.magnify(images, boxes, mirrored)
    for image, box, flipped, ours in zip(images, boxes.tolist(), mirrored, found, strict=True):
        expected = reference.resized_crop(image, *box, size, antialias=False)
        torch.testing.assert_close(ours, expected.flip(2) if flipped else expected, atol=1e-5, rtol=0)


def test_boxes_lie_inside_and_follow_torchvisions_distribution() -> None:
    boxes = _photograph.draw_boxes(4000, 64, 64, generator(2), torch.device("cpu"), (0.08, 1.0), (0.75, 4 / 3))
    top, left, tall, wide = boxes.unbind(1)
    assert (boxes[:, :2] >= 0).all() and (top + tall <= 64).all() and (left + wide <= 64).all()
    torch.manual_seed(0)
    crop, blank = RandomResizedCrop(64), [torch.zeros(3, 64, 64)]
    theirs = [crop.make_params(blank) for _ in range(4000)]
    for ours, key in ((top, "top"), (left, "left"), (tall, "height"), (wide, "width")):
        expected = np.array([params[key] for params in theirs], dtype=float)
        assert ours.float().mean().item() == pytest.approx(expected.mean(), abs=4 * expected.std() * (2 / 4000) ** 0.5)
        assert ours.float().std().item() == pytest.approx(expected.std(), rel=0.05)


def test_a_box_that_never_fits_is_the_whole_image(images: torch.Tensor) -> None:
    found = resized_crop(images, generator(), scale=(1.0, 1.0), ratio=(30.0, 30.0), flip=False)
    torch.testing.assert_close(found, images)


@pytest.mark.parametrize(
    ("ours", "theirs", "change"),
    [
        (_photograph._brighter, reference.adjust_brightness, 0.3),
        (_photograph._more_contrast, reference.adjust_contrast, -0.4),
        (_photograph._more_colour, reference.adjust_saturation, 0.4),
    ],
)
def test_colour_operations_are_torchvisions(images: torch.Tensor, ours: object, theirs: object, change: float) -> None:
    found = ours(images, torch.full((12, 1, 1, 1), change))  # type: ignore[operator]
    torch.testing.assert_close(found, theirs(images, 1 + change), atol=1e-6, rtol=0)  # type: ignore[operator]


@pytest.mark.parametrize("change", [-0.2, -0.07, 0.0, 0.13, 0.2])
def test_a_turned_hue_is_the_standard_librarys_and_torchvisions(images: torch.Tensor, change: float) -> None:
    some = torch.cat([images, images[:, :1].expand(-1, 3, -1, -1), torch.zeros(1, 3, 20, 28)])
    found = _photograph._other_hue(some, torch.full((len(some), 1, 1, 1), change))
    torch.testing.assert_close(found, reference.adjust_hue(some, change), atol=1e-5, rtol=0)
    pixels = [colorsys.rgb_to_hsv(*some[0, :, row, 3].tolist()) for row in range(20)]
    expected = [colorsys.hsv_to_rgb((hue + change) % 1, colour, value) for hue, colour, value in pixels]
    torch.testing.assert_close(found[0, :, :, 3].T, torch.tensor(expected), atol=1e-5, rtol=0)


def test_jitter_draws_for_each_image_and_stays_in_range(images: torch.Tensor) -> None:
    same = images[:1].expand(12, -1, -1, -1)
    found = colour_jitter(same, generator())
    assert found.shape == same.shape and found.min() >= 0 and found.max() <= 1
    assert len({tuple(image.flatten()[:30].tolist()) for image in found}) == 12
    assert torch.equal(found, colour_jitter(same, generator()))
    assert torch.equal(colour_jitter(same, generator(), brightness=0, contrast=0, saturation=0, hue=0), same)


def test_a_photographs_view_is_reproducible_and_jitters_when_asked(images: torch.Tensor) -> None:
    plain, again = (photograph_view(images, generator(3)) for _ in range(2))
    jittered = photograph_view(images, generator(3), jitter=True)
    assert torch.equal(plain, again) and not torch.equal(plain, jittered)
    assert torch.equal(jittered, colour_jitter(plain, _after(images, 3)))


def _after(images: torch.Tensor, seed: int) -> torch.Generator:
    state = generator(seed)
    resized_crop(images, state)
    return state


@pytest.mark.parametrize("options", [{"scale": (0.0, 1.0)}, {"scale": (0.5, 0.2)}, {"ratio": (0.0, 1.0)}])
def test_impossible_boxes_are_refused(images: torch.Tensor, options: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(KdbenchError, match="resized_crop found scale="):
        resized_crop(images, generator(), **options)
    with pytest.raises(KdbenchError, match="colour_jitter found"):
        colour_jitter(images, generator(), hue=0.6)
