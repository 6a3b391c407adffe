"""Which files a method's hash covers."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.methods.source import source_hash

FILES = {
    "method_one/__init__.py": "from method_one import alone, shared_user\n",
    "method_one/alone.py": "import kdbench\nimport json\ndef loss(): ...\n",
    "method_one/shared_user.py": (
        "import kdbench\nfrom method_one.shared import SLOPE\nfrom method_two import peers\nimport stranger\n"
        "def loss(): ...\n"
    ),
    "method_one/shared.py": "from .deeper import value\nSLOPE = 1\n",
    "method_one/deeper.py": "value = 1\n",
    "method_one/unused.py": "value = 1\n",
    "method_two/__init__.py": "",
    "method_two/peers.py": "import kdbench\n",
    "stranger.py": "value = 1\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in list(sys.modules):
        if name.partition(".")[0] in ("method_one", "method_two", "stranger"):
            del sys.modules[name]


def test_a_method_of_one_file_has_the_hash_of_that_file(folder: Path) -> None:
    loss = importlib.import_module("method_one.alone").loss
    assert source_hash(loss) == hashlib.sha256((folder / "method_one/alone.py").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("method_one/shared_user.py", True),
        ("method_one/shared.py", True),
        ("method_one/deeper.py", True),
        ("method_two/peers.py", True),  # another package written for kdbench
        ("method_one/unused.py", False),
        ("method_one/alone.py", False),
        ("stranger.py", False),
    ],
)
def test_a_hash_covers_what_the_method_imports_of_its_surroundings(folder: Path, changed: str, counts: bool) -> None:
    loss = importlib.import_module("method_one.shared_user").loss
    before = source_hash(loss)
    (folder / changed).write_text((folder / changed).read_text() + "# changed\n")
    assert (source_hash(loss) != before) == counts


def test_a_network_of_kdbench_is_its_own_folder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.methods import source as sources
    from kdbench.models.wide_resnet import wide_resnet

    read: list[str] = []
    real = sources._source
    monkeypatch.setattr(sources, "_source", lambda module: read.append(module.__name__) or real(module))  # type: ignore[func-returns-value]  # append and go on
    source_hash(wide_resnet)
    assert {"kdbench.models.wide_resnet", "kdbench.models.preact_resnet"} <= set(read)
    before = source_hash(wide_resnet)
    monkeypatch.setattr(sources, "_source", lambda module: real(module) + b"#" * (module.__name__ == "kdbench.errors"))
    assert source_hash(wide_resnet) == before
    monkeypatch.setattr(
        sources, "_source", lambda module: real(module) + b"#" * (module.__name__ == "kdbench.models.preact_resnet")
    )
    assert source_hash(wide_resnet) != before


def test_what_has_no_file_is_unknown() -> None:
    made: dict[str, object] = {}
    exec("def loss(): ...", {"__name__": "nowhere"}, made)
    assert source_hash(made["loss"]) == "unknown"  # type: ignore[arg-type]  # a function, for sure
