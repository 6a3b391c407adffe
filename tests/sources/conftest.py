"""Local servers in the place of the internet: plain files, and a hub."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Web:
    """A folder that is served, and what was asked for."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)


class _Files(http.server.SimpleHTTPRequestHandler):
    web: Web

    def do_GET(self) -> None:
        self.web.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Nothing on standard error."""


class _Hub(_Files):
    """``/USER/REPO/resolve/REVISION/FILE`` as the Hugging Face hub answers it, for one commit with branch main."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        if "/resolve/" in self.path:  # the library asks for other things too
            self.web.asked.append(self.path)
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        file = self.web.folder / repository / name
        problem = None
        if not (self.web.folder / repository).is_dir() or not rest:
            problem = "RepoNotFound"
        elif revision not in ("main", COMMIT):
            problem = "RevisionNotFound"
        elif not file.is_file():
            problem = "EntryNotFound"
        content = b"" if problem else file.read_bytes()
        self.send_response(404 if problem else 200)
        if problem:
            self.send_header("X-Error-Code", problem)
        else:
            self.send_header("ETag", f'"{name}-{len(content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _served(web: Web, handler: type[_Files]) -> Iterator[Web]:
    bound = type("Bound", (handler,), {"web": web})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(bound, directory=str(web.folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        web.url = f"http://127.0.0.1:{server.server_port}"
        yield web
        server.shutdown()
        thread.join()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A file server."""
    (tmp_path / "web").mkdir()
    yield from _served(Web(tmp_path / "web"), _Files)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A hub with an empty cache: ``folder / USER / REPO`` has the files of its one commit."""
    constants = pytest.importorskip("huggingface_hub.constants")
    (tmp_path / "hub").mkdir()
    for served in _served(Web(tmp_path / "hub"), _Hub):
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True, raising=False)
        yield served
