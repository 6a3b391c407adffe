"""What the system refuses to write is one line, and the same command goes on when there is room."""

from __future__ import annotations

import errno
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import ALL, MOST, Do, Row, same, share

REFUSED = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large",
    errno.EROFS: "Read-only file system",
    errno.EACCES: "Permission denied",
    errno.EIO: "Input/output error",
}


@pytest.mark.parametrize("error", list(REFUSED), ids=REFUSED.values())
def test_a_disk_that_takes_no_more_is_one_line_and_nothing_is_lost(
    error: int, do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    """Of a full disk the last two are always among those tried, which clear away behind a record that is whole."""
    if not ALL and error != errno.ENOSPC:
        pytest.skip("tried by tox -e faults")
    places = range(1, whole["writes"] + 1)
    tidies, last = places[-2:]
    few = random.sample(places, min(10, MOST // 10 + 1))
    for at in few if error != errno.ENOSPC else dict.fromkeys([*share(places, 2), tidies, last]):
        out = tmp_path / str(at)
        found = do(out, at=at, error=error)
        told = found.get("mistake", "")
        cost_nothing = at == last and same(found, whole)  # an empty folder is left
        assert cost_nothing or REFUSED[error] in told or "cannot write to" in told, (at, found)
        assert "\n" not in told and "Traceback" not in found["words"], (at, found)
        found = do(out)
        row(
            f"{REFUSED[error].lower()}, from some write on", "one line, and the same command goes on",
            lost=found.get("status") != "finished" or "damaged" in found["words"], changed=not same(found, whole),
        )  # fmt: skip
        assert same(found, whole) and "damaged" not in found["words"], (at, found)
        shutil.rmtree(out)
