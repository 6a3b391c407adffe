from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.campaign.material import MB, some_files
from tools.campaign import parts


@pytest.fixture
def three_parts(tmp_path: Path) -> Path:
    """Files of 2, 2, 1, 2 and 1 MB in parts of 4 MB."""
    files = some_files(tmp_path / "files", 2 * MB, 2 * MB, MB, 2 * MB, MB // 2)
    parts.write_parts(files, tmp_path / "parts", 5 * MB, {"commit": "c"})
    return tmp_path / "parts"
