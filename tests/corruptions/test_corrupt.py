"""The public function: what it refuses, what it promises."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.corruptions import DETERMINISTIC, NAMES, SEVERITIES, _corrupt, _table, corrupt
from kdbench.errors import KdbenchError

from . import oracle

BLACK = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)


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
def test_works_on_one_image(images: Tensor, name: str) -> None:
    for severity in SEVERITIES:
        one = corrupt(images[:1], name, severity, generator=seeded())
        assert one.shape == (1, 3, 32, 32)
        assert one.dtype == torch.uint8


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


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corruption that starts to compute is told apart from one that refuses first."""

    def working(*args: Any) -> Tensor:
        raise AssertionError("worked before it looked")

    for name in NAMES:
        monkeypatch.setitem(_table.TABLE, name, dataclasses.replace(_table.TABLE[name], function=working))


def refused(message: str, *args: Any, **kwargs: Any) -> None:
    """``corrupt`` raises a KdbenchError of one line that matches ``message``, with a hint."""
    with pytest.raises(KdbenchError, match=message) as caught:
        corrupt(*args, **kwargs)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gausian_noise", "no corruption named 'gausian_noise'.*did you mean 'gaussian_noise'"),
        ("Fog", "no corruption named 'Fog'.*did you mean 'fog'"),
        ("", "no corruption named ''.*known: "),
        (None, "name of a corruption is None, expected a string"),
        (["fog"], r"name of a corruption is \['fog'\], expected a string"),
    ],
)
def test_refuses_other_names(no_work: None, name: Any, message: str) -> None:
    refused(message, BLACK, name, 1, generator=seeded())


@pytest.mark.parametrize("severity", [0, 6, -1, 1.0, 2.5, True, False, "1", None, np.int64(6), torch.tensor(3)])
def test_refuses_other_severities(no_work: None, severity: Any) -> None:
    refused(r"severity is .*expected a whole number from 1 to 5", BLACK, "contrast", severity)


def test_takes_numpys_whole_numbers_as_severities(images: Tensor) -> None:
    assert torch.equal(corrupt(images, "contrast", np.int64(3)), corrupt(images, "contrast", 3))


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(1, 3, 32, 32), "are torch.float32, expected torch.uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "are torch.int64, expected torch.uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.bool), "are torch.bool, expected torch.uint8"),
        (
            torch.zeros(1, 3, 28, 28, dtype=torch.uint8),
            r"shape \(1, 3, 28, 28\), expected \(N, 3, 32, 32\) or \(N, 3, 64, 64\)",
        ),
        (torch.zeros(1, 3, 1, 1, dtype=torch.uint8), r"shape \(1, 3, 1, 1\)"),
        (torch.zeros(1, 3, 48, 48, dtype=torch.uint8), r"shape \(1, 3, 48, 48\)"),
        (torch.zeros(1, 3, 32, 64, dtype=torch.uint8), r"shape \(1, 3, 32, 64\)"),
        (torch.zeros(1, 3, 64, 32, dtype=torch.uint8), r"shape \(1, 3, 64, 32\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"shape \(3, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), r"shape \(1, 32, 32, 3\)"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), r"shape \(1, 1, 32, 32\)"),
        (torch.zeros((), dtype=torch.uint8), r"shape \(\)"),
        (torch.zeros(0, 3, 32, 32, dtype=torch.uint8), r"no images to corrupt: shape \(0, 3, 32, 32\)"),
        (np.zeros((1, 3, 32, 32), dtype=np.uint8), "are a ndarray, expected a torch.Tensor"),
        ([[0]], "are a list, expected a torch.Tensor"),
        (None, "are a NoneType, expected a torch.Tensor"),
    ],
)
def test_refuses_other_images(no_work: None, images: Any, found: str) -> None:
    refused(found, images, "contrast", 1)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DETERMINISTIC])
def test_random_ones_ask_for_a_generator(no_work: None, name: str) -> None:
    refused(f"'{name}' is random and got no generator", BLACK, name, 1)


@pytest.mark.parametrize(("generator", "kind"), [(0, "int"), (np.random.default_rng(0), "Generator")])
def test_refuses_another_generator(no_work: None, generator: Any, kind: str) -> None:
    refused(f"generator is a .*{kind}, expected a torch.Generator", BLACK, "fog", 1, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_works_on_a_chunk_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory the temporaries take doesn't grow with the number of images."""
    entry, seen = _table.TABLE[name], []

    def watched(pixels: Tensor, *args: Any) -> Tensor:
        seen.append(len(pixels))
        return entry.function(pixels, *args)

    monkeypatch.setitem(_table.TABLE, name, dataclasses.replace(entry, function=watched))
    monkeypatch.setattr(_corrupt, "CHUNK", 4)
    corrupt(BLACK.expand(10, 3, 32, 32), name, 1, generator=seeded())
    assert seen == [4, 4, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_is_bounded() -> None:
    """Beside the images (59 MiB): the result, as large, and little more; one float32 copy would be 234 MiB."""
    script = """
import re, torch
from kdbench.corruptions import corrupt
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
torch.set_num_threads(1)
images = torch.full((20_000, 3, 32, 32), 7, dtype=torch.uint8)
corrupt(images[:1000], "contrast", 3)
before = peak()
corrupt(images, "contrast", 3)
print(peak() - before)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 2 * 59


@pytest.mark.gpu
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
