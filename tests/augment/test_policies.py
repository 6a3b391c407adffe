"""RandAugment and AugMix against Pillow on 8-bit images: each operation alone, and whole policies with their draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from kdbench.augment import _augmix, _rand_augment, augmix, rand_augment
from kdbench.augment import _levels as levels
from kdbench.augment._operations import Draw, Operation, PolicyPlan
from kdbench.augment._random import dirichlet
from kdbench.errors import KdbenchError

Pixels = NDArray[np.uint8]
Affine = tuple[float, float, float, float, float, float]
GEOMETRIC = {"rotate", "shear_x", "shear_y", "translate_x", "translate_y"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sample_images(height: int = 32, width: int = 32) -> Pixels:
    """Smooth colour, noise, low contrast, one level, two levels, one dark channel: (6,H,W,3)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(rows / (5 + c) + columns / (9 - 2 * c)) for c in range(3)]
    smooth = np.stack(waves, axis=-1)
    noise = rng.integers(0, 256, (height, width, 3))
    pale = rng.integers(90, 131, (height, width, 3))
    flat = np.full((height, width, 3), 77)
    halves = np.where((columns > width // 3)[..., None], [200, 60, 130], [20, 61, 130])
    dark = smooth * [1.0, 0.0, 0.02]
    return np.stack([smooth, noise, pale, flat, halves, dark]).astype(np.uint8)


def to_tensor(images: Pixels) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def affine(image: Image.Image, coefficients: Affine, resample: Image.Resampling) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample=resample)


def box(image: Image.Image, side: float, place: tuple[float, float]) -> Image.Image:
    width, height = image.size
    left = int(max(0, width - (width - 1) * place[0] - side / 2))
    top = int(max(0, height - (height - 1) * place[1] - side / 2))
    painted = image.copy()
    corners = (left, top, min(width, left + side), min(height, top + side))
    ImageDraw.Draw(painted).rectangle(corners, fill=(125, 123, 114))
    return painted


def warps(
    resample: Image.Resampling, *, angle: float, shear: float, shift_x: float, shift_y: float
) -> dict[str, Callable[[Image.Image], Image.Image]]:
    """The five geometric operations, with their signed values."""
    return {
        "rotate": lambda im: im.rotate(angle, resample=resample),
        "shear_x": lambda im: affine(im, (1, shear, 0, 0, 1, 0), resample),
        "shear_y": lambda im: affine(im, (1, 0, 0, shear, 1, 0), resample),
        "translate_x": lambda im: affine(im, (1, 0, shift_x, 0, 1, 0), resample),
        "translate_y": lambda im: affine(im, (1, 0, 0, 0, 1, shift_y), resample),
    }


def pillow_rand_augment(
    name: str, image: Image.Image, m: float, sign: float, place: tuple[float, float]
) -> Image.Image:
    def value(low: float, high: float) -> float:
        return m / 30 * (high - low) + low

    shift = sign * value(0, 100)
    nearest = warps(
        Image.Resampling.NEAREST, angle=sign * value(0, 30), shear=sign * value(0, 0.3), shift_x=shift, shift_y=shift
    )
    added = Image.fromarray(np.clip(np.asarray(image).astype(int) + value(0, 110), 0, 255).astype(np.uint8))
    table: dict[str, Callable[[Image.Image], Image.Image]] = {
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "invert": ImageOps.invert,
        "posterize": lambda im: ImageOps.posterize(im, max(1, int(value(0, 4)))),
        "solarize": lambda im: ImageOps.solarize(im, value(0, 256)),  # type: ignore[arg-type] # as the original does
        "solarize_add": lambda _: ImageOps.solarize(added, 128),
        "color": lambda im: ImageEnhance.Color(im).enhance(value(0.1, 1.9)),
        "contrast": lambda im: ImageEnhance.Contrast(im).enhance(value(0.1, 1.9)),
        "brightness": lambda im: ImageEnhance.Brightness(im).enhance(value(0.1, 1.9)),
        "sharpness": lambda im: ImageEnhance.Sharpness(im).enhance(value(0.1, 1.9)),
        "cutout": lambda im: box(im, value(0, 40), place),
        **nearest,
    }
    return table[name](image)


def pillow_augmix(name: str, image: Image.Image, level: float, sign: float) -> Image.Image:
    width, height = image.size

    def whole(maximum: float) -> int:
        return int(level * maximum / 10)

    bilinear = warps(
        Image.Resampling.BILINEAR,
        angle=sign * whole(30),
        shear=sign * level * 0.3 / 10,
        shift_x=sign * whole(width / 3),
        shift_y=sign * whole(height / 3),
    )
    table: dict[str, Callable[[Image.Image], Image.Image]] = {
        "autocontrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "posterize": lambda im: ImageOps.posterize(im, 4 - whole(4)),
        "solarize": lambda im: ImageOps.solarize(im, 256 - whole(256)),
        **bilinear,
    }
    return table[name](image)


def run_kernel(operation: Operation, images: Pixels, amount: float, sign: float, place: tuple[float, float]) -> Pixels:
    count, height, width = images.shape[:3]
    draw = Draw(
        amount=torch.full((1, count), amount),
        sign=torch.full((1, count), sign),
        place=torch.tensor(place).expand(1, count, 2),
        height=height,
        width=width,
    )
    levels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found = operation.kernel(levels, operation.parameters(draw)[0]).permute(0, 2, 3, 1).numpy()
    assert found.dtype == np.float32
    assert np.array_equal(found, found.astype(np.uint8))  # whole levels only
    return found.astype(np.uint8)


def assert_close(name: str, found: Pixels, expected: Pixels) -> None:
    """Equal for point operations and shifts; turned or sheared bilinearly, a pixel in 200 may come out different."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    if name in {"rotate", "shear_x", "shear_y"}:
        assert (difference > 1).mean() < 0.005 and difference.mean() < 0.5, (name, (difference > 1).mean())
    else:
        assert difference.max() == 0, (name, difference.max())


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
@pytest.mark.parametrize("m", [0.0, 3.0, 7.0, 14.0, 21.0, 30.0])
@pytest.mark.parametrize("operation", _rand_augment.OPERATIONS, ids=lambda operation: operation.name)
def test_rand_augment_operation(operation: Operation, m: float, size: tuple[int, int]) -> None:
    images = sample_images(*size)
    for sign, place in ((1.0, (0.25, 0.625)), (-1.0, (0.96875, 0.03125))):
        found = run_kernel(operation, images, m, sign, place)
        for index, image in enumerate(images):
            expected = pillow_rand_augment(operation.name, Image.fromarray(image), m, sign, place)
            assert np.array_equal(found[index], np.asarray(expected))


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (29, 37)])
@pytest.mark.parametrize("level", [0.1, 1.3, 2.6, 3.0, 7.2])
@pytest.mark.parametrize("operation", _augmix.OPERATIONS, ids=lambda operation: operation.name)
def test_augmix_operation(operation: Operation, level: float, size: tuple[int, int]) -> None:
    images = sample_images(*size)
    for sign in (1.0, -1.0):
        found = run_kernel(operation, images, level, sign, (0.0, 0.0))
        for index, image in enumerate(images):
            expected = pillow_augmix(operation.name, Image.fromarray(image), level, sign)
            assert_close(operation.name, found[index], np.asarray(expected))


def test_autocontrast_is_pillows_for_every_range_of_levels() -> None:
    for low in range(0, 256, 3):
        highs = torch.arange(low, 256).view(-1, 1, 1, 1)
        found = torch.arange(256).view(1, 1, 16, 16).clamp(min=low).minimum(highs).expand(-1, 3, -1, -1)
        stretched = levels.autocontrast(found.float(), torch.zeros(len(found), 6))[:, 0].numpy()
        for one, image in zip(stretched, found[:, 0].byte().numpy(), strict=True):
            assert np.array_equal(one, np.asarray(ImageOps.autocontrast(Image.fromarray(image))))


def test_rand_augment_draws_one_of_sixteen_for_each_image() -> None:
    image = sample_images()[1]
    copies = 4000
    batch = to_tensor(image[None]).expand(copies, -1, -1, -1)
    found = rand_augment(batch, torch.Generator().manual_seed(0))
    found_pixels = (found * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    known: dict[bytes, tuple[str, float]] = {}
    for operation in _rand_augment.OPERATIONS:
        for sign in (1.0, -1.0) if operation.name in GEOMETRIC else (1.0,):
            expected = pillow_rand_augment(operation.name, Image.fromarray(image), 3, sign, (0.5, 0.5))
            known[np.asarray(expected).tobytes()] = (operation.name, sign)
    tally = Counter(known.get(pixels.tobytes(), ("cutout", 1.0)) for pixels in found_pixels)
    by_name: Counter[str] = Counter()
    for (name, _), number in tally.items():
        by_name[name] += number
    assert set(by_name) == {operation.name for operation in _rand_augment.OPERATIONS}
    # 250 expected, 15.3 standard deviation.
    assert all(abs(number - copies / 16) < 5 * 15.3 for number in by_name.values()), by_name
    for name in GEOMETRIC:
        share = tally[name, 1.0] / by_name[name]
        assert abs(share - 0.5) < 5 * 0.5 / by_name[name] ** 0.5, name


def test_rand_augment_box_follows_the_original_distribution() -> None:
    images = torch.zeros(20_000, 3, 32, 32)
    found = rand_augment(images, torch.Generator().manual_seed(1))
    grey = torch.tensor([125.0, 123.0, 114.0]).view(3, 1, 1) / 255
    boxed = (found == grey).all(dim=1)
    boxed = boxed[boxed.flatten(1).any(1)]
    left = boxed.any(1).int().argmax(1).numpy()
    width = boxed.any(1).sum(1).numpy()
    # The centre is uniform on (1, 32], the left edge int(max(0, centre - 2)); five columns unless the border cuts.
    assert np.array_equal(width, np.minimum(5, 32 - left))
    expected = np.diff(np.concatenate([[1.0], np.arange(3.0, 33.0)])) / 31
    observed = np.bincount(left, minlength=31) / len(left)
    assert len(left) > 1000 and np.abs(observed[:30] - expected[:30]).max() < 0.03
    assert observed[0] > 1.5 * observed[1:].mean()


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_rand_augment_of_n_operations_is_a_chain_in_order(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, draw = record(monkeypatch, _rand_augment)
    images = sample_images()
    found = rand_augment(to_tensor(images), torch.Generator().manual_seed(2), n=n, m=9)
    for index, image in enumerate(images):
        expected = Image.fromarray(image)
        for step in range(n):
            name = _rand_augment.OPERATIONS[int(chosen[0][step, index])].name
            place = draw[0].place[step, index].tolist()
            expected = pillow_rand_augment(name, expected, 9, draw[0].sign[step, index].item(), (place[0], place[1]))
        difference = np.abs(found[index].permute(1, 2, 0).numpy() * 255 - np.asarray(expected))
        assert np.median(difference) < 1e-3 and (difference > 1.01).mean() < 0.02


@pytest.mark.parametrize(("depth", "width", "alpha"), [(None, 3, 1.0), (2, 1, 0.5), (4, 2, 3.0)])
def test_augmix_is_the_mixture_of_its_chains(
    depth: int | None, width: int, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, draw = record(monkeypatch, _augmix)
    weights: list[Tensor] = []

    def keep(*args: object) -> Tensor:
        weights.append(dirichlet(*args))  # type: ignore[arg-type] # passed through
        return weights[-1]

    monkeypatch.setattr(_augmix, "dirichlet", keep)
    images = np.concatenate([sample_images()] * 4)
    found = augmix(
        to_tensor(images), torch.Generator().manual_seed(3), depth=depth, width=width, alpha=alpha, severity=5.0
    )
    chain_weights, mixing = weights[0].numpy(), weights[1][:, 0].numpy()
    assert draw[0].amount.min() >= 0.1 and draw[0].amount.max() <= 5.0
    lengths = (chosen[0] < 9).sum(0)
    assert set(lengths.tolist()) == ({1, 2, 3} if depth is None else {depth})
    for index, image in enumerate(images):
        mixture = np.zeros(image.shape)
        for chain in range(width):
            column = chain * len(images) + index
            expected = Image.fromarray(image)
            for step in range(int(lengths[column])):
                name = _augmix.OPERATIONS[int(chosen[0][step, column])].name
                level, sign = draw[0].amount[step, column].item(), draw[0].sign[step, column].item()
                expected = pillow_augmix(name, expected, level, sign)
            mixture += chain_weights[index, chain] * np.asarray(expected)
        whole = (1 - mixing[index]) * image + mixing[index] * mixture
        difference = np.abs(found[index].permute(1, 2, 0).numpy() * 255 - whole)
        assert np.median(difference) < 1e-2 and (difference > 1.01).mean() < 0.02


def test_augmix_draws_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, draw = record(monkeypatch, _augmix)
    augmix(torch.zeros(2000, 3, 4, 4), torch.Generator().manual_seed(4))
    lengths = (chosen[0] < 9).sum(0).numpy()
    assert np.abs(np.bincount(lengths, minlength=4)[1:] / 6000 - 1 / 3).max() < 0.03
    used = chosen[0][chosen[0] < 9].numpy()
    assert np.abs(np.bincount(used, minlength=9) / len(used) - 1 / 9).max() < 0.015
    assert draw[0].amount.mean().item() == pytest.approx(1.55, abs=0.03)
    assert draw[0].sign.mean().item() == pytest.approx(0.0, abs=0.04)


def record(monkeypatch: pytest.MonkeyPatch, module: object) -> tuple[list[Tensor], list[Draw]]:
    """What the policy in ``module`` draws, kept as it hands it on."""
    chosen: list[Tensor] = []
    draws: list[Draw] = []
    original = module.plan_operations  # type: ignore[attr-defined] # both policy modules import it

    def keep(operations: tuple[Operation, ...], choice: Tensor, draw: Draw) -> PolicyPlan:
        chosen.append(choice)
        draws.append(draw)
        result: PolicyPlan = original(operations, choice, draw)
        return result

    monkeypatch.setattr(module, "plan_operations", keep)
    return chosen, draws


def test_mistakes() -> None:
    images, generator = torch.rand(2, 3, 32, 32), torch.Generator()
    calls: list[Callable[[], Tensor]] = [
        lambda: rand_augment(images, generator, n=-1),
        lambda: rand_augment(images, generator, m=31),
        lambda: rand_augment((images * 255).byte(), generator),
        lambda: rand_augment(images[:, :1], generator),
        lambda: augmix(images, generator, severity=11),
        lambda: augmix(images, generator, width=0),
        lambda: augmix(images, generator, depth=0),
        lambda: augmix(images, generator, alpha=0.0),
        lambda: augmix(images[0], generator),
    ]
    for call in calls:
        with pytest.raises(KdbenchError) as caught:
            call()
        assert caught.value.hint
