"""What is generated is what is committed."""

from __future__ import annotations

from pathlib import Path

from tools import update

ROOT = Path(__file__).parents[2]


def test_everything_that_is_generated_is_committed_as_it_is(tmp_path: Path) -> None:
    for folder in ("docs", "leaderboards"):
        (tmp_path / folder).mkdir()
    update.update(tmp_path)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert {str(path) for path in written} == {
        "README.md", "docs/benchmarks.md", "docs/claims.md", "docs/methods.md", "docs/reliability.md",
        "docs/results.md", "docs/suites.md", "leaderboards/index.json", "leaderboards/schema.json",
    }  # fmt: skip
    stale = [str(path) for path in written if (tmp_path / path).read_bytes() != (ROOT / path).read_bytes()]
    assert not stale, f"python -m tools.update writes other {', '.join(stale)}"
