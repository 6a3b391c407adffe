"""Files that hold no weights: each is told in one exact sentence that says what to do."""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.checkpoints import read_weights
from kdbench.errors import KdbenchError
from tests.checkpoints import network
from tests.checkpoints.network import NETWORK, STATE, Meter, State, Written, legacy, write
from tests.checkpoints.test_containers import SGD


def traced() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(NETWORK.eval(), torch.rand(1, 3, 8, 8)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(NETWORK.eval(), (torch.rand(1, 3, 8, 8),)), buffer)
    return buffer.getvalue()


def quantised() -> State:
    return {**STATE, "fc.weight": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


def protocol_4() -> bytes:
    buffer = io.BytesIO()
    torch.save(STATE, buffer, pickle_protocol=4)
    return buffer.getvalue()


SAVE = "save model.state_dict() with torch.save, best as safetensors"
UNPACK = "unpack it and give the checkpoint inside"
PICKLED = "where that code is, torch.save(model.state_dict(), ...), and give what it writes"
MODULE = f"holds a whole pickled module, {network.__name__}.Network, and reading it would run its code"
WRONG: dict[str, tuple[Written | Callable[[], Any], str, str]] = {
    # name: (content, what "checkpoint PATH" is said to be, what to do)
    "TorchScript": (
        traced,
        "is TorchScript, which brings its own code",
        "kdbench.evaluate(torch.jit.load(path)) measures it in Python, where you trust it; or save its state_dict() "
        "and name the architecture",
    ),
    "an exported program": (
        exported,
        "is an exported program, which brings its own code",
        "give it the suffix .pt2 and omit --model",
    ),
    "ONNX": (
        b"\x08\x08\x12\x07pytorch\x1a\x051.8.0",
        "is an ONNX model, which can't be differentiated",
        f"where it was exported from, {SAVE}",
    ),
    "a pickled module": (NETWORK, MODULE, PICKLED),
    "a pickled module beside numbers": ({"net": NETWORK, "acc": 93.1}, MODULE, PICKLED),
    "a pickled module, before 1.6": (legacy(NETWORK), MODULE, PICKLED),
    "a pickled DataParallel": (
        nn.DataParallel(NETWORK),
        "holds a whole pickled module, torch.nn.parallel.data_parallel.DataParallel, and reading it would run its code",
        PICKLED,
    ),
    "an optimiser alone": (SGD, "is not a state dict: it holds state, param_groups", "save model.state_dict() alone"),
    "settings alone": (
        {"args": argparse.Namespace(a=1), "epoch": 3},
        "is not a state dict: it holds args, epoch",
        "save model.state_dict() alone",
    ),
    "an empty dict": ({}, "is not a state dict: it holds a dict", "save model.state_dict() alone"),
    "a number": (3, "is not a state dict: it holds a int", "save model.state_dict() alone"),
    "a tensor": (torch.ones(3, 3), "is not a state dict: it holds a Tensor", "save model.state_dict() alone"),
    "tensors without names": (
        [*STATE.values()],
        "is not a state dict: it holds tensors without names",
        "save model.state_dict() alone",
    ),
    "a configuration object": (
        Meter(),
        f"is not a state dict: it holds {network.__name__}.Meter",
        "save model.state_dict() alone",
    ),
    "a plain pickle": (
        pickle.dumps({"a": 1}),
        "is a plain pickle, which can't be read safely",
        f"where it was made, {SAVE}",
    ),
    "pickle protocol 4": (
        protocol_4,
        "is damaged, or pickled in a way that torch's safe reader doesn't know",
        "save it again with torch.save and its own pickle_protocol, best as safetensors",
    ),
    "NumPy's archive": (arrays, "is an archive of NumPy arrays", f"copy them to torch and {SAVE}"),
    "HDF5": (
        b"\x89HDF\r\n\x1a\n" + bytes(99),
        "is an HDF5 file, as Keras saves",
        f"load it there, copy the weights to torch and {SAVE}",
    ),
    "a zip of files": (
        zipped({"run/a.pth": b"1", "run/log.txt": b"2"}),
        "is a zip archive of 2 files, such as run/a.pth",
        UNPACK,
    ),
    "a tar of files": (tarred, "is a tar archive", UNPACK),
    "compressed": (gzip.compress(b"abc"), "is compressed by gzip", UNPACK),
    "a web page": (
        b"\n<!DOCTYPE html><html>Sign in",
        "is a web page, not the file itself",
        "download it again in a browser and look at what comes",
    ),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "is a pointer of Git LFS, not the file itself",
        "`git lfs pull` fetches it",
    ),
    "an index of pieces": (
        b'{"metadata": {}, "weight_map": {}}',
        "is an index of a checkpoint in pieces",
        "give a file of tensors",
    ),
    "an empty file": (b"", "is empty", "copy it again"),
    "numbers that aren't finite": (
        {**STATE, "fc.bias": torch.tensor([1.0, float("nan")])},
        ": 1 of 2 numbers of fc.bias aren't finite",
        "the training diverged; take an earlier checkpoint",
    ),
    "sparse": (
        {**STATE, "fc.weight": torch.eye(10).to_sparse()},
        ": fc.weight is torch.sparse_coo",
        "save the weights as dense float32 tensors",
    ),
    "quantised": (quantised, ": fc.weight is quantised", "save the weights as dense float32 tensors"),
    "without values": (
        {**STATE, "fc.weight": torch.ones(2, 2, device="meta")},
        ": fc.weight is without values",
        "save the weights as dense float32 tensors",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:torch.quantize:UserWarning")
@pytest.mark.parametrize("name", WRONG)
def test_what_holds_no_weights_is_one_exact_sentence(tmp_path: Path, name: str) -> None:
    content, what, advice = WRONG[name]
    path = write(tmp_path / "a.pth", content() if isinstance(content, types.FunctionType) else content)
    with pytest.raises(KdbenchError) as caught:
        read_weights(path)
    assert str(caught.value) == f"checkpoint {path} {what} ({advice})".replace(" :", ":")


def test_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="no checkpoint at .*none.pt .give the path"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(KdbenchError, match="which is a folder .it holds none"):
        read_weights(tmp_path)
    for name in ("b.pth", "a.safetensors", "log.txt"):
        (tmp_path / name).touch()
    with pytest.raises(KdbenchError, match="which is a folder .give one of its files: a.safetensors, b.pth"):
        read_weights(tmp_path)
    (tmp_path / "__0_0.distcp").touch()
    with pytest.raises(KdbenchError, match="is a folder of torch.distributed.checkpoint .*dcp_to_torch"):
        read_weights(tmp_path)
