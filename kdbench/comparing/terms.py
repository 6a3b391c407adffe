"""On what terms those that are compared were trained and measured, and where these are unequal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from kdbench.comparing.contestants import Contestant
from kdbench.results.record import Record
from kdbench.results.wording import words
from kdbench.specs import Recipe


def unequal(contestants: Sequence[Contestant], conditions: Collection[str]) -> list[str]:
    """A line for each of their terms in which not all are alike: who has what.

    Args:
        conditions: those whose scores are compared; the training of others does not matter.
    """
    terms = {one.title: _terms([run.record for run in one.finished], conditions) for one in contestants}
    lines = []
    for name in dict.fromkeys(name for own in terms.values() for name in own):
        by_value: dict[str, list[str]] = {}
        for title, own in terms.items():
            if name in own:
                by_value.setdefault(own[name], []).append(title)
        if len(by_value) > 1:
            said = "; ".join(f"{value} ({', '.join(titles)})" for value, titles in by_value.items())
            lines.append(f"unequal {name}: {said}")
    return lines


def _terms(records: Sequence[Record], conditions: Collection[str]) -> dict[str, str]:
    """Name of a term to its value, of all seeds; a term that does not hold for a model from elsewhere is not there."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, value in _of_record(record, conditions):
            found.setdefault(name, {})[value] = None
    return {name: " or ".join(values) for name, values in found.items()}


def _of_record(record: Record, conditions: Collection[str]) -> Iterator[tuple[str, str]]:
    spec = record.spec
    yield "origin", "trained here" if record.evaluated is None else "evaluated, not trained here"
    yield "test images", "all" if spec.examples is None else f"a part of {spec.examples:,}"
    yield "checkpoint rule", record.checkpoint_rule
    if record.evaluated is not None:
        return
    yield f"source of {spec.method}", spec.method_source[:12]
    yield "budget", record.budget
    yield "device of training", record.provenance.device
    own = [name for name in spec.recipes if name in conditions]
    if any(name in record.views for name in own):
        yield "view", _by_condition({name: record.views[name] for name in own if name in record.views})
    for key in Recipe.model_fields if own else ():
        yield key.replace("_", " "), _by_condition({name: words(getattr(spec.recipes[name], key)) for name in own})


def _by_condition(values: Mapping[str, str]) -> str:
    """One value for all conditions alone, else each with its own.

    >>> _by_condition({"clean": "30", "sym-40": "30"}), _by_condition({"clean": "30", "sym-40": "60"})
    ('30', '30 under clean, 60 under sym-40')
    """
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{value} under {name}" for name, value in values.items())
