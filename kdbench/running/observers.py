"""Observers of records, of whatever plugin, are told of each that is written; none costs anyone a record."""

from __future__ import annotations

import warnings
from pathlib import Path

from kdbench.plugin.loader import Plugins
from kdbench.results.record import Record
from kdbench.running.isolated.state import Process


def tell_observers(plugins: Plugins, record: Record, path: Path) -> None:
    """Say that ``record`` is on disk, here or where all plugins are loaded; a warning for each observer that raises."""
    if Process.records is not None:
        Process.records.append(path)
        return
    for failure in plugins.record_written(record, path):
        warnings.warn(f"observer {failure.plugin} of {failure.origin} failed: {failure.error}", stacklevel=3)
