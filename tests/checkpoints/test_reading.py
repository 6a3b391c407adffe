"""Reading a file of tensors: nothing in it is run, and whatever is wrong with it is one line."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import random
import runpy
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from kdbench.checkpoints import read_weights
from kdbench.checkpoints.arrays import StoredArray, StoredDtype
from kdbench.errors import KdbenchError


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Setter:
    """Writes a file when its state is set, if that is what its own code does."""

    path = ""

    def __init__(self, path: Path) -> None:
        self.written = str(path)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["written"]).write_text("run")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_never_run(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "trap"
    torch.save({"w": torch.ones(2, 2), "x": Payload(trap)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(KdbenchError, match=r"holds more than tensors \(posix.mkdir\), and reading it could run code"):
        read_weights(tmp_path / "a.pt")
    assert not trap.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert trap.exists(), "the trap must work for the test to mean something"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("thing", [subprocess.Popen, eval, getattr, importlib.import_module, os.system, runpy.run_path])
def test_names_that_are_there_to_be_run_are_refused(tmp_path: Path, zipped: bool, thing: Any) -> None:
    torch.save({"w": torch.ones(2, 2), "x": thing}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        KdbenchError, match=rf"holds more than tensors \(.*{thing.__name__}.*\), and reading it could run"
    ):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("dtype", ["?", "<i4", ">i8", "<f2", ">f4", "<f8", "u1"])
def test_arrays_are_read_from_their_bytes(tmp_path: Path, dtype: str) -> None:
    array = (np.arange(24).reshape(2, 3, 4) % 7).astype(dtype)
    for one in (array, np.asfortranarray(array), array[:, ::2]):
        torch.save(
            {"w": one, "scalar": one[0, 0, 0], "names": np.array(["a"]), "any": np.array([None])}, tmp_path / "a.pt"
        )
        weights = read_weights(tmp_path / "a.pt")
        assert np.array_equal(weights.state["w"].numpy(), one)
        assert weights.state["w"].numpy().dtype == one.dtype.newbyteorder("=")
        assert weights.notes == ("left out: scalar, names, any",)


def test_an_array_that_lies_about_its_memory_is_left_out(tmp_path: Path) -> None:
    def stored(kind: str, shape: object, raw: object) -> StoredArray:
        array = StoredArray()
        array.__setstate__((1, shape, StoredDtype(kind), False, raw))
        return array

    assert stored("f4", (2,), bytes(8)).tensor() is not None
    for kind, shape, raw in (("f4", (3,), bytes(8)), ("f4", (-5,), bytes(8)), ("O", (1,), bytes(8)), ("f4", (2,), "ab"),
                             ("f4", "ab", bytes(8)), ("f4,O", (1,), bytes(12)), (["f4"], (2,), bytes(8))):  # fmt: skip
        assert stored(kind, shape, raw).tensor() is None  # type: ignore[arg-type]  # a file may say anything
    assert StoredArray().tensor() is None


@pytest.mark.parametrize("zipped", [True, False])
def test_a_class_of_somebodys_own_is_read_without_its_code(tmp_path: Path, zipped: bool) -> None:
    trap = tmp_path / "trap"
    torch.save({"w": torch.ones(2, 2), "x": Setter(trap)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    weights = read_weights(tmp_path / "a.pt")
    assert torch.equal(weights.state["w"], torch.ones(2, 2))
    assert weights.notes == ("left out: x", f"not read: objects of {__name__}.Setter")
    assert not trap.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert trap.exists()


def test_reading_leaves_torchs_list_of_safe_names_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save({"w": torch.ones(2, 2), "x": Setter(tmp_path)}, tmp_path / "a.pt")
    read_weights(tmp_path / "a.pt")
    assert set(torch.serialization.get_safe_globals()) == before


def test_the_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(2, 2)}, path)
    assert read_weights(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_reading_asks_for_no_gradients(tmp_path: Path) -> None:
    torch.save({"w": torch.nn.Parameter(torch.ones(2, 2))}, tmp_path / "a.pt")
    assert not read_weights(tmp_path / "a.pt").state["w"].requires_grad


def contents(suffix: str) -> bytes:
    if suffix == "safetensors":
        return save({"w": torch.ones(2, 3)})
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2, 3)}, buffer, _use_new_zipfile_serialization=suffix == "pt")
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_one_line(tmp_path: Path, suffix: str, share: float) -> None:
    whole, path = contents(suffix), tmp_path / f"a.{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(KdbenchError, match=f"a.{suffix} is (damaged|empty)") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_a_file_with_a_wrong_byte_is_read_or_told_in_one_line(tmp_path: Path, suffix: str) -> None:
    whole, path, draws = contents(suffix), tmp_path / f"a.{suffix}", random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except KdbenchError as error:
            assert "\n" not in str(error)


def test_a_file_of_anything_is_told_in_one_line(tmp_path: Path) -> None:
    draws, path = random.Random(0), tmp_path / "a.pt"
    for content in (b"", b"hello", b"{}", *(draws.randbytes(draws.randrange(1, 60)) for _ in range(200))):
        path.write_bytes(content)
        with pytest.raises(KdbenchError, match="a.pt") as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)
