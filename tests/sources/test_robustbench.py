"""RobustBench's zoo by name, its networks with random weights and saved as their authors save them."""

from __future__ import annotations

import argparse
import inspect
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import kdbench
from kdbench.attacks.libraries import installation
from kdbench.cli import evaluate  # noqa: F401  # its command
from kdbench.cli.app import app
from kdbench.data import DataPlace
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.plugin.loader import load_plugins
from kdbench.running.suite_data import load_suite_data
from kdbench.sources import open_model
from kdbench.suites import load_suite
from tests.sources.conftest import Web

AUGMIX = "cifar10/corruptions/Hendrycks2020AugMix_WRN"


@pytest.fixture(scope="module", autouse=True)
def _zoo() -> None:
    try:
        installation.robustbench()
    except KdbenchError as error:
        pytest.skip(f"robustbench: {error}")


@pytest.fixture
def mirror(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """An empty cache, and a copy of the zoo to fetch from."""
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KDBENCH_ROBUSTBENCH_URL", f"{web.url}/")
    return web


def augmix(web: Web) -> nn.Module:
    """WRN-40-2 of AugMix with random weights, saved as by a training script under DataParallel."""
    from robustbench.model_zoo.models import model_dicts

    entries = {
        f"{data.value}/{threat.value}/{name}": entry
        for data, threats in model_dicts.items()
        for threat, models in threats.items()
        for name, entry in models.items()
    }
    torch.manual_seed(7)
    network: nn.Module = entries[AUGMIX]["model"]()
    network.train()
    with torch.no_grad():
        network(torch.rand(16, 3, 32, 32))  # statistics of batch norm that are not the initial ones
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items() if name not in ("mu", "sigma")}
    saved = {
        "epoch": 200,
        "best_acc": np.float64(0.95),
        "args": argparse.Namespace(arch="wrn", lr=0.1),
        "state_dict": state,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1).state_dict(),
    }
    file = web.folder / f"{AUGMIX}.pt"
    file.parent.mkdir(parents=True)
    torch.save(saved, file)
    return network.eval()


def test_a_model_of_the_zoo_is_measured_by_its_name(mirror: Web, tiny_suite: Path, tmp_path: Path) -> None:
    network = augmix(mirror)
    arguments = [
        "evaluate",
        f"robustbench:{AUGMIX}",
        "--suite",
        str(tiny_suite),
        "--tasks",
        "clean",
        "--examples",
        "40",
    ]
    done = CliRunner().invoke(app, [*arguments, "--json", "--device", "cpu", "--out", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    data = load_suite_data(load_suite(str(tiny_suite)), load_plugins(), DataPlace.default(), ood=False)
    test = data.part(40).data.test
    with torch.no_grad():
        right = network(test.images.float() / 255).argmax(1) == test.labels
    (accuracy,) = (score for score in found["scores"] if score["metric"] == "accuracy")
    assert (accuracy["n"], accuracy["value"]) == (40, pytest.approx(float(right.float().mean())))
    assert found["model"]["source"] == f"robustbench:{AUGMIX}"
    assert found["model"]["sha256"] == file_sha256(mirror.folder / f"{AUGMIX}.pt")
    kept = kdbench.read_record(Path(found["record"]))
    assert kept.evaluated is not None
    assert kept.evaluated.source == f"robustbench:{AUGMIX}"
    assert found["preprocessing"]["resize"] is None
    assert mirror.asked == [f"/{AUGMIX}.pt"]


def test_what_is_known_of_it_and_that_it_is_fetched_once(mirror: Web, tiny_suite: Path) -> None:
    network = augmix(mirror)
    for download in (True, False):
        opened = open_model(f"robustbench:{AUGMIX}", download=download)
        assert (opened.source, opened.suite, opened.dataset) == (f"robustbench:{AUGMIX}", "cifar10", "cifar10")
        assert opened.sha256 == file_sha256(mirror.folder / f"{AUGMIX}.pt")
        assert opened.complete
        pixels = torch.rand(4, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(opened.network(pixels), network(pixels))
    assert len(mirror.asked) == 1
    assert open_model(f"robustbench:{AUGMIX}", suite=str(tiny_suite)).notes == (
        "it was trained for 'cifar10', and is measured on 'digits'",
    )
    with pytest.raises(KdbenchError, match="normalises its pixels by itself .omit --mean and --std"):
        open_model(f"robustbench:{AUGMIX}", mean="cifar10")


@pytest.mark.parametrize(
    ("what", "suite", "message"),
    [
        ("Carmon2019Unlabelled", None, "no model of RobustBench named .* .did you mean 'Carmon2019Unlabeled'"),
        ("cifar10/Linf/Carmon2019", None, "did you mean 'cifar10/Linf/Carmon2019Unlabeled'"),
        (
            "Rice2020Overfitting",
            None,
            "has 3 models named .*robustbench:cifar10/L2/Rice2020Overfitting, robustbench:cif",
        ),
        ("Rice2020Overfitting", "cifar10", "has 2 models named"),
        ("Rice2020Overfitting", "nrd-cifar100", "could not be downloaded.*cifar100/Linf/Rice2020Overfitting.pt"),
        ("Carmon2019Unlabeled", None, "could not be downloaded.*/cifar10/Linf/Carmon2019Unlabeled.pt: HTTP 404"),
        ("Salman2020Do_R18", None, "trained for 'imagenet', and no suite has that name"),
        (
            "cifar100/Linf/Rice2020Overfitting",
            None,
            "no suite has that name .choose one with --suite: cifar100n, nrd-cifar100",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(mirror: Web, what: str, suite: str | None, message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        open_model(f"robustbench:{what}", suite=suite)
    assert "\n" not in str(caught.value)


def test_without_downloads_the_place_of_the_file_is_named(mirror: Web) -> None:
    with pytest.raises(KdbenchError, match=r"not at .*cache/models/robustbench/cifar10/Linf/Carmon2019Unlabeled.pt"):
        open_model("robustbench:Carmon2019Unlabeled", download=False)
    assert not mirror.asked


def test_a_file_of_the_zoo_that_is_damaged_or_runs_code_is_one_line(mirror: Web, tmp_path: Path) -> None:
    file = mirror.folder / f"{AUGMIX}.pt"
    file.parent.mkdir(parents=True)
    file.write_text("<html>Google Drive: quota exceeded</html>")
    with pytest.raises(KdbenchError, match="a web page, not the file itself"):
        open_model(f"robustbench:{AUGMIX}")
    kept = tmp_path / "cache" / "models" / "robustbench" / f"{AUGMIX}.pt"
    kept.unlink()
    torch.save({"state_dict": {"x": torch.zeros(1)}, "hook": Trap(tmp_path / "trap")}, file)
    with pytest.raises(KdbenchError, match="could run code"):
        open_model(f"robustbench:{AUGMIX}")
    assert not (tmp_path / "trap").exists()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Google Drive, which can't be reached from a test: gdown's own arguments, files by their numbers from a folder."""
    gdown = pytest.importorskip("gdown")
    web = Web(tmp_path / "drive")
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("KDBENCH_ROBUSTBENCH_URL", raising=False)
    signature = inspect.signature(gdown.download)

    def download(*arguments: object, **options: object) -> object:
        given = signature.bind(*arguments, **options).arguments
        web.asked.append(given["id"])
        file = web.folder / given["id"]
        if not file.is_file():
            raise RuntimeError("Cannot retrieve the public link of the file.\nYou may need to change the permission")
        Path(given["output"]).write_bytes(file.read_bytes())
        return given["output"]

    monkeypatch.setattr(gdown, "download", download)
    return web


def test_files_come_from_google_drive_where_no_mirror_is_named(drive: Web, tmp_path: Path) -> None:
    augmix(drive)
    kept = tmp_path / "cache" / "models" / "robustbench" / f"{AUGMIX}.pt"
    with pytest.raises(
        KdbenchError, match=r"from Google Drive \(.*\): Cannot retrieve the public link.*by hand to"
    ) as caught:
        open_model(f"robustbench:{AUGMIX}")
    assert "\n" not in str(caught.value)
    assert not kept.exists()
    (number,) = drive.asked
    (drive.folder / f"{AUGMIX}.pt").rename(drive.folder / number)
    opened = open_model(f"robustbench:{AUGMIX}")
    assert opened.sha256 == file_sha256(kept) == file_sha256(drive.folder / number)
