"""What all augmentations promise, and what the two views are made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from kdbench import augment
from kdbench.augment import _operations, _random

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
ALL: dict[str, Augmentation] = {
    "crop_flip": augment.crop_flip,
    "cutout": augment.cutout,
    "rand_augment": lambda images, generator: augment.rand_augment(images, generator, n=2, m=3),
    "augmix": augment.augmix,
    "auto_augment": augment.auto_augment,
    "random_erasing": augment.random_erasing,
    "strong_view": augment.strong_view,
    "teacher_view": augment.teacher_view,
}
MIXING = {"augmix", "teacher_view"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=list(ALL))
def name(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def images(batch: int, height: int = 32, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(256, (batch, 3, height, width), generator=generator).float() / 255


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_same_generator_state_same_bits_and_no_global_draw(name: str) -> None:
    batch = images(24)
    kept = batch.clone()
    before = torch.get_rng_state()
    generator = seeded(0)
    first, second = ALL[name](batch, generator), ALL[name](batch, generator)
    assert torch.equal(first, ALL[name](batch, seeded(0)))
    assert not torch.equal(first, second)
    assert torch.equal(batch, kept)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch", [0, 1, 2, 33])
@pytest.mark.parametrize("size", [(32, 32), (8, 20)])
def test_shape_type_and_range(name: str, batch: int, size: tuple[int, int]) -> None:
    found = ALL[name](images(batch, *size), seeded(1))
    assert found.shape == (batch, 3, *size) and found.dtype == torch.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_the_size_of_the_parts_that_the_cpu_works_on_changes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ALL[name](images(50), seeded(14))
    monkeypatch.setattr(_operations, "CPU_IMAGES", 7)
    assert torch.equal(ALL[name](images(50), seeded(14)), expected)


def test_copies_of_one_image_come_out_different(name: str) -> None:
    found = ALL[name](images(1).expand(40, -1, -1, -1), seeded(2))
    assert len({one.numpy().tobytes() for one in found}) >= 12


def test_layout_of_the_input_does_not_matter(name: str) -> None:
    batch = images(9)
    strided = batch.to(memory_format=torch.channels_last)
    assert torch.equal(ALL[name](batch, seeded(3)), ALL[name](strided, seeded(3)))


def test_results_stay_on_the_grid_of_levels_except_for_mixtures(name: str) -> None:
    levels = ALL[name](images(16), seeded(4)) * 255
    on_grid = (levels - levels.round()).abs().max().item() < 1e-3
    filled = name == "strong_view"  # its cutout paints the mean colour
    assert on_grid is (name not in MIXING and not filled)


def test_float64_and_half_precision_come_back_as_they_went_in(name: str) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        assert ALL[name](images(3).to(dtype), seeded(5)).dtype == dtype


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu_for_a_generator_on_the_cpu(name: str) -> None:
    batch = images(64)
    expected, found = ALL[name](batch, seeded(6)), ALL[name](batch.cuda(), seeded(6))
    assert found.device.type == "cuda"
    assert ((found.cpu() - expected).abs() > 1.5 / 255).float().mean() < 0.002
    on_device = ALL[name](batch.cuda(), torch.Generator("cuda").manual_seed(6))
    assert on_device.shape == batch.shape


def test_strong_view_is_its_four_steps_in_order() -> None:
    batch, generator = images(32), seeded(7)
    fill = (0.5, 0.4, 0.3)
    expected = augment.rand_augment(batch, generator, n=1, m=3)
    expected = augment.crop_flip(expected, generator, padding=4, mode="zeros")
    expected = augment.cutout(expected, generator, length=16, fill=fill)
    found = augment.strong_view(batch, seeded(7), fill=fill)
    assert torch.equal(found, expected)
    # The square that cutout paints last is whole wherever its centre is inside.
    square = (found == torch.tensor(fill).view(3, 1, 1)).all(1).flatten(1).sum(1)
    assert square.min() >= 64 and square.max() == 256


def test_options_of_the_views_reach_their_steps() -> None:
    batch = images(48)
    generator = seeded(12)
    expected = augment.rand_augment(batch, generator, n=1, m=30)
    expected = augment.crop_flip(expected, generator, padding=4, mode="zeros", flip=False)
    assert torch.equal(augment.strong_view(batch, seeded(12), m=30, cutout_length=0, flip=False), expected)
    generator = seeded(13)
    expected = augment.augmix(batch, generator, severity=8)
    expected = augment.crop_flip(expected, generator, padding=4, mode="zeros", flip=False)
    assert torch.equal(augment.teacher_view(batch, seeded(13), severity=8, flip=False), expected)


def test_teacher_view_is_augmix_then_crop_and_flip() -> None:
    batch, generator = images(32), seeded(8)
    expected = augment.crop_flip(augment.augmix(batch, generator), generator, padding=4, mode="zeros")
    assert torch.equal(augment.teacher_view(batch, seeded(8)), expected)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_dirichlet_has_beta_marginals(alpha: float) -> None:
    draws = _random.dirichlet((5000, 3), alpha, seeded(9), torch.device("cpu"))
    torch.testing.assert_close(draws.sum(1), torch.ones(5000))
    for column in draws.double().numpy().T:
        assert stats.kstest(column, stats.beta(alpha, 2 * alpha).cdf).pvalue > 1e-3
    mixing = _random.dirichlet((5000, 2), alpha, seeded(10), torch.device("cpu"))[:, 0].double().numpy()
    assert stats.kstest(mixing, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_photographs_keep_their_subject_under_the_teacher_view() -> None:
    root = os.environ.get("KDBENCH_DATA_DIR")
    if root is None:
        pytest.skip("KDBENCH_DATA_DIR isn't set: no photographs")
    files = sorted((Path(root) / "cifar10" / "test").glob("*/*.png"))[:: 1 + 9999 // 200][:200]
    if not files:
        pytest.skip("no CIFAR-10 under KDBENCH_DATA_DIR")
    photographs = torch.from_numpy(np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]))
    photographs = photographs.permute(0, 3, 1, 2).float() / 255

    def mean_change(view: Tensor) -> float:
        return (view - photographs).abs().mean().item()

    mixed, strong = augment.augmix(photographs, seeded(11)), augment.rand_augment(photographs, seeded(11))
    # Half of the mixture is the photograph itself; RandAugment inverts, blackens or shifts by a third of the image.
    assert 0.02 < mean_change(mixed) < 0.15 < mean_change(strong) < 0.4
