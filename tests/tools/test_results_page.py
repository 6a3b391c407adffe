from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.plugin.loader import load_plugins
from kdbench.reproducing import read_reproduction
from kdbench.reproducing.outcome import Number, Outcome, Pair, Side, SuiteUsed, write_outcome
from kdbench.reproducing.reproduction import Scale
from kdbench.results.store import read_records
from tools import results_page

ROOT = Path(__file__).parents[2]


def outcome(scale: Scale) -> Outcome:
    run = read_records(ROOT / "leaderboards/records")[0][0]
    number = Number(
        row="KD", column="a|b", x=None, line="KD", panel="", what="clean accuracy", unit="%", published=94.28,
        tolerance=0.3, value=81.5, ci_low=80.0, ci_high=83.0, basis="test images", n=2000, seeds=[0], runs=["r"],
        suite="digits", difference=None, verdict="not comparable", why="another scale", doubts=[],
    )  # fmt: skip
    sides = Side(row="KD", column="a|b"), Side(row="CE", column="a|b")
    pair = Pair(
        first=sides[0], second=sides[1], x=None, says="", relation="higher", published=1.5, difference=-2.0,
        ci_low=-3.0, ci_high=-1.0, unit="%", paired=True, verdict="opposite",
    )  # fmt: skip
    return Outcome(
        id="arani/fig4", paper="A paper", title="A title", known=["One is a slip."], scale=scale,
        suites=[SuiteUsed(label="digits", version=3)], seeds=[0], numbers=[number], pairs=[pair],
        hardware=["a CPU, 1 thread"], provenance=run.record.provenance,
    )  # fmt: skip


def test_what_came_out_stands_there_with_its_numbers_whichever_way_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scale in ("smoke", "lite"):
        write_outcome(outcome(scale), tmp_path / "arani/fig4" / scale)
    reasons = tmp_path / "reasons.toml"
    reasons.write_text('["arani/fig4"]\nlite = "Too few epochs."\n')
    monkeypatch.setattr(results_page, "REASONS", reasons)
    text = results_page.results_page(tmp_path)
    assert "measured: 1 at `lite`, 1 at `smoke`." in text
    title = read_reproduction(load_plugins().reproductions.get("arani/fig4")).title
    assert f"| [`arani/fig4`](#aranifig4-lite) | {title} | " in text
    assert text.count("1 opposite of 1 pairs") == 1 + 2
    assert text.index("## arani/fig4 lite") < text.index("## arani/fig4 smoke")
    assert text.count("**What we think:** Too few epochs.") == 1
    assert text.count("One is a slip.") == 2
    assert r"a\|b: KD higher than CE | +1.5 | -2 | -3 to -1 | opposite" in text
    assert "| KD | a\\|b | 94.28 | 81.5" in text


def test_every_reproduction_has_a_row_also_without_a_result(tmp_path: Path) -> None:
    text = results_page.results_page(tmp_path)
    names = list(load_plugins().reproductions)
    assert f"{len(names)} tables and figures; measured: none yet." in text
    assert all(f"| `{name}` | " in text for name in names)
    assert "##" not in text


def test_reasons_are_of_results_that_are_there() -> None:
    import tomllib

    if results_page.REASONS.exists():
        found = results_page.outcomes(results_page.FOUND)
        for name, scales in tomllib.loads(results_page.REASONS.read_text()).items():
            assert set(scales) <= {one.scale for one in found[name]}
