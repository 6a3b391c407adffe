"""What kind of file a checkpoint is, by its content: what can't be read as weights is one line that says what to do."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal, NoReturn

from kdbench.errors import KdbenchError, named, plain

Kind = Literal["safetensors", "zip", "legacy"]

_SAVE = "save model.state_dict() with torch.save, best as safetensors"
_UNPACK = "unpack it and give the checkpoint inside"

_BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "`git lfs pull` fetches it"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras saves", f"load it there, copy the weights to torch and {_SAVE}"),
    (b"\x93NUMPY", "a NumPy array", _SAVE),
    (b"GGUF", "a GGUF file", _SAVE),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed by xz", _UNPACK),
    (b"(\xb5/\xfd", "compressed by zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
)
"""First bytes, what such a file is, and what to do."""

_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Torch's number, pickled, at the beginning of a file that it wrote before version 1.6."""

INDEX = 64 * 2**20
"""Bytes of an index of a checkpoint in pieces."""

_CHECKPOINTS = {".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar", ".pt2"}


def kind_of(path: Path) -> Kind:
    """How the tensors of a file are written: safetensors, or torch's zip or legacy format.

    Raises:
        KdbenchError: there is no such file, or it is of another kind.
    """
    if path.is_dir():
        _refuse_folder(path)
    if not path.is_file():
        raise KdbenchError(f"no checkpoint at {path}", "give the path of a .safetensors, .pt or .pth file")
    with path.open("rb") as file:
        head = file.read(512)
    if is_safetensors(path):
        return "safetensors"
    if not head:
        raise KdbenchError(f"checkpoint {path} is empty", "copy it again")
    for beginning, what, advice in _BEGINNINGS:
        if head.startswith(beginning):
            _refuse(path, what, advice)
    if head[257:262] == b"ustar":
        _refuse(path, "a tar archive", _UNPACK)
    start = head.lstrip()[:20].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        _refuse(path, "a web page, not the file itself", "download it again in a browser and look at what comes")
    if start[:1] in (b"{", b"["):
        with path.open("rb") as file:
            shards = b'"weight_map"' in file.read(INDEX)
        _refuse(path, "an index of a checkpoint in pieces" if shards else "JSON text", "give a file of tensors")
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and head[2:3] == b"\x12" and b"pytorch" in head):
        _refuse(path, "an ONNX model, which can't be differentiated", f"where it was exported from, {_SAVE}")
    if path.suffix in (".msgpack", ".tflite", ".pb", ".mlmodel", ".engine"):
        _refuse(path, f"a {path.suffix} file, not PyTorch's", _SAVE)
    if head.startswith(b"PK"):
        _check_zip(path)
        return "zip"
    if _LEGACY in head[:40]:
        return "legacy"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05" and _last_byte(path) == b".":
        _refuse(path, "a plain pickle, which can't be read safely", f"where it was made, {_SAVE}")
    raise KdbenchError(
        f"checkpoint {path} is damaged or of no known kind: it begins with {head[:8]!r}",
        "copy it again, or give a .safetensors, .pt or .pth file",
    )


def is_safetensors(path: Path) -> bool:
    """Whether a file is in that format: its suffix says so, or its first bytes do, whatever the suffix."""
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    named = path.suffix == ".safetensors" and not head.startswith((b"PK\x03", b"\x80\x02"))
    return named or (head[8:] == b"{" and length + 8 <= path.stat().st_size)


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()


def damaged(path: Path, error: Exception) -> KdbenchError:
    """The error for a file that isn't whole."""
    return KdbenchError(f"checkpoint {path} is damaged: {plain(named(error))}", "copy it again, or train it again")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:  # whatever a damaged directory makes the reader stumble over
        raise damaged(path, error) from None
    inside = {name.partition("/")[2] for name in names}
    if "archive_format" in inside or "serialized_exported_program.json" in {*names, *inside}:
        _refuse(path, "an exported program, which brings its own code", "give it the suffix .pt2 and omit --model")
    if "data.pkl" in inside:
        if "constants.pkl" in inside or "bytecode.pkl" in inside or any(name.startswith("code/") for name in inside):
            _refuse(
                path,
                "TorchScript, which brings its own code",
                "kdbench.evaluate(torch.jit.load(path)) measures it in Python, where you trust it; or save its "
                "state_dict() and name the architecture",
            )
        return
    if names and all(name.endswith(".npy") for name in names):
        _refuse(path, "an archive of NumPy arrays", f"copy them to torch and {_SAVE}")
    _refuse(
        path,
        f"a zip archive of {len(names)} files, such as {plain(names[0], 80)}" if names else "an empty archive",
        _UNPACK,
    )


def _refuse(path: Path, what: str, advice: str) -> NoReturn:
    raise KdbenchError(f"checkpoint {path} is {what}", advice)


def _refuse_folder(path: Path) -> NoReturn:
    inside = sorted(entry.name for entry in path.iterdir())
    if ".metadata" in inside or any(name.endswith(".distcp") for name in inside):
        raise KdbenchError(
            f"checkpoint {path} is a folder of torch.distributed.checkpoint",
            f"`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} a.pt` makes one file of it",
        )
    files = [name for name in inside if Path(name).suffix in _CHECKPOINTS]
    advice = f"give one of its files: {', '.join(files[:6])}" if files else "it holds none; give a file"
    raise KdbenchError(f"no checkpoint at {path}, which is a folder", advice)
