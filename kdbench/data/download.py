"""Downloads that can be resumed and are checked, and archives unpacked safely."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.files import new_folder
from kdbench.progress import bar

TIMEOUT_S = 30.0
"""For connecting, and for each read."""
BLOCK = 1 << 20
LARGEST = 200 * 2**30
"""Bytes of a download; ImageNet's training images have 138 GiB. A server that never ends would fill the disk."""
USER_AGENT = "kdbench"


class _ChecksumMismatch(Exception):
    pass


def fetch(urls: Sequence[str], target: Path, *, checksum: str, progress: bool = False, largest: int = LARGEST) -> Path:
    """Download a file from the first URL that gives the right one.

    A broken download stays beside the target as ``<name>.part`` and is resumed (HTTP Range); a file that is whole but
    has the wrong checksum is deleted, and the next URL tried. ``target`` appears only when it is right.

    Args:
        urls: the same file at several places, tried in order.
        target: where the file goes; one that is there already with the right checksum is kept.
        checksum: "md5:<hex>" or "sha256:<hex>".
        largest: bytes beyond which a download is broken off.

    Returns:
        ``target``.

    Raises:
        KdbenchError: no URL gave the file; the message names them all, and where to put it by hand.
    """
    algorithm, expected = _parse(checksum)
    if target.is_file() and file_digest(target, algorithm) == expected:
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KdbenchError(f"can't make the folder '{target.parent}': {error.strerror}") from error
    failures = []
    for url in urls:
        try:
            _download_verified(url, part, algorithm, expected, progress, largest)
        except _ChecksumMismatch as mismatch:
            part.unlink(missing_ok=True)
            failures.append(f"{url}: {mismatch}")
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            failures.append(f"{url}: {_reason(error)}")
        else:
            os.replace(part, target)
            return target
    raise KdbenchError(
        f"'{target.name}' could not be downloaded: {'; '.join(failures)}",
        f"are you offline? else download it by hand to '{target}' ({checksum}) and run the same command again",
    )


def fetch_unchecked(url: str, target: Path, *, progress: bool = False) -> Path:
    """Download a file of which nobody publishes a checksum: its length alone is checked, where the server says it.

    ``target`` appears only when it is whole. Raises ``KdbenchError`` where the download fails.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # without a checksum nobody knows that it is a piece of this file
        _download(url, part, progress, LARGEST)
        os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:
        raise KdbenchError(
            f"'{target.name}' could not be downloaded: {url}: {_reason(error)}",
            f"are you offline? else download it by hand to '{target}' and run the same command again",
        ) from error
    return target


def _parse(checksum: str) -> tuple[str, str]:
    algorithm, _, expected = checksum.partition(":")
    if algorithm not in ("md5", "sha256") or not expected:
        raise ValueError(f"checksum should be 'md5:<hex>' or 'sha256:<hex>', it is '{checksum}'")
    return algorithm, expected.lower()


def in_words(checksum: str) -> str:
    """A checksum as text.

    >>> in_words("md5:90528d7ca1a48142e341f4ef8d21d0de")
    'MD5 90528d7ca1a48142e341f4ef8d21d0de'
    """
    algorithm, expected = _parse(checksum)
    return f"{algorithm.upper()} {expected}"


def file_digest(path: Path, algorithm: str) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def check(path: Path, checksum: str) -> None:
    """Raise ``KdbenchError`` unless a file has this checksum, "md5:<hex>" or "sha256:<hex>"."""
    algorithm, expected = _parse(checksum)
    try:
        _verify(path, algorithm, expected)
    except _ChecksumMismatch as mismatch:
        raise KdbenchError(f"'{path}' is damaged or not whole: {mismatch}", "delete it and fetch it again") from None


def _download_verified(url: str, part: Path, algorithm: str, expected: str, progress: bool, largest: int) -> None:
    resumed = part.is_file()
    _download(url, part, progress, largest)
    try:
        _verify(part, algorithm, expected)
    except _ChecksumMismatch:
        if not resumed:
            raise
        # The piece that was here may have been of another file; that is not the server's fault.
        part.unlink()
        _download(url, part, progress, largest)
        _verify(part, algorithm, expected)


def _verify(path: Path, algorithm: str, expected: str) -> None:
    found = file_digest(path, algorithm)
    if found != expected:
        raise _ChecksumMismatch(f"{algorithm} is {found}, expected {expected}")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _download(url: str, part: Path, progress: bool, largest: int) -> None:
    """Append to ``part`` what is still missing of ``url``; OSError when the connection fails or breaks off."""
    have = part.stat().st_size if part.is_file() else 0
    try:
        response = _open(url, have)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or have == 0:
            raise
        # Nothing lies beyond what is here: either it is whole already, or it is not a piece of this file.
        if _is_whole(error, have):
            return
        have = 0
        response = _open(url, have)
    with response:
        if have and not _continues(response, have):
            have = 0  # a server without Range sends everything again
        length = str(response.headers.get("Content-Length") or "")
        total = have + int(length) if re.fullmatch("[0-9]{1,18}", length) else None
        _check_size(total or 0, largest)
        with part.open("ab" if have else "wb") as file, bar(f"download {part.stem}", shown=progress) as update:
            while block := response.read(BLOCK):
                file.write(block)
                have += len(block)
                update(have / total if total else 0.0, _megabytes(have, total))
                _check_size(have, largest)
    # read() with a size returns what came when the connection breaks, without complaint.
    if total is not None and have < total:
        raise ConnectionError(f"the connection broke off at {have} of {total} bytes; what came is kept")


def _check_size(size: int, largest: int) -> None:
    if size > largest:
        raise OSError(f"it has {size:,} bytes or more, expected {largest:,} at most")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A secure address leads to secure ones alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https://") and not newurl.startswith("https://"):
            raise urllib.error.URLError(f"it leads on to {newurl[:200]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, offset: int) -> Any:
    headers = {"User-Agent": USER_AGENT}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    return urllib.request.build_opener(_Redirects).open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)


def _continues(response: Any, offset: int) -> bool:
    content_range = str(response.headers.get("Content-Range", ""))
    return response.status == 206 and content_range.startswith(f"bytes {offset}-")


def _is_whole(error: urllib.error.HTTPError, have: int) -> bool:
    return bool(error.headers.get("Content-Range", "") == f"bytes */{have}")


def _megabytes(have: int, total: int | None) -> str:
    return f"{have / 1e6:.1f} MB" if total is None else f"{have / 1e6:.1f} of {total / 1e6:.1f} MB"


def extract(archive: Path, target: Path) -> Path:
    """Unpack a tar archive so that ``target`` is its content: all of it or nothing.

    An archive with a single top folder gives that folder, one without gives its files. Members that point outside,
    devices and the like are refused (the "data" filter of PEP 706).

    Returns:
        ``target``.

    Raises:
        KdbenchError: the archive is damaged or unsafe, ``target`` exists, or it can't be written.
    """
    if target.exists():
        raise KdbenchError(f"'{target}' exists already", "move it away to unpack again")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = new_folder(target.parent, f".{target.name}-")
    except OSError as error:
        raise KdbenchError(f"can't unpack into '{target.parent}': {error.strerror}") from error
    try:
        with tarfile.open(archive, "r:*") as tar:
            tar.extractall(temp, filter="data")
        entries = list(temp.iterdir())
        content = entries[0] if len(entries) == 1 and entries[0].is_dir() else temp
        os.replace(content, target)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise KdbenchError(f"'{archive}' can't be unpacked: {error}", "delete it and fetch it again") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return target
