"""The whole campaign, tiny: from a tarball, through a kill, and home."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from kdbench.training.log import read_log
from tests.tools.campaign.material import MB, relative, strip, work_folder
from tools import gpu_campaign
from tools.campaign import outbox, pack

ROOT = Path(__file__).parents[2]


def campaign(root: Path, tmp_path: Path, number: int, *more: str) -> subprocess.Popen[bytes]:
    """A call with folders of its own; what it says goes to ``said-<number>``."""
    command = [
        sys.executable, str(root / "tools/gpu_campaign.py"), "--tiny", "--minutes", "20", "--work",
        str(tmp_path / f"work-{number}"), "--out", str(tmp_path / f"out-{number}"), "--parts", str(tmp_path / "pack"),
        "--only", "images", "reference", *more,
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (tmp_path / f"said-{number}").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def has_resume_state(out: Path) -> bool:
    for path in out.glob("state-*-1"):
        with contextlib.suppress(FileNotFoundError):
            return b"resume.pt" in path.read_bytes()
    return False


def seconds_of_epochs(work: Path) -> list[float]:
    [folder] = (work / "runs/campaign-tiny/trainings").glob("ce-*[!k]")
    return [entry["seconds"] for entry in read_log(folder)]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the tarball is that of a git checkout")
def test_a_campaign_from_a_tarball_killed_in_a_training_goes_on_elsewhere(tmp_path: Path) -> None:
    strip(tmp_path / "images/cifar10", "test.cat.00", 2)
    packed = pack.pack(
        ROOT, tmp_path / "images", tmp_path / "pack", limit=3 * MB, present=(), python="", machine="", wheels=False
    )
    with tarfile.open(packed[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    first = campaign(tmp_path / "kdbench", tmp_path, 1)
    while first.poll() is None and not has_resume_state(tmp_path / "out-1"):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, (tmp_path / "said-1").read_text()
    assert len(list((tmp_path / "out-1").iterdir())) <= 8

    second = campaign(tmp_path / "kdbench", tmp_path, 2, "--resume", str(tmp_path / "out-1"))
    assert second.wait() == 0, (tmp_path / "said-2").read_text()
    assert "reference: done" in (tmp_path / "out-2/log.txt").read_text()
    # The first epoch was not done again: its time is that of the first call.
    before, after = seconds_of_epochs(tmp_path / "work-1"), seconds_of_epochs(tmp_path / "work-2")
    assert len(after) == 6 and after[0] == before[0]


def test_results_are_taken_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_folder(tmp_path / "work")
    rows = {"pgd": {"ratios/PGD [cuda]": {"ratio": 9}}, "throughput": {"wrn-16-2": {"images_per_second": 7}}}
    (tmp_path / "work/results.json").write_text(json.dumps({"rows": rows}))
    outbox.Outbox(tmp_path / "work", tmp_path / "out", pytest.fail).refresh()
    file = tmp_path / "root/tools/data/benchmarks.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"ratios": {"old": {"ratio": 1}}}')
    monkeypatch.setattr(gpu_campaign, "ROOT", tmp_path / "root")
    monkeypatch.setattr(
        sys, "argv", ["gpu_campaign.py", "collect", "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    )
    assert gpu_campaign.main() == 0
    assert relative(tmp_path / "runs") == {"s/ce/1234/predictions.npz", "s/ce/1234/record.json"}
    assert json.loads(file.read_text()) == {"ratios": {"old": {"ratio": 1}, "PGD [cuda]": {"ratio": 9}}}
