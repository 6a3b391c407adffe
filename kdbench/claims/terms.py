"""On what terms the sides of a comparison were measured, and where these are unequal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kdbench.methods.method import OWN_VIEW, MethodSpec
from kdbench.results.record import Record


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a method's score depends on beside the method's idea."""

    name: str
    """Of the side, in words."""
    method: str
    view: str
    """Of the training images: ``MethodSpec.view``."""
    epochs: int
    """Of the student's training."""
    measured: Mapping[str, Any]
    """Parameters that only matter when the network is measured: which of its networks that is."""

    @classmethod
    def of(cls, name: str, record: Record, condition: str, spec: MethodSpec) -> Terms:
        """Those of a run under a condition. ``spec`` is the method that ran: the same source gives the same run id."""
        params = spec.validate(record.spec.params[condition])
        measured = {key: params[key] for key in sorted(spec.measuring)}
        return cls(name, spec.name, spec.view(params), record.spec.recipes[condition].epochs, measured)


def unequal(first: Terms, second: Terms) -> list[str]:
    """What makes a comparison one of more than two methods, a line each; a claim may mean it, and its reader must know.

    Views of their own count as different unless the method is the same. Parameters for measuring are compared where
    both have them.
    """
    found = []
    strangers = first.view == second.view == OWN_VIEW and first.method != second.method
    if first.view != second.view or strangers:
        found.append(f"unequal views: {first.name} sees '{first.view}', {second.name} sees '{second.view}'")
    if first.epochs != second.epochs:
        found.append(f"unequal epochs: {first.name} has {first.epochs}, {second.name} has {second.epochs}")
    for key in sorted(first.measured.keys() & second.measured.keys()):
        ours, theirs = first.measured[key], second.measured[key]
        if ours != theirs:
            found.append(f"unequal {key}: {first.name} is measured with {ours}, {second.name} with {theirs}")
    return found
