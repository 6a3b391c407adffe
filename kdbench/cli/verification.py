"""What measuring a checkpoint or training a record again has shown, as lines: a summary, or every score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kdbench.cli.listing import listing
from kdbench.results.wording import name

if TYPE_CHECKING:
    from kdbench.leaderboard.agreement import Agreement
    from kdbench.leaderboard.retraining import Retraining
    from kdbench.leaderboard.verify import Verification

    Again = Verification | Retraining


def every_line(found: Again) -> Iterator[str]:
    """A table of all scores that were compared, each task that was not, each finding, and the counts."""
    rows = [_row(one) for one in found.agreements if one.verdict != "unchecked"]
    yield listing(rows, ("verdict", "score", "recorded", "measured", "n", "why"))
    yield from _skipped(found)
    yield from _other(found)
    yield _counts(found)


def summary(found: Again) -> Iterator[str]:
    """At most five lines: the first of what speaks against the record, of each kind with how many more there are; where
    the rest is; and the counts."""
    against = found.refuted
    yield from _first([f"{verdict}: {score}: {old} recorded, {new} measured, n = {n}, {why}"
                       for verdict, score, old, new, n, why in map(_row, against)], "scores")  # fmt: skip
    yield from _first(_skipped(found), "tasks")
    yield from _first(_other(found), "findings")
    compared = sum(one.verdict != "unchecked" for one in found.agreements)
    yield f"{compared} of {len(found.agreements)} scores compared; --all shows each"
    yield _counts(found)


def _skipped(found: Again) -> list[str]:
    return [f"not measured: {task}: {reason}" for task, reason in found.skipped.items()]


def _other(found: Again) -> list[str]:
    return [f"other than recorded: {finding}" for finding in found.findings]


def _first(lines: Sequence[str], what: str) -> Iterator[str]:
    if lines:
        yield lines[0] + (f" (and {len(lines) - 1} more {what})" if len(lines) > 1 else "")


def _row(one: Agreement) -> tuple[str, str, str, str, str, str]:
    measured = f"{one.measured:.4f}" if one.n else "-"
    score = f"{one.score.condition}/{name(one.score)}"
    return one.verdict, score, f"{one.recorded:.4f}", measured, str(one.n), one.basis


def _counts(found: Again) -> str:
    return f"{found.done}: {', '.join(f'{number} {verdict}' for verdict, number in found.counts.items())}"
