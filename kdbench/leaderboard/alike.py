"""Whether two records are of one method: the same source, parameters, recipes and checkpoint rule."""

from __future__ import annotations

from kdbench.results.record import Record
from kdbench.results.untrusted import plain


def why_not_alike(theirs: Record, ours: Record) -> str:
    """Why a record is not of the same method as the one that is ranked (``ours``), "" if it is."""
    mine, spec = ours.spec, theirs.spec
    if mine.method_source != spec.method_source:
        return f"another source of method {plain(spec.method)} than the one that is ranked"
    for condition in mine.params.keys() & spec.params.keys():
        if mine.params[condition] != spec.params[condition]:
            return f"other resolved parameters under condition {plain(condition)} than the ones that are ranked"
        if mine.recipes.get(condition) != spec.recipes.get(condition):
            return f"another training recipe under condition {plain(condition)} than the one that is ranked"
    if ours.checkpoint_rule != theirs.checkpoint_rule:
        return f"checkpoint rule {theirs.checkpoint_rule}; here it is {ours.checkpoint_rule}"
    return ""
