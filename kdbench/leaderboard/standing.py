"""How far a row's numbers were trained again by others, in words: nobody can see in a record what a plugin's code did.

A plugin is code that runs where the clean labels and the test images are. So what a third party's method reached is
"reported" until somebody who installed it trained a record of it again and got the same. The methods of this project
are read and tested by whoever changes it, so their rows say whose method they are until then: that is said of the
code, not of who computed the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kdbench.leaderboard.staleness import computation
from kdbench.plugin.loader import GROUP, load_plugins
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record
from kdbench.results.untrusted import plain

OURS: Final = "this project's method"
REPORTED: Final = "reported"
MOST_NAMED: Final = 3
NAME_LENGTH: Final = 40


def standing(runs: Sequence[Evidence]) -> str:
    """Of the records of a row: ``OURS``, ``REPORTED``, "reproduced by ... (seed 0)"; and who did not get the same.

    "" of a model from elsewhere, which has no training to repeat.
    """
    if not runs or any(run.record.evaluated is not None for run in runs):
        return ""
    agreed, refuted = (_by(runs, agreed=agreed) for agreed in (True, False))
    known = OURS if all(is_ours(run.record) for run in runs) else REPORTED
    said = [f"reproduced by {agreed}" if agreed else known]
    return "; ".join([*said, *([f"not reproduced by {refuted}"] if refuted else [])])


def is_ours(record: Record) -> bool:
    """Whether kdbench's own distribution brings the record's method, and it computes what it computed then."""
    methods = load_plugins().methods
    found = methods.find(record.spec.method)
    if found is None or methods.origin(found.name).partition(" ")[0] != GROUP:
        return False
    return found.source == record.spec.method_source or computation(record, found).verdict != "other"


def _by(runs: Sequence[Evidence], *, agreed: bool) -> str:
    """Who found so, and of which seeds where it was not all; "" for nobody."""
    found = [(run, one) for run in runs for one in run.attestations if one.agreed is agreed]
    if not found:
        return ""
    names = list(dict.fromkeys(plain(one.by, NAME_LENGTH) for _, one in found))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    every, these = ({run.record.spec.seed for run in group} for group in (runs, [run for run, _ in found]))
    seeds = f" (seed {', '.join(map(str, sorted(these)))})" if these != every else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}{seeds}"
