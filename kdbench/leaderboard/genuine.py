"""Which records were measured on the data that their data sets stand for, all of them: no number of other records
replaces these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from kdbench.leaderboard.copies import copies
from kdbench.leaderboard.near_copies import near_copies
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Evidence, Excluded, exclude
from kdbench.results.record import Record
from kdbench.results.untrusted import plain


def split_genuine(runs: Sequence[Evidence]) -> tuple[list[Evidence], list[Excluded]]:
    """The runs on all of the very images that installed data sets of these names stand for; and the others, with those
    that have a network or an answer of another training: nobody knows which of the two is right. One that has nearly
    the answers of another is kept with a remark."""
    kept: list[Evidence] = []
    excluded: list[Excluded] = []
    copied = {id(copy.run): str(copy) for copy in copies(runs, of_methods=False)}
    near = {id(copy.run): str(copy) for copy in near_copies(runs)}
    for run in runs:
        if id(run) in copied:
            excluded.append(exclude(run, copied[id(run)]))
            continue
        if other := why_foreign(run.record):
            excluded.append(exclude(run, other))
        elif run.record.spec.examples is not None:
            excluded.append(exclude(run, f"measured on {run.record.spec.examples:,} of the test images alone"))
        elif id(run) in near:
            kept.append(dataclasses.replace(run, remarks=(*run.remarks, near[id(run)])))
        else:
            kept.append(run)
    return kept, excluded


def why_foreign(record: Record) -> str:
    """Why a record is of other images than those of its data sets' names, "" where it is not."""
    other = next(iter(foreign_data(record)), "")
    return other and f"incomplete or other images of data set {plain(other)}: not those that have this name"


def foreign_data(record: Record) -> dict[str, str]:
    """Data set to the SHA-256 that its data have, for those that a record names and has others of."""
    datasets = load_plugins().datasets
    known = {name: spec.sha256 for name in record.spec.datasets if (spec := datasets.find(name)) and spec.sha256}
    return {name: sha256 for name, sha256 in known.items() if record.spec.datasets[name] != sha256}
