"""docs/results.md: the tables and figures of the papers, and what leaderboards/reproductions found of each."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from kdbench.plugin.loader import load_plugins
from kdbench.reproducing import read_reproduction
from kdbench.reproducing.outcome import FILE, Outcome, read_outcome
from kdbench.reproducing.reproduction import SCALES, Reproduction
from kdbench.reproducing.writing import PAIR_HEADS, number_heads, number_rows, pair_rows
from tools.markdown import cell, prose, table
from tools.readme import ROOT

FOUND = ROOT / "leaderboards/reproductions"
REASONS = Path(__file__).with_name("data") / "reasons.toml"
"""Id and scale to what we think is behind what came out."""
INTRODUCTION = """Every table and figure with numbers of the four papers is data that `kdbench reproduce ID` runs
(reproduce.md). Here is what came out, at which scale. Only scale `full` is the papers' experiment, and only its numbers
are set beside theirs. The others are other experiments, judged on direction and order: of each pair of numbers whose
published difference is beyond its tolerance, whether the measured difference goes the same way. `smoke` is
scikit-learn's digits in minutes: it shows that a table comes out of one command, and next to nothing of CIFAR-10. What
came out against a paper stands here like what came out for it."""


def results_page(folder: Path = FOUND) -> str:
    """The whole page."""
    plugins = load_plugins()
    found = outcomes(folder)
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else {}
    every = [read_reproduction(plugins.reproductions.get(name)) for name in sorted(plugins.reproductions)]
    rows = [row(one, found.get(one.id, [])) for one in every]
    measured = [one for reproduction in every for one in found.get(reproduction.id, [])]
    sections = [section(one, reasons.get(one.id, {}).get(one.scale, "")) for one in measured]
    return f"""# What reproduced, and what did not

{prose(INTRODUCTION)}

{len(every)} tables and figures; measured: {counts(measured)}.

{table(["id", "what it is", "scales", "measured", "what came out"], rows)}

{chr(10).join(sections)}
Written by `python -m tools.update` from leaderboards/reproductions, which `kdbench reproduce` writes.
"""


def outcomes(folder: Path) -> dict[str, list[Outcome]]:
    """What was measured, by id; of each the largest scale first."""
    found: dict[str, list[Outcome]] = {}
    for path in sorted(folder.rglob(FILE)):
        one = read_outcome(path)
        found.setdefault(one.id, []).append(one)
    return {name: sorted(some, key=lambda one: SCALES.index(one.scale)) for name, some in found.items()}


def counts(measured: Sequence[Outcome]) -> str:
    """How many at each scale."""
    by_scale = {scale: sum(one.scale == scale for one in measured) for scale in SCALES}
    return ", ".join(f"{count} at `{scale}`" for scale, count in by_scale.items() if count) or "none yet"


def row(one: Reproduction, found: Sequence[Outcome]) -> list[str]:
    """A line of the table of all."""
    scales = ", ".join(scale for scale in SCALES if scale in one.scales)
    link = f"[`{one.id}`](#{anchor(found[0])})" if found else f"`{one.id}`"
    came = "; ".join(found[0].summary()[-1:]) if found else ""
    return [link, cell(one.title), scales, ", ".join(each.scale for each in found), cell(came)]


def anchor(one: Outcome) -> str:
    """Of its section, as GitHub makes it of the heading."""
    return heading(one).lower().replace("/", "").replace(" ", "-")


def heading(one: Outcome) -> str:
    """Of its section."""
    return f"{one.id} {one.scale}"


def section(one: Outcome, reason: str) -> str:
    """One outcome: its numbers, its pairs, what is known, what we think."""
    suites = ", ".join(f"{used.label} (version {used.version})" for used in one.suites)
    made = f"Suite {suites}, seeds {', '.join(map(str, one.seeds))}, {'; '.join(one.hardware)}"
    parts = [
        f"## {heading(one)}", prose(f"{one.title}. {one.paper}"),
        "\n".join(f"- {line}" for line in [*one.summary(), *one.known, f"{made}, kdbench {commit(one)}"]),
    ]  # fmt: skip
    if reason:
        parts.append(prose(f"**What we think:** {reason}"))
    parts.append(markdown(number_heads(one), number_rows(one)))
    if one.pairs:
        parts.append(markdown(PAIR_HEADS, pair_rows(one)))
    return "\n\n".join(parts) + "\n"


def commit(one: Outcome) -> str:
    """What measured it."""
    return (one.provenance.kdbench_commit or one.provenance.kdbench_version)[:12]


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose texts stay in their cells."""
    return table(heads, [[cell(text) for text in one] for one in rows])
