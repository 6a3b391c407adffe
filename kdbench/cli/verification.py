"""What measuring a checkpoint again has shown, as lines: a summary, or every score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kdbench.cli.listing import listing
from kdbench.results.wording import name

if TYPE_CHECKING:
    from kdbench.leaderboard.agreement import Agreement
    from kdbench.leaderboard.verify import Verification


def table(agreements: Iterable[Agreement]) -> str:
    """All scores that were compared."""
    rows = [_row(one) for one in agreements if one.verdict != "unchecked"]
    return listing(rows, ("verdict", "score", "recorded", "measured", "n", "why"))


def every_line(found: Verification) -> Iterator[str]:
    """A table of all scores that were compared, each task that was not, each finding, and the counts."""
    yield table(found.agreements)
    yield from (f"not measured: {task}: {reason}" for task, reason in found.skipped.items())
    yield from (f"other than recorded: {finding}" for finding in found.findings)
    yield _counts(found)


def summary(found: Verification) -> Iterator[str]:
    """At most five lines: the first of what speaks against the record, of each kind with how many more there are; where
    the rest is; and the counts."""
    against = found.refuted
    yield from _first([f"{verdict}: {score}: {old} recorded, {new} measured, n = {n}, {why}"
                       for verdict, score, old, new, n, why in map(_row, against)], "scores")  # fmt: skip
    yield from _first([f"not measured: {task}: {reason}" for task, reason in found.skipped.items()], "tasks")
    yield from _first([f"other than recorded: {finding}" for finding in found.findings], "findings")
    compared = sum(one.verdict != "unchecked" for one in found.agreements)
    yield f"{compared} of {len(found.agreements)} scores compared; --all shows each"
    yield _counts(found)


def _first(lines: Sequence[str], what: str) -> Iterator[str]:
    if lines:
        yield lines[0] + (f" (and {len(lines) - 1} more {what})" if len(lines) > 1 else "")


def _row(one: Agreement) -> tuple[str, str, str, str, str, str]:
    measured = f"{one.measured:.4f}" if one.n else "-"
    return one.verdict, name(one.score), f"{one.recorded:.4f}", measured, str(one.n), one.basis


def _counts(found: Verification) -> str:
    counts = [f"{number} {verdict}" for verdict, number in found.counts.items()]
    return f"{found.run_id} {found.condition} on {found.device}, {found.sample}: {', '.join(counts)}"
