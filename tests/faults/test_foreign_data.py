"""Data folders with what is no image in them: pipes, devices, bombs, links to nothing. Each is one line, at once."""

from __future__ import annotations

import dataclasses
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from kdbench.data import DataPlace, cifar, cinic, food101, tiny_imagenet
from kdbench.data.download import fetch
from kdbench.data.folders import from_class_folders
from kdbench.data.photographs import Cut, Photograph, load_photographs, read_lines
from kdbench.errors import KdbenchError
from kdbench.results.untrusted import Unreadable, read_bytes


def image(path: Path, size: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size)).save(path)
    return path


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of a hundred bytes that says it has that many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        whole = kind + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.fixture
def place(tmp_path: Path) -> DataPlace:
    return DataPlace(tmp_path / "data", tmp_path / "cache")


def special(path: Path, kind: str) -> Path:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "annex":
        path.symlink_to("../.git/annex/objects/xy/SHA256E-s1--1.jpg/SHA256E-s1--1.jpg")
    else:
        path.symlink_to("/nowhere/cat.png")
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_read(kind: str, place: DataPlace, tmp_path: Path) -> None:
    file = special(tmp_path / "x" / kind, kind)
    with pytest.raises(KdbenchError, match="expected a file"):
        read_lines(file)
    with pytest.raises(Unreadable, match="is no file"):
        read_bytes(file, 100)
    with pytest.raises(KdbenchError, match="are missing, the first is .*, which is a folder, a pipe"):
        load_photographs("p", file.parent, [Photograph(kind, 0)], ["a"], Cut(8, 8), place)
    folder = tmp_path / "data" / cifar.CIFAR10.folder
    special(folder / "batches.meta", kind)
    with pytest.raises(KdbenchError, match="can't read '.*batches.meta': is a folder, a pipe"):
        cifar.load_official(folder, cifar.CIFAR10)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_class_folders_leave_out_what_is_no_file(kind: str, place: DataPlace) -> None:
    assert place.data_dir is not None
    for split in ("train", "test"):
        image(place.data_dir / "pets" / split / "cat" / "0.png")
    special(place.data_dir / "pets" / "train" / "cat" / "1.png", kind)
    with pytest.warns(UserWarning, match=r"no image of a class and are left out: cat/1\.png"):
        found = from_class_folders(place, "pets", ["cat"])
    assert found.train is not None and len(found.train) == 1


@pytest.mark.parametrize(("kind", "hint"), [("annex", "`git annex get`"), ("link", "/nowhere/cat.png")])
def test_a_link_to_nothing_says_what_it_wanted(kind: str, hint: str, place: DataPlace, tmp_path: Path) -> None:
    assert place.data_dir is not None
    special(place.data_dir / "pets" / "test" / "cat" / "0.png", kind)
    with pytest.raises(KdbenchError, match="links to nothing") as caught:
        from_class_folders(place, "pets", ["cat"], splits=("test",))
    assert hint in caught.value.hint
    with pytest.raises(KdbenchError, match="are missing") as caught:
        load_photographs("p", place.data_dir / "pets/test/cat", [Photograph("0.png", 0)], ["a"], Cut(8, 8), place)
    assert hint in caught.value.hint
    with pytest.raises(KdbenchError, match="can't read") as caught:
        read_lines(place.data_dir / "pets/test/cat/0.png")
    assert hint in caught.value.hint


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000), (1, 60_000), (60_000, 1), (0, 0), (2**31 - 1, 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_one_line(size: tuple[int, int], place: DataPlace) -> None:
    assert place.data_dir is not None
    bomb(place.data_dir / "pets" / "test" / "cat" / "0.png", *size)
    with pytest.raises(KdbenchError) as caught:
        from_class_folders(place, "pets", ["cat"], splits=("test",))
    assert "\n" not in str(caught.value)
    with pytest.raises(KdbenchError, match="can't be read") as caught:
        load_photographs("p", place.data_dir / "pets/test/cat", [Photograph("0.png", 0)], ["a"], Cut(256, 224), place)
    assert "\n" not in str(caught.value)


def test_pinned_archives_come_over_https_with_sha256() -> None:
    for urls, checksum in (
        (food101.URLS, food101.CHECKSUM),
        (cifar.CIFAR10.urls, cifar.CIFAR10.checksum),
        (cifar.CIFAR100.urls, cifar.CIFAR100.checksum),
    ):
        assert all(url.startswith("https://") for url in urls)
        assert checksum.startswith("sha256:") and len(checksum) == 71
    assert all(url.startswith("https://") for url in (*cinic.URLS, tiny_imagenet.URL))
    assert len(tiny_imagenet.SHA256) == 64


@dataclasses.dataclass
class Server:
    address: str


@pytest.fixture
def server() -> Iterator[Server]:
    """One that sends without end, and lies about lengths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/long":
                self.send_header("Content-Length", str(10**17))
            if self.path == "/odd":
                self.send_header("Content-Length", "many")
            self.end_headers()
            try:
                for _ in range(100 if self.path == "/endless" else 1):
                    self.wfile.write(bytes(2**16))
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield Server(f"http://127.0.0.1:{running.server_port}")
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("path", ["/long", "/endless"])
def test_a_download_ends_where_it_should(server: Server, tmp_path: Path, path: str) -> None:
    with pytest.raises(KdbenchError, match="bytes or more, expected 1,000,000 at most"):
        fetch([server.address + path], tmp_path / "x", checksum="sha256:" + "0" * 64, largest=1_000_000)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3_000_000


def test_a_length_that_is_none_is_not_believed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="sha256 is .*, expected 0000"):
        fetch([server.address + "/odd"], tmp_path / "x", checksum="sha256:" + "0" * 64)
