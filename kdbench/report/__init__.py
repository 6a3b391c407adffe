"""Reports: one self-contained page and its figures for a finished run, or for several side by side."""

from __future__ import annotations

from kdbench.report.write import Report, write_report

__all__ = ["Report", "write_report"]
