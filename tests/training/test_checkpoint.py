from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kdbench import files
from kdbench.errors import KdbenchError
from kdbench.files import WriteError, file_sha256, write_atomically
from kdbench.training.checkpoint import load_checkpoint, load_resume, resume_bytes, save_checkpoint

TENSORS = {
    "weight": torch.arange(24.0).view(2, 3, 4),
    "turned": torch.arange(6.0).view(2, 3).t(),
    "last": torch.arange(48.0).view(1, 3, 4, 4).to(memory_format=torch.channels_last),
    "half": torch.tensor([0.1, 3e4], dtype=torch.float16),
    "brain": torch.tensor([0.1, 3e38], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "edge": torch.tensor([float("inf"), -0.0, 1e-45]),
    "empty": torch.zeros(0, 3),
}
METADATA: dict[str, Any] = {"b": {"deep": [1, 2.5, None, "ü"]}, "a": True}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in wanted.items()
    )


def test_tensors_and_metadata_come_back_as_they_went(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.safetensors"
    save_checkpoint(path, TENSORS, METADATA)
    tensors, metadata = load_checkpoint(path)
    assert same(tensors, TENSORS)
    assert metadata == METADATA
    assert names(path.parent) == ["a.safetensors"]


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_checkpoint(first, TENSORS, METADATA)
    save_checkpoint(second, dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
    assert first.read_bytes() == second.read_bytes()
    assert file_sha256(first) == hashlib.sha256(first.read_bytes()).hexdigest()


def test_what_still_has_gradients_is_saved_without(tmp_path: Path) -> None:
    weight = torch.ones(3, requires_grad=True)
    save_checkpoint(tmp_path / "a.safetensors", {"w": weight}, {})
    assert not load_checkpoint(tmp_path / "a.safetensors")[0]["w"].requires_grad
    assert weight.requires_grad


def test_weights_that_are_tied_are_saved_under_both_names(tmp_path: Path) -> None:
    """A network whose layers share a tensor has it twice in its state dict."""
    layer = torch.nn.Linear(3, 3)
    model = torch.nn.Sequential(layer, torch.nn.ReLU(), layer)
    save_checkpoint(tmp_path / "a.safetensors", model.state_dict(), {})
    assert same(load_checkpoint(tmp_path / "a.safetensors")[0], dict(model.state_dict()))


def test_a_plain_safetensors_file_has_no_metadata(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    tensors, metadata = load_checkpoint(tmp_path / "a.safetensors")
    assert same(tensors, {"w": torch.ones(2)})
    assert metadata == {}


def test_a_file_that_is_not_ours_is_told(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2, 2)}, tmp_path / "a.pt")
    with pytest.raises(KdbenchError, match="a.pt is not one of kdbench's .name its architecture with --model"):
        load_checkpoint(tmp_path / "a.pt")
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(KdbenchError, match="no checkpoint at "):
            load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"w": torch.arange(6.0)}, {"version": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(KdbenchError, match="a.safetensors is damaged") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_metadata_that_are_no_json_are_damage(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", {"kdbench": "{"})
    with pytest.raises(KdbenchError, match="is damaged"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_file_is_written_whole_with_its_folders_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    for content in (b"first", b"", b"a longer second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a.txt", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def fail(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"w": torch.ones(2)}, {"version": 1})
    before = path.read_bytes()
    monkeypatch.setattr(os, step, fail)
    monkeypatch.setattr(files, "sync", os.fsync)
    with pytest.raises(WriteError, match=r"cannot write .*a\.safetensors: no space left on device .*free some space"):
        save_checkpoint(path, {"w": torch.zeros(2)}, {"version": 2})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.safetensors"]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.txt", b"content")
    assert names(tmp_path) == []


STATE: dict[str, Any] = {
    "training": "abc", "student": TENSORS, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}, "groups": [1.5]},
    "history": [{"epoch": 1, "loss": 0.5}],
}  # fmt: skip


def save_resume(path: Path, state: dict[str, Any]) -> None:
    write_atomically(path, resume_bytes(state))


def test_resume_state_comes_back_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "resume.pt"
    save_resume(path, STATE)
    found = load_resume(path)
    assert found is not None
    assert same(found["student"], TENSORS)
    assert torch.equal(found["optimizer"]["state"][0]["momentum"], torch.ones(2))
    assert (found["training"], found["history"]) == (STATE["training"], STATE["history"])
    assert names(path.parent) == ["resume.pt"]


def test_no_resume_state_is_none_without_a_word(tmp_path: Path) -> None:
    assert load_resume(tmp_path / "resume.pt") is None


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_resume_state_that_is_cut_off_is_dropped_with_a_warning(tmp_path: Path, share: float) -> None:
    path = tmp_path / "resume.pt"
    save_resume(path, STATE)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.warns(UserWarning, match="resume.pt is damaged .*training starts over"):
        assert load_resume(path) is None


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.filterwarnings("ignore:resume state .* is damaged")
def test_a_resume_state_of_wrong_bytes_never_stops_a_training(tmp_path: Path) -> None:
    path, draws = tmp_path / "resume.pt", random.Random(0)
    save_resume(path, {"training": "abc", "w": torch.arange(6.0)})
    whole = path.read_bytes()
    for number in range(300):
        damaged = bytearray(whole)
        damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path.write_bytes(damaged if number % 2 else draws.randbytes(draws.randrange(1, 60)))
        found = load_resume(path)
        assert found is None or isinstance(found, dict)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_resume_state_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"training": "abc", "x": Payload(trap)}, tmp_path / "resume.pt")
    with pytest.warns(UserWarning, match="is damaged"):
        assert load_resume(tmp_path / "resume.pt") is None
    assert not trap.exists()
