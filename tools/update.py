"""Rewrite everything that is generated: ``python -m tools.update``.

| file | from |
| --- | --- |
| leaderboards/schema.json | the record model |
| leaderboards/index.json, README.md's table | leaderboards/records |
| docs/benchmarks.md | tools/data/benchmarks.json, leaderboards/records |
| docs/methods.md | the installed methods, tools/data/methods.json |
| docs/suites.md | the fields of suites, the installed tasks |
| docs/claims.md | the installed claims, tools/data/claims.json |
| docs/results.md | the installed reproductions, leaderboards/reproductions, tools/data/reasons.toml |
| docs/reliability.md | tools/data/faults.json |
"""

from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard import write_index, write_schema
from tools.benchmarks_page import benchmarks_page
from tools.claims_page import claims_page
from tools.methods_page import methods_page
from tools.readme import RECORDS, ROOT, readme
from tools.reliability_page import reliability_page
from tools.results_page import results_page
from tools.suites_page import suites_page

TEXTS = {
    "README.md": readme,
    "docs/benchmarks.md": benchmarks_page,
    "docs/methods.md": methods_page,
    "docs/suites.md": suites_page,
    "docs/claims.md": claims_page,
    "docs/results.md": results_page,
    "docs/reliability.md": reliability_page,
}


def update(root: Path) -> None:
    """Write all of it below a folder that has ``docs`` and ``leaderboards``."""
    write_schema(root / "leaderboards/schema.json")
    write_index(RECORDS, root / "leaderboards/index.json")
    for name, text in TEXTS.items():
        (root / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    update(ROOT)
