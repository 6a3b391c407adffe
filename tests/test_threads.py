from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.threads import SETTINGS, wait_asleep


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that what is set here is undone
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_threads_that_wait_sleep() -> None:
    wait_asleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_user_set_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "7")
    wait_asleep()
    assert {one: os.environ[one] for one in SETTINGS if one in os.environ} == {name: "7"}


def test_it_is_said_before_torch_is_imported(tmp_path: Path) -> None:
    code = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Finder())
sys.argv = ["kdbench", "list"]
from kdbench.cli import main
main()
"""
    environment = {**os.environ, "KDBENCH_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "PASSIVE\n", done.stderr


def test_how_threads_wait_changes_no_bit() -> None:
    code = """
import hashlib, torch
from torch import nn
assert torch.get_num_threads() == 2
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 900, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
for _ in range(3):
    images, labels = torch.rand(32, 3, 32, 32), torch.randint(10, (32,))
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
print(hashlib.sha256(b"".join(one.numpy().tobytes() for one in network.state_dict().values())).hexdigest())
"""
    found = set()
    for settings in ({"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}):
        environment = {**os.environ, "OMP_NUM_THREADS": "2", **settings}
        found.add(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment).stdout)
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
