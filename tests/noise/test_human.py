"""CIFAR-10N and CIFAR-100N, on small files of the official layout beside a small archive of CIFAR's."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data import CIFAR10_CLASSES, DataFacts, DataPlace, Dataset, DataStatus, cifar
from kdbench.errors import KdbenchError
from kdbench.noise import LabelNoiseSpec, NoisyLabels, human, labels_status, observe
from kdbench.noise.human import CIFAR10N, CIFAR100N, HumanLabels
from kdbench.plugin.loader import load_plugins
from kdbench.specs import LabelNoise
from kdbench.suites import load_suite
from tests.data.small import write_archive
from tests.noise.numbered import clean_labels, entries, noisy_labels, pixels

SIZE, TEST = 40, 10
SHARES = {"aggre": 0.1, "random1": 0.175, "random2": 0.2, "random3": 0.225, "worse": 0.4}
FACTS = DataFacts("cifar10", CIFAR10_CLASSES, 32, SIZE, TEST)


def contents(size: int = SIZE) -> dict[str, np.ndarray]:
    """What the file holds, with the official keys."""
    keys = {name: key for name, (key, _, _) in CIFAR10N.kinds.items()}
    labels = {keys[name]: noisy_labels(size, share, seed) for seed, (name, share) in enumerate(SHARES.items())}
    return {"clean_label": clean_labels(size), **labels}


def saved(values: object, *, zipped: bool = True, old: bool = False) -> bytes:
    """As ``torch.save`` wrote it, ``old``: with NumPy 1, whose modules had other names."""
    buffer = io.BytesIO()
    torch.save(values, buffer, _use_new_zipfile_serialization=zipped)
    if not old:
        return buffer.getvalue()
    renamed = (b"numpy._core.multiarray", b"numpy.core.multiarray")
    if not zipped:
        return buffer.getvalue().replace(*renamed)
    again = io.BytesIO()
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(again, "w") as target:
        for name in made.namelist():
            target.writestr(name, made.read(name).replace(*renamed))
    return again.getvalue()


def small(blob: bytes, *urls: str) -> HumanLabels:
    """The file's description with its own hash and shares."""
    kinds = {name: (key, SHARES[name], text) for name, (key, _, text) in CIFAR10N.kinds.items()}
    return dataclasses.replace(CIFAR10N, sha256=hashlib.sha256(blob).hexdigest(), urls=urls, kinds=kinds)


def kind(source: HumanLabels, name: str = "worse") -> LabelNoiseSpec:
    return next(spec for spec in human.specs(source) if spec.name == f"{source.name}-{name}")


def put(place: DataPlace, blob: bytes) -> None:
    assert place.data_dir is not None
    (place.data_dir / "cifar-n").mkdir(parents=True, exist_ok=True)
    (place.data_dir / "cifar-n" / "CIFAR-10_human.pt").write_bytes(blob)


@pytest.fixture
def place(tmp_path: Path) -> DataPlace:
    (tmp_path / "data").mkdir()
    return DataPlace(tmp_path / "data", tmp_path / "cache")


def official(place: DataPlace) -> Dataset:
    """The images from the pickled files."""
    assert place.data_dir is not None
    labels = [*clean_labels(SIZE).tolist(), *range(TEST)]
    return cifar.load(place, write_archive(place.data_dir, pixels(SIZE + TEST), labels, SIZE))


def observed(spec: LabelNoiseSpec, data: Dataset, place: DataPlace) -> NoisyLabels:
    assert data.train is not None
    return observe(spec, LabelNoise(kind=spec.name), data.train, torch.arange(SIZE), data.facts, place)


@pytest.mark.parametrize("name", SHARES)
def test_every_set_of_labels_meets_its_images(name: str, place: DataPlace) -> None:
    blob = saved(contents())
    put(place, blob)
    data = official(place)
    assert data.train is not None
    found = observed(kind(small(blob), name), data, place)
    expected = contents()[CIFAR10N.kinds[name][0]][entries(data.train.images).numpy()]
    assert found.labels.tolist() == expected.tolist()
    assert found.realised == pytest.approx(SHARES[name])
    assert found.file_sha256 == hashlib.sha256(blob).hexdigest()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_files_of_old_and_new_versions_are_read(zipped: bool, old: bool, place: DataPlace) -> None:
    blob = saved(contents(), zipped=zipped, old=old)
    assert (b"numpy._core" in blob) is not old
    put(place, blob)
    spec = kind(small(blob))
    assert spec.read is not None
    given = spec.read(LabelNoise(kind=spec.name), FACTS, place)
    assert given.observed.tolist() == contents()["worse_label"].tolist()
    assert given.clean is not None
    assert given.clean.tolist() == clean_labels(SIZE).tolist()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (saved({**contents(), "other": Evil()}), "was refused: it is no .pt file"),
        (b"no file of torch", "was refused: it is no .pt file"),
        (saved(clean_labels(SIZE)), "has no labels 'worse_label' and 'clean_label'"),
        (saved({"clean_label": clean_labels(SIZE)}), "has no labels 'worse_label' and 'clean_label'"),
        (
            saved({**contents(), "worse_label": clean_labels(SIZE).reshape(2, -1)}),
            r"holds int64 \(2, 20\), expected int",
        ),
        (saved({**contents(), "worse_label": np.zeros(SIZE)}), "was refused: it is no .pt file"),
    ],
)
def test_nothing_but_labels_is_read(blob: bytes, message: str, place: DataPlace) -> None:
    put(place, blob)
    spec = kind(small(blob))
    assert spec.read is not None
    with pytest.raises(KdbenchError, match=message):
        spec.read(LabelNoise(kind=spec.name), FACTS, place)


def test_another_file_and_none_are_one_line_each(place: DataPlace) -> None:
    data = official(place)
    with pytest.raises(
        KdbenchError, match=r"labels of 'cifar10n-worse' were not found.*data fetch cifar10n-worse.*CC BY-NC"
    ):
        observed(kind(CIFAR10N), data, place)
    put(place, saved(contents()))
    with pytest.raises(KdbenchError, match="is not the official file: its SHA-256 is .*, expected 873e69c3"):
        observed(kind(CIFAR10N), data, place)


def test_class_folders_are_refused_with_the_reason(place: DataPlace) -> None:
    blob = saved(contents())
    put(place, blob)
    assert place.data_dir is not None
    for row, (image, label) in enumerate(zip(pixels(SIZE), clean_labels(SIZE).tolist(), strict=True)):
        for split in ("train", "test"):
            folder = place.data_dir / "cifar10" / split / CIFAR10_CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{row}.png")
    data = cifar.load(place, cifar.CIFAR10)
    with pytest.raises(
        KdbenchError, match="'cifar10n-worse' can't be used: .*class folders, whose order is that of file"
    ):
        observed(kind(small(blob)), data, place)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A local server of the small file, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = saved(contents())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/CIFAR-10_human.pt", asked
        running.shutdown()
        thread.join()


def test_the_file_is_fetched_once_and_checked(place: DataPlace, server: tuple[str, list[str]]) -> None:
    url, asked = server
    source = small(saved(contents()), url)
    data, online = official(place), dataclasses.replace(place, download=True)
    first = observed(kind(source), data, online)
    assert place.data_dir is not None
    assert (place.data_dir / "cifar-n" / "CIFAR-10_human.pt").read_bytes() == saved(contents())
    for name in SHARES:
        observed(kind(source, name), data, online)
    fetch = kind(source).fetch
    assert fetch is not None
    assert fetch(online) == place.data_dir / "cifar-n" / "CIFAR-10_human.pt"
    assert asked == ["/CIFAR-10_human.pt"]
    assert first.realised == pytest.approx(0.4)


def test_another_file_at_the_address_is_not_kept(place: DataPlace, server: tuple[str, list[str]]) -> None:
    source = dataclasses.replace(small(b""), urls=(server[0],))
    with pytest.raises(KdbenchError, match="could not be downloaded: .*sha256 is"):
        observed(kind(source), official(place), dataclasses.replace(place, download=True))
    assert place.data_dir is not None
    assert not list((place.data_dir / "cifar-n").iterdir())


def test_the_published_facts() -> None:
    """Shares of wrong labels as Wei et al. 2022 print them, and addresses of the authors' repository."""
    shares = {spec.name: spec.share for spec in human.specs()}
    assert shares == {
        "cifar10n-aggre": 0.0901, "cifar10n-random1": 0.1723, "cifar10n-random2": 0.1812, "cifar10n-random3": 0.1764,
        "cifar10n-worse": 0.4021, "cifar100n-fine": 0.4020,
    }  # fmt: skip
    for source in (CIFAR10N, CIFAR100N):
        assert source.urls == (f"https://github.com/UCSC-REAL/cifar-10-100n/raw/main/data/{source.file}",)
        assert len(source.sha256) == 64


@pytest.mark.parametrize(("name", "source"), [("cifar10n", CIFAR10N), ("cifar100n", CIFAR100N)])
def test_the_suites_have_every_set_of_labels_and_the_authors_recipe(name: str, source: HumanLabels) -> None:
    suite, noises = load_suite(name), load_plugins().label_noises
    kinds = {condition: one.noise.kind for condition, one in suite.conditions.items() if one.noise is not None}
    assert kinds == {one: f"{name}-{one}" for one in source.kinds}
    for condition in suite.conditions.values():
        recipe = condition.recipe
        assert (recipe.epochs, recipe.lr, recipe.milestones, recipe.gamma) == (100, 0.1, (60,), 0.1)
        assert (recipe.momentum, recipe.weight_decay, recipe.batch_size, recipe.nesterov) == (0.9, 5e-4, 128, False)
        if condition.noise is not None:
            facts = DataFacts(source.dataset, source.class_names, 32)
            noises.get(condition.noise.kind).check(condition.noise, facts)
    assert suite.student == "resnet34"


def test_labels_are_available_where_their_official_file_is(tmp_path: Path) -> None:
    blob, place = saved(contents()), DataPlace(tmp_path, tmp_path / "cache")
    spec = human.specs(small(blob))[0]
    assert labels_status(spec, place).state == "missing"
    file = tmp_path / human.FOLDER / CIFAR10N.file
    file.parent.mkdir()
    file.write_bytes(blob)
    assert labels_status(spec, place) == DataStatus("available", str(file))
    file.write_bytes(b"{}")
    found = labels_status(spec, place)
    assert found.state == "incomplete" and "is not the official file: its SHA-256 is 44136fa355" in found.found
    assert found.fix == "move it away and run `kdbench data fetch cifar10n-aggre`"
