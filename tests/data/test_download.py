from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from kdbench.data import download
from kdbench.data.download import extract, fetch
from kdbench.errors import KdbenchError

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/good, /norange, /wrong, /missing, and /breaks, which hangs up half-way through whatever it sends."""

    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.requests.append((self.path, wanted))
        if self.path == "/missing":
            self.send_error(404)
            return
        body = CONTENT[::-1] if self.path == "/wrong" else CONTENT
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.path != "/norange" else None
        if start is not None and start >= len(body):
            self.send_response(416)
            if self.path != "/terse":
                self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start or 0 :]
        if self.path != "/nolength":
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: len(rest) // 2] if self.path == "/breaks" else rest)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


@pytest.mark.parametrize("checksum", [SHA256, MD5, SHA256[:7] + SHA256[7:].upper()])
@pytest.mark.parametrize("path", ["/good", "/norange", "/nolength"])
def test_a_plain_download(server: str, target: Path, checksum: str, path: str) -> None:
    assert fetch([server + path], target, checksum=checksum) == target
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == [target.name]


def test_a_file_that_is_there_is_kept(server: str, target: Path) -> None:
    fetch([server + "/good"], target, checksum=SHA256)
    fetch([server + "/good"], target, checksum=SHA256)
    assert len(Handler.requests) == 1


def test_a_wrong_file_that_is_there_is_replaced(server: str, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"old")
    fetch([server + "/good"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT


def test_mirrors_are_tried_in_order(server: str, target: Path) -> None:
    fetch([server + path for path in ("/missing", "/wrong", "/good", "/norange")], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT
    assert [path for path, _ in Handler.requests] == ["/missing", "/wrong", "/good"]


def test_a_broken_download_is_resumed_where_it_stopped(server: str, target: Path) -> None:
    with pytest.raises(KdbenchError, match="broke off at 150000 of 300000"):
        fetch([server + "/breaks"], target, checksum=SHA256)
    assert part_of(target).read_bytes() == CONTENT[:150_000]
    assert not target.exists()
    fetch([server + "/good"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT
    assert Handler.requests[-1] == ("/good", "bytes=150000-")


def test_the_next_mirror_goes_on_where_the_first_broke_off(server: str, target: Path) -> None:
    fetch([server + "/breaks", server + "/good"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT
    assert Handler.requests == [("/breaks", None), ("/good", "bytes=150000-")]


def test_a_server_without_range_starts_again(server: str, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:1000])
    fetch([server + "/norange"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT
    assert len(Handler.requests) == 1  # and takes what it is sent, asking once


@pytest.mark.parametrize("path", ["/good", "/terse"])
def test_a_part_that_is_whole_already(server: str, target: Path, path: str) -> None:
    """The server answers 416, with or without saying how long the file is."""
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    fetch([server + path], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_too_long(server: str, target: Path) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT + b"more")
    fetch([server + "/good"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_part_of_another_file_is_dropped(server: str, target: Path, size: int) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(b"x" * size)
    fetch([server + "/good"], target, checksum=SHA256)
    assert target.read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_and_says_both(server: str, target: Path) -> None:
    with pytest.raises(KdbenchError, match=f"sha256 is [0-9a-f]{{64}}, expected {SHA256[7:]}"):
        fetch([server + "/wrong"], target, checksum=SHA256)
    assert os.listdir(target.parent) == []


def test_offline_names_every_url_and_the_place_by_hand(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(KdbenchError) as caught:
            fetch([base + "/a", base + "/b"], target, checksum=SHA256)
    assert base + "/a: " in caught.value.message
    assert base + "/b: " in caught.value.message
    assert str(target) in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_silent_server_times_out(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT_S", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(KdbenchError, match="timed out"):
            fetch([f"http://127.0.0.1:{silent.getsockname()[1]}/"], target, checksum=SHA256)


def test_the_progress_bar_stays_off_stdout(server: str, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch([server + "/good"], target, checksum=SHA256, progress=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("checksum", ["crc:00", "md5", "md5:"])
def test_a_checksum_must_say_its_algorithm(target: Path, checksum: str) -> None:
    with pytest.raises(ValueError, match="checksum should be"):
        fetch(["http://127.0.0.1/"], target, checksum=checksum)


def write_tar(path: Path, members: dict[str, bytes], link: tuple[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
    return path


@pytest.mark.parametrize("prefix", ["", "top/", "other-name/"])
def test_extract_with_and_without_a_top_folder(tmp_path: Path, prefix: str) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {f"{prefix}train/x": b"1", f"{prefix}test/y": b"2"})
    target = extract(archive, tmp_path / "out" / "top")
    assert (target / "train" / "x").read_bytes() == b"1"
    assert (target / "test" / "y").read_bytes() == b"2"
    assert os.listdir(tmp_path / "out") == ["top"]


@pytest.mark.parametrize("name", ["../outside", "top/../../outside"])
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {"top/good": b"1", name: b"2"})
    with pytest.raises(KdbenchError, match="can't be unpacked"):
        extract(archive, tmp_path / "out" / "top")
    assert os.listdir(tmp_path / "out") == []
    assert not list(tmp_path.rglob("outside"))


def test_links_that_point_outside_are_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {"top/good": b"1"}, link=("top/link", "/etc/passwd"))
    with pytest.raises(KdbenchError, match="can't be unpacked"):
        extract(archive, tmp_path / "out" / "top")


def test_a_truncated_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {"top/a": CONTENT, "top/b": CONTENT})
    archive.write_bytes(archive.read_bytes()[:200_000])
    with pytest.raises(KdbenchError, match="can't be unpacked"):
        extract(archive, tmp_path / "out" / "top")
    assert os.listdir(tmp_path / "out") == []


def test_extract_overwrites_nothing(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", {"top/a": b"1"})
    (tmp_path / "top").mkdir()
    with pytest.raises(KdbenchError, match="exists already"):
        extract(archive, tmp_path / "top")
