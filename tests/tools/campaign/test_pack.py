"""What travels: the checkout, images and wheels."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.campaign.material import MB, strip
from tools import gpu_campaign
from tools.campaign import images, pack, parts

ROOT = Path(__file__).parents[3]


def test_strips_become_class_folders_once(tmp_path: Path) -> None:
    pixels = strip(tmp_path / "strips/cifar10", "train.cat.01", 3)
    for count in (3, 0):
        assert images.unpack(tmp_path / "data", tmp_path / "strips/cifar10/train.cat.01.webp") == count
    found = sorted((tmp_path / "data/cifar10/train/cat").iterdir())
    assert [path.name for path in found] == ["00500.png", "00501.png", "00502.png"]
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in found]), pixels)


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)


def test_a_pack_holds_the_checkout_with_its_commit_and_images_in_order_of_use(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "kdbench").mkdir(parents=True)
    (root / "kdbench/a.py").write_text("a = 1\n")
    (root / "left.txt").write_text("not tracked")
    git(root, "init", "-q")
    git(root, "add", "kdbench")
    git(root, "commit", "-qm", "first")
    strip(tmp_path / "images/cifar10", "train.cat.00", 2)
    strip(tmp_path / "images/cifar10", "test.cat.00", 2)
    strip(tmp_path / "images/ood_imagenet", "test.cat.00", 2)
    found = pack.pack(
        root, tmp_path / "images", tmp_path / "out", limit=3 * MB, present=(), python="3.11", machine="x86_64",
        wheels=False,
    )  # fmt: skip
    assert [path.name for path in found] == ["kdbench.tar.gz", "part-1-of-1.tar"]
    with tarfile.open(found[0]) as archive:
        assert archive.getnames() == ["kdbench/kdbench/a.py", "kdbench/kdbench/_commit.json"]
        file = archive.extractfile("kdbench/kdbench/_commit.json")
        assert file is not None
        commit = json.load(file)
    assert len(commit["commit"]) == 40 and commit["dirty"] is False
    with tarfile.open(found[1]) as archive:
        assert archive.getnames()[1:] == ["images/cifar10/test.cat.00.webp", "images/ood_imagenet/test.cat.00.webp",
                                          "images/cifar10/train.cat.00.webp"]  # fmt: skip
    with pytest.raises(parts.PartError, match=r"has no cifar10/<split>"):
        pack.pack(root, tmp_path, tmp_path / "o", limit=MB, present=(), python="", machine="", wheels=False)


def test_what_the_machine_has_is_not_fetched(tmp_path: Path) -> None:
    """pip itself, without an index: of one wheel and what that needs, the placeholder is taken and not kept."""
    for name, needs in {"outer": ["torch>=2", "inner"], "inner": []}.items():
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            lines = [f"Requires-Dist: {one}" for one in needs]
            archive.writestr(f"{name}-1.0.dist-info/METADATA", "\n".join([f"Name: {name}", "Version: 1.0", *lines, ""]))
            archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(tmp_path))
        (tmp_path / "out").mkdir()
        found = pack.download(["outer"], tmp_path / "out", ["torch", "numpy==2.1"], "3.12", "x86_64")
        assert [path.name for path in found] == ["inner-1.0-py3-none-any.whl", "outer-1.0-py3-none-any.whl"]
        with pytest.raises(parts.PartError, match=r"pip install failed: ERROR: .*nowhere"):
            pack.download(["nowhere"], tmp_path / "out", [], "3.12", "x86_64")
    with pytest.raises(parts.PartError, match="say nowhere==VERSION"):
        pack.placeholder(tmp_path, "nowhere")


def test_wheels_that_came_are_installed_with_the_entry_points_of_the_checkout(tmp_path: Path) -> None:
    wheel = tmp_path / "stock/wheels/tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "x = 1\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    site = gpu_campaign.install(parts.Stock(tmp_path / "stock"), tmp_path / "site")
    assert (site / "tiny.py").read_text() == "x = 1\n"
    from importlib.metadata import PathDistribution

    metadata = PathDistribution(next(site.glob("kdbench-*.dist-info")))
    assert {point.name for point in metadata.entry_points if point.group == "kdbench"} >= {"builtin", "nrd"}
