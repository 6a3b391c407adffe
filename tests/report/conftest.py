from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.results.record import Record
from kdbench.running.runner import record_path, run
from tests.conftest import TINY_SUITE


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    """A real run of the tiny suite, the only one of these tests: its record and its folder."""
    folder = tmp_path_factory.mktemp("trained")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE.replace("subset = 10,", "subset = 100,"))  # of ten none may be right
    record = run(str(suite), "ce", tasks=["clean", "noisy_label", "calibration", "pgd"], out=folder / "runs")
    return record, record_path(record, folder / "runs").parent
