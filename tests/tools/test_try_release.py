"""What a release must consist of before it is tried."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tools.build_hook import TARGET
from tools.try_release import COMMIT, archives, require_commit


def test_a_release_is_one_wheel_and_one_sdist(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds nothing"):
        archives(tmp_path)
    wheel, sdist = tmp_path / "kdbench-0.1.0-py3-none-any.whl", tmp_path / "kdbench-0.1.0.tar.gz"
    wheel.touch()
    with pytest.raises(SystemExit, match="one wheel and one sdist"):
        archives(tmp_path)
    sdist.touch()
    assert archives(tmp_path) == [wheel, sdist]
    (tmp_path / "kdbench-0.0.9.tar.gz").touch()
    with pytest.raises(SystemExit, match=r"kdbench-0\.0\.9"):
        archives(tmp_path)


@pytest.mark.parametrize("built", [None, {"commit": "a" * 40, "dirty": True}, {"commit": "a" * 40, "dirty": False}])
def test_a_release_is_what_was_committed(tmp_path: Path, built: dict[str, object] | None) -> None:
    assert COMMIT == TARGET
    wheel = tmp_path / "kdbench-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("kdbench/__init__.py", "")
        if built is not None:
            files.writestr(COMMIT, json.dumps(built))
    if built is not None and not built["dirty"]:
        assert require_commit(wheel) == "a" * 40
    else:
        with pytest.raises(SystemExit, match="with changes, .* commit them and build again"):
            require_commit(wheel)
