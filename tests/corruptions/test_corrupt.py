"""The public function: what it refuses, what it promises."""

from __future__ import annotations

import builtins
import sys
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.corruptions import DETERMINISTIC, NAMES, SEVERITIES, _corrupt, corrupt, frost_textures
from kdbench.errors import KdbenchError

from . import oracle


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_names_are_the_published_ones_in_order() -> None:
    assert " ".join(NAMES) == (
        "gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog "
        "brightness contrast elastic_transform pixelate jpeg_compression speckle_noise gaussian_blur spatter saturate"
    )
    assert {*NAMES} == {*oracle.APPLY}
    assert {*NAMES} - {*oracle.DRAW} == DETERMINISTIC
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", NAMES)
def test_works_on_one_image_and_on_none(images: Tensor, name: str) -> None:
    for severity in SEVERITIES:
        one = corrupt(images[:1], name, severity, generator=seeded())
        assert one.shape == (1, 3, 32, 32)
        assert one.dtype == torch.uint8
    assert corrupt(images[:0], name, 1, generator=seeded()).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
def test_leaves_its_input_alone(images: Tensor, name: str) -> None:
    kept = images.clone()
    corrupt(images, name, 5, generator=seeded())
    assert torch.equal(images, kept)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_changes_nothing(images: Tensor, name: str) -> None:
    turned = images[:5].contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        corrupt(turned, name, 3, generator=seeded()), corrupt(images[:5].clone(), name, 3, generator=seeded())
    )


@pytest.mark.parametrize("name", sorted(DETERMINISTIC))
def test_chunks_leave_no_seam(images: Tensor, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = corrupt(images[:10], name, 4)
    monkeypatch.setattr(_corrupt, "CHUNK", 3)
    assert torch.equal(corrupt(images[:10], name, 4), whole)


@pytest.mark.parametrize("name", NAMES)
def test_severity_grows_with_its_number(images: Tensor, name: str) -> None:
    """The last severity changes natural-looking images more than the first (these two don't)."""
    change = [
        (corrupt(images[:-6], name, severity, generator=seeded()).float() - images[:-6].float()).abs().mean().item()
        for severity in (1, 5)
    ]
    assert change[0] > 0
    if name not in {"saturate", "elastic_transform"}:
        assert change[1] > change[0]


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(KdbenchError, match="did you mean 'gaussian_noise'"):
        corrupt(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "gausian_noise", 1)


@pytest.mark.parametrize("severity", [0, 6, -1, 1.0, "1", None])
def test_refuses_other_severities(severity: Any) -> None:
    with pytest.raises(KdbenchError, match=r"severity is .*expected a whole number from 1 to 5"):
        corrupt(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "contrast", severity)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(1, 3, 32, 32), "torch.float32"),
        (torch.zeros(1, 3, 28, 28, dtype=torch.uint8), r"\(1, 3, 28, 28\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), r"\(1, 32, 32, 3\)"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), r"\(1, 1, 32, 32\)"),
    ],
)
def test_refuses_other_images(images: Tensor, found: str) -> None:
    with pytest.raises(KdbenchError, match=found):
        corrupt(images, "contrast", 1)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DETERMINISTIC])
def test_random_ones_ask_for_a_generator(name: str) -> None:
    with pytest.raises(KdbenchError, match="generator"):
        corrupt(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), name, 1)


def test_missing_textures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(frost_textures, "distribution", absent)
    with pytest.raises(KdbenchError, match="imagecorruptions"):
        frost_textures.texture_paths()


def test_missing_opencv_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    really_import = builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return really_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(KdbenchError, match=r"libGL\.so\.1.*libgl1"):
        corrupt(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "spatter", 1, generator=seeded())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_same_draws_on_an_accelerator(images: Tensor, name: str) -> None:
    """A CPU generator gives images on another device the same draws; arithmetic may differ in the last bit."""
    here = corrupt(images, name, 3, generator=seeded())
    there = corrupt(images.cuda(), name, 3, generator=seeded())
    assert there.is_cuda
    off = (there.cpu().int() - here.int()).abs()
    assert (off <= 1).float().mean() > 0.999
    own = corrupt(images.cuda(), name, 3, generator=torch.Generator("cuda").manual_seed(0))
    assert own.shape == images.shape
