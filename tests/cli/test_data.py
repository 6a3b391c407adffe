from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.data import CIFAR10_CLASSES, DataPlace, Dataset, DatasetSpec, data_status, from_class_folders
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins


def test_status_of_every_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path))
    datasets, noises = load_plugins().datasets, load_plugins().label_noises
    labels = [name for name in noises if noises.get(name).fetch is not None]
    arguments = ["data", "status", "--data-dir", str(tmp_path)]
    rows = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [row["name"] for row in rows] == [*datasets, *labels, "CIFAR-10-C", "CIFAR-100-C"]
    assert {row["state"] for row in rows if row["name"] in labels} == {"can be fetched"}
    states = {row["name"]: row["state"] for row in rows if row["name"] in datasets}
    assert [row["state"] for row in rows[-2:]] == ["missing", "missing"]
    assert rows[list(datasets).index("digits")]["found"] == "1,297 training, 500 test images"
    assert states["digits"] == "available"  # it is embedded
    for name, state in states.items():
        if name not in ("digits", "digits-fonts"):
            spec = datasets.get(name)
            assert state == ("can be fetched" if spec.fetch else "can be built" if spec.build else "missing")
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert f"looked in {tmp_path}; cache and downloads in {tmp_path}" in " ".join(shown.split())


def test_labels_of_people_are_fetched_and_another_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(urls: object, target: Path, **options: object) -> Path:
        target.parent.mkdir(parents=True)
        target.write_bytes(b"labels")
        return target

    monkeypatch.setattr("kdbench.data.download.fetch", download)
    arguments = ["--data-dir", str(tmp_path)]
    shown = CliRunner().invoke(app, ["data", "fetch", "cifar10n-worse", *arguments], catch_exceptions=False).stdout
    file = tmp_path / "cifar-n" / "CIFAR-10_human.pt"
    assert shown.split() == [str(file)]
    listed = CliRunner().invoke(app, ["data", "status", "--json", *arguments], catch_exceptions=False).stdout
    rows = {row["name"]: row for row in json.loads(listed)}
    for name in ("aggre", "random1", "random2", "random3", "worse"):
        assert rows[f"cifar10n-{name}"]["state"] == "incomplete"
        assert rows[f"cifar10n-{name}"]["found"].startswith(f"'{file}' is not the official file: its SHA-256 is ")
    assert rows["cifar100n-fine"]["state"] == "can be fetched"


@pytest.mark.parametrize(("name", "reason"), [("symmetric", "it is drawn"), ("file", "its files are your own")])
def test_what_is_drawn_is_not_fetched(name: str, reason: str) -> None:
    error = CliRunner().invoke(app, ["data", "fetch", name]).exception
    assert isinstance(error, KdbenchError)
    assert (error.message, error.hint) == (f"label noise '{name}' is not for download", reason)


def test_what_is_embedded_is_not_fetched() -> None:
    error = CliRunner().invoke(app, ["data", "fetch", "digits"]).exception
    assert isinstance(error, KdbenchError)
    assert "dataset 'digits' is not for download" in error.message


def test_a_part_of_a_data_set_is_not_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 test and 120 training images as CIFAR-10's class folders, and an archive that is not one."""
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))
    for split, number in (("train", 12), ("test", 6)):
        for name in CIFAR10_CLASSES:
            (tmp_path / "cifar10" / split / name).mkdir(parents=True)
            for image in range(number):
                (tmp_path / "cifar10" / split / name / f"{image}.png").write_bytes(b"not read")
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "CIFAR-10-C").mkdir()
    arguments = ["data", "status", "--data-dir", str(tmp_path), "--json"]
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, arguments).stdout)}
    assert {name: rows[name]["state"] for name in ("cifar10", "cifar100", "CIFAR-10-C")} == dict.fromkeys(
        ("cifar10", "cifar100", "CIFAR-10-C"), "incomplete"
    )
    assert "found 120 training images, expected 50,000" in rows["cifar10"]["found"]
    assert "cifar-100-python/meta" in rows["cifar100"]["found"]
    assert "holds none of the 19 arrays" in rows["CIFAR-10-C"]["found"]
    error = CliRunner().invoke(app, ["data", "fetch", "cifar100", "--data-dir", str(tmp_path)]).exception
    assert isinstance(error, KdbenchError) and "cifar-100-python/meta" in error.message and "move" in error.hint


def raising(place: DataPlace) -> Dataset:
    raise ValueError("a bug of\nits author")


@pytest.mark.parametrize(
    ("changes", "state", "found"),
    [
        ({}, "missing", "the data of 'pets' were not found: looked in "),
        ({"available": lambda place: False}, "missing", "the data of 'pets' were not found"),
        ({"available": lambda place: True}, "missing", "the data of 'pets' were not found: looked in "),
        ({"load": raising}, "broken", "ValueError: a bug of its author"),
        ({"available": lambda place: True, "count": lambda place: (3, 2)}, "available", "3 training, 2 test images"),
        ({"count": lambda place: (None, 2), "test_images": 4}, "incomplete", "found 2 test images, expected 4"),
    ],
)
def test_a_third_party_set_is_available_when_it_is_there(
    tmp_path: Path, changes: dict[str, Any], state: str, found: str
) -> None:
    spec = DatasetSpec("pets", ("cat", "dog"), 8, lambda place: from_class_folders(place, "pets", ("cat", "dog")))
    status = data_status(dataclasses.replace(spec, **changes), DataPlace(tmp_path, tmp_path / "cache", download=True))
    assert status.state == state
    assert found in status.found
    assert bool(status.fix) == (state != "available")


def test_a_third_party_set_that_is_not_whole_is_incomplete(tmp_path: Path) -> None:
    spec = DatasetSpec("pets", ("cat", "dog"), 8, lambda place: from_class_folders(place, "pets", ("cat", "dog")))
    (tmp_path / "pets" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "train" / "dogs").mkdir()
    assert data_status(spec, DataPlace(tmp_path, tmp_path / "cache")).state == "incomplete"


def test_describe_says_where_a_set_comes_from_and_how_to_get_it() -> None:
    described = json.loads(CliRunner().invoke(app, ["describe", "dataset", "ood-imagenet", "--json"]).stdout)
    assert "tiny-imagenet-200.zip" in described["source"] and "ImageNet's" in described["source"]
    assert described["layout"] == "ood_imagenet/test/<class>/*.png"
    assert "`kdbench data build ood-imagenet --from tiny-imagenet-200.zip` or put into" in described["to_get_it"]
    assert described["sha256"].startswith("87d445549ea6458c")
    embedded = json.loads(CliRunner().invoke(app, ["describe", "dataset", "digits", "--json"]).stdout)
    assert embedded["to_get_it"] == "it comes with its package"
