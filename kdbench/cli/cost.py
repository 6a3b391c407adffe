"""``kdbench run --dry-run``: what runs would cost, before they start."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdbench.cli.beside import published_folder

if TYPE_CHECKING:
    from kdbench.running.answers import Asked
    from kdbench.running.options import RunOptions
    from kdbench.running.plan import Plan
    from kdbench.studies.cost import Cost, Network, Times


def would_run(asked: Sequence[Asked], plans: Mapping[str, Plan], options: RunOptions, *, fresh: bool) -> str:
    """Everything is checked as before a run; then what would be done, and how long it would take, as text."""
    found, times = _costs(asked, plans, options, fresh=fresh)
    return "\n\n".join([*map(_one, found), _sum(found, times)])


def would_run_json(asked: Sequence[Asked], plans: Mapping[str, Plan], options: RunOptions, *, fresh: bool) -> str:
    """The same as JSON; seconds that no record says are null."""
    found, times = _costs(asked, plans, options, fresh=fresh)
    runs = [dataclasses.asdict(cost) | {"seconds": _total(cost)} for cost in found]
    return json.dumps({"runs": runs, "records": times.sources()})


def _costs(
    asked: Sequence[Asked], plans: Mapping[str, Plan], options: RunOptions, *, fresh: bool
) -> tuple[list[Cost], Times]:
    from kdbench.progress import say
    from kdbench.running.dry_run import try_plan
    from kdbench.running.evaluation import check_tasks
    from kdbench.running.graph import RunGraph
    from kdbench.running.suite_data import load_suite_data, needed_data
    from kdbench.studies.cost import Times, costs

    suite, plugins = plans[asked[0].method].suite, plans[asked[0].method].plugins
    tasks = {name: task for plan in plans.values() for name, task in plan.tasks.items()}
    data = load_suite_data(suite, plugins, options.place, **needed_data(tasks.values()))
    check_tasks(tasks, data.dataset.facts)
    for plan in plans.values():
        say(plan.notes())
        try_plan(plan, RunGraph(suite, data.dataset, plugins, options), asked[0].seed)
    times = Times(suite, options.out, published_folder())
    return costs([(plans[one.method], one.seed) for one in asked], data, options, times, fresh=fresh), times


def _one(cost: Cost) -> str:
    from kdbench.cli.listing import listing

    title = f"run {cost.run_id}: {cost.method}, seed {cost.seed}"
    if cost.state == "finished":
        return f"{title}: it is there already, and nothing is done"
    rows = [(one.name, _standing(one), _time(one.seconds)) for one in cost.networks]
    rows += [(f"{one.condition}: measure {one.task}", "open", _time(one.seconds)) for one in cost.measurements]
    return f"{title}\n{listing(rows, ('what', 'how it stands', 'time'), right=2)}"


def _standing(network: Network) -> str:
    if network.done == network.epochs:
        return "there"
    return f"{network.epochs} epochs" if not network.done else f"epoch {network.done} of {network.epochs} is there"


def _time(seconds: float | None) -> str:
    from kdbench.progress import in_words

    return "?" if seconds is None else "" if seconds == 0 else in_words(seconds)


def _total(cost: Cost) -> float | None:
    """Seconds, None where a piece of it is not known."""
    known = [one.seconds for one in cost.pieces if one.seconds is not None]
    return sum(known) if len(known) == len(cost.pieces) else None


def _sum(found: Sequence[Cost], times: Times) -> str:
    from kdbench.progress import in_words

    pieces: list[Any] = [one for cost in found for one in cost.pieces]
    if not pieces:
        return "nothing is left to do"
    networks = sum(one in cost.networks for cost in found for one in cost.pieces)
    known = [one.seconds for one in pieces if one.seconds is not None]
    parts = [f"left: {networks} networks to train, {len(pieces) - networks} measurements"]
    if known:
        parts.append(f"about {in_words(sum(known))} by {' and '.join(times.sources())}")
    unknown = len(pieces) - len(known)
    if unknown:
        parts.append(f"how long {f'{unknown} of these' if known else 'they'} will take no earlier record says")
    return "; ".join(parts)
