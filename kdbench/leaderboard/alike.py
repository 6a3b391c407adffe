"""Whether two records are of one method: the same source or computation, parameters, recipes and checkpoint rule."""

from __future__ import annotations

from kdbench.results.record import Record
from kdbench.results.untrusted import plain
from kdbench.running.fingerprint import alike


def why_not_alike(theirs: Record, ours: Record) -> str:
    """Why a record is not of the same method as the one that is ranked (``ours``), "" if it is."""
    mine, spec = ours.spec, theirs.spec
    if mine.method_source != spec.method_source and not _same_computation(theirs, ours):
        return f"another source of method {plain(spec.method)} than the one that is ranked"
    for condition in mine.params.keys() & spec.params.keys():
        if mine.params[condition] != spec.params[condition]:
            return f"other resolved parameters under condition {plain(condition)} than the ones that are ranked"
        if mine.recipes.get(condition) != spec.recipes.get(condition):
            return f"another training recipe under condition {plain(condition)} than the one that is ranked"
    if ours.checkpoint_rule != theirs.checkpoint_rule:
        return f"checkpoint rule {theirs.checkpoint_rule}; here it is {ours.checkpoint_rule}"
    return ""


def _same_computation(one: Record, other: Record) -> bool:
    """Whether two sources of a method compute the same by the records' fingerprints, under every condition of both."""
    mine, theirs = one.fingerprint, other.fingerprint
    if mine is None or theirs is None or mine.version != theirs.version or not alike(mine.control, theirs.control):
        return False
    both = mine.losses.keys() & theirs.losses.keys()
    return bool(both) and all(alike(mine.losses[name], theirs.losses[name]) for name in both)
