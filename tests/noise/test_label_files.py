"""A user's own labels from a file, whatever its form."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.data import CIFAR10_CLASSES, DataFacts, DataPlace
from kdbench.errors import KdbenchError
from kdbench.noise.label_files import read
from kdbench.specs import LabelNoise
from tests.noise.numbered import noisy_labels

SIZE = 30
LABELS = noisy_labels(SIZE, 0.3)
FACTS = DataFacts("cifar10", CIFAR10_CLASSES, 32, SIZE, 10)
ELSEWHERE = np.random.default_rng(5).permutation(SIZE)
"""Another order of the rows."""


def npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def pt(values: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def csv(*rows: str) -> bytes:
    return "\n".join([*rows, ""]).encode()


FORMS = {
    "int64.npy": npy(LABELS),
    "bytes.npy": npy(LABELS.astype(np.uint8)),
    "column.npy": npy(LABELS[:, None]),
    "tensor.pt": pt(torch.from_numpy(LABELS)),
    "array.pt": pt(LABELS.astype(np.int32)),
    "plain.csv": csv("label", *map(str, LABELS)),
    "windows.csv": b"\xef\xbb\xbf" + csv("label", *map(str, LABELS)).replace(b"\n", b"\r\n"),
    "names.csv": csv("label", *(CIFAR10_CLASSES[label] for label in LABELS)),
    "index.csv": csv("index,label,who", *(f"{place},{LABELS[place]},me" for place in ELSEWHERE)),
    "UPPER.CSV": csv("label", *map(str, LABELS)),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_labels(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FORMS[name])
    found = read(LabelNoise(kind="file", path=str(path)), FACTS, DataPlace(None, tmp_path))
    assert found.observed.dtype == torch.int64
    assert found.observed.tolist() == LABELS.tolist()
    assert found.sha256 == hashlib.sha256(FORMS[name]).hexdigest()
    assert found.clean is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"0", r"ends in '\.txt' \(expected \.npy, \.csv, \.pt\)"),
        ("a.npy", b"none", r"is no \.npy array"),
        ("a.npy", npy(np.array([None])), r"is no \.npy array"),
        ("a.npy", npy(LABELS / 2), r"holds float64 \(30,\), expected integers"),
        ("a.npy", npy(LABELS[:, None].repeat(2, 1)), r"holds int64 \(30, 2\), expected integers"),
        ("a.npy", npy(LABELS[1:]), "has 29 labels, expected 30 for 'cifar10'"),
        ("a.npy", npy(LABELS * 2), r"labels outside \[0, 9\]"),
        ("a.npy", npy(LABELS - 1), r"labels outside \[0, 9\]"),
        ("a.pt", pt({"labels": LABELS}), "holds dict, expected integers"),
        ("a.pt", pt(torch.rand(SIZE)), r"holds torch.float32 \(30,\), expected integers"),
        ("a.csv", b"", "has no column 'label', found no row"),
        ("a.csv", csv(*map(str, LABELS)), "has no column 'label', found 6|has no column 'label', found"),
        ("a.csv", csv("label", "0", "parrot"), r"row 2: found 'parrot', expected a number or a class"),
        ("a.csv", csv("index,label", "0,1", "0,2"), "'index' should have each number from 0 to 1 once"),
        ("a.csv", b"label\n\xff\n", "is no CSV in UTF-8"),
        ("a.csv", csv("label", "9" * 30), "row 1: found '9{30}', expected a number or a class"),
        ("a.csv", csv("label", "x" * 5000), "row 1: found 'x{40}', expected a number or a class"),
        ("a.npy", npy(LABELS).replace(b"(30,)", b"(9" + b"9" * 15 + b",)").replace(b" " * 15, b"", 1), "no .npy array"),
        ("a.pt", pt(torch.from_numpy(LABELS).to_sparse()), "is no .pt file of tensors|holds torch.int64"),
        ("a.pt", pt(torch.from_numpy(LABELS) > 0), r"holds torch.bool \(30,\), expected integers"),
    ],
)
def test_what_are_no_labels_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KdbenchError, match=message) as caught:
        read(LabelNoise(kind="file", path=str(tmp_path / name)), FACTS, DataPlace(None, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_number_that_is_another_class_s_name_is_refused_and_never_guessed(tmp_path: Path) -> None:
    """Of classes "1", "2" and "3" the label 1 would mean the second: every label would be another one."""
    (tmp_path / "a.csv").write_bytes(csv("label", "1", "2"))
    noise, place = LabelNoise(kind="file", path=str(tmp_path / "a.csv")), DataPlace(None, tmp_path)
    with pytest.raises(KdbenchError, match="row 1: '1' is the name of class 0 and the number of class '2'"):
        read(noise, DataFacts("mine", ("1", "2", "3"), 32, 2, 10), place)
    same = DataFacts("digits", ("0", "1", "2"), 32, 2, 10)
    assert read(noise, same, place).observed.tolist() == [1, 2]


def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(KdbenchError, match=r"a\.npy' is a folder, a pipe, a device or a socket, expected a file"):
        read(LabelNoise(kind="file", path=str(tmp_path / "a.npy")), FACTS, DataPlace(None, tmp_path))


def test_a_file_is_found_by_its_hash_wherever_it_lies(tmp_path: Path) -> None:
    place = DataPlace(tmp_path / "data", tmp_path / "cache")
    (tmp_path / "data" / "labels").mkdir(parents=True)
    (tmp_path / "data" / "labels" / "a.npy").write_bytes(npy(LABELS[::-1]))
    (tmp_path / "data" / "labels" / "b.npy").write_bytes(npy(LABELS))
    noise = LabelNoise(kind="file", path=str(tmp_path / "gone.npy"), sha256=hashlib.sha256(npy(LABELS)).hexdigest())
    for one in (noise, noise.without_path()):
        assert read(one, FACTS, place).observed.tolist() == LABELS.tolist()
    (tmp_path / "gone.npy").write_bytes(npy(LABELS[::-1]))
    assert read(noise, FACTS, place).observed.tolist() == LABELS.tolist(), "other labels at the path are not taken"
    (tmp_path / "data" / "labels" / "b.npy").unlink()
    with pytest.raises(
        KdbenchError, match=r"labels with SHA-256 \w+ was not found: looked for it in .*gone\.npy and .*labels"
    ):
        read(noise, FACTS, place)
