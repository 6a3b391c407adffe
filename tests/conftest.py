"""What all tests share: one thread a process, a private cache, a tiny suite."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.testing import pretend_accelerator

TINY_SUITE = """
name = "tiny"
version = 1
title = "A few digits"
why = "Tests: everything of the digits suite in seconds."
dataset = "digits"
ood = ["digits-fonts"]
student = "wrn-10-1"
flip = false

[networks.teacher]
model = "wrn-10-1"
method = "ce"
seed = 1000

[networks.reference]
model = "wrn-10-1"
method = "ce"
seed = 2000

[recipe]
epochs = 3
batch_size = 20
lr = 0.03
augmentation = "crop"

[conditions.clean]
train_size = 200

[conditions.sym-40]
train_size = 200
noise = { kind = "symmetric", rate = 0.4, seed = 0 }

[tasks.clean]
[tasks.noisy_label]
[tasks.calibration]

[tasks.pgd]
conditions = ["clean"]
settings = { subset = 10, every_restart = 10, steps = [2, 3], restarts = 2 }

[tasks.transfer]
conditions = ["clean"]
settings = { subset = 10, steps = 2 }
"""


SMALL_SUITE = """
name = "small"
version = 1
title = "A few digits"
why = "Tests: a training takes a second."
dataset = "digits"
student = "wrn-10-1"
flip = false

[networks.teacher]
model = "wrn-10-1"
method = "ce"
seed = 1000

[recipe]
epochs = 2
batch_size = 20
lr = 0.03
augmentation = "crop"

[conditions.clean]
train_size = 100

[tasks.pgd]
settings = { subset = 10, every_restart = 10, steps = [1], restarts = 1 }
"""
"""One condition and one attack."""


def pytest_configure() -> None:
    """Torch must know the pretend accelerator before the first backward pass of a test process."""
    with pretend_accelerator():
        pass


@pytest.fixture(scope="session", autouse=True)
def _one_thread_and_a_private_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Test processes run side by side, and a test must not find what an earlier session cached."""
    import torch

    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
    os.environ["KDBENCH_ISOLATION"] = "off"  # plugins that a test installs are seen in its process alone
    os.environ["KDBENCH_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test pulls the plug, and a disk that says when it has written takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdbench.files.sync", lambda handle: None)
        yield


SLOW = "KDBENCH_SLOW"
"""Environment: ``all``, or a share of the slow tests as ``2/8``."""


def _skip_slow(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``slow`` but for the share that is asked for."""
    asked = os.environ.get(SLOW, "")
    part, _, parts = ("0/1" if asked == "all" else asked or "0/0").partition("/")
    for item in items:
        mine = int(parts) and zlib.crc32(item.nodeid.encode()) % int(parts) == int(part) % int(parts)
        if item.get_closest_marker("slow") and not mine:
            item.add_marker(pytest.mark.skip(reason=f"minutes: {SLOW}=all, or a share as {SLOW}=2/8"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` where torch sees none, and those marked ``slow`` that are not asked for."""
    _skip_slow(items)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def tiny_suite(tmp_path: Path) -> Path:
    """A suite file that trains and measures in a few seconds."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_SUITE)
    return path
