"""What a release must consist of before it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.try_release import archives


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
