"""A run in a process of its own: asked for, and buried where that process died."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError
from kdbench.running.isolated.client import NodeDiedError, ask
from kdbench.running.isolated.needed import of_run
from kdbench.running.isolated.node import options_as_values
from kdbench.running.isolated.state import Process, possible

if TYPE_CHECKING:
    from kdbench.running.options import RunOptions
    from kdbench.running.plan import Plan

GRACE_MINUTES = 1.0
"""What a run that has a limit may take beyond it, and beyond what each of its trackers may, to write its failed
record."""


def plugins_apart(plan: Plan, track: Sequence[str]) -> list[str] | None:
    """The distributions that a run's own process loads; None where it is done in this one: there is no plugin of a
    third party, this process was made for the run, or something of it comes from no installed distribution."""
    others = plan.plugins.others()
    if not others or not possible():
        return None
    needed = of_run(plan, track)
    return None if needed is None or (Process.node and others <= set(needed)) else needed


def run_apart(
    plan: Plan, seed: int, options: RunOptions, *, fresh: bool, track: Sequence[str], plugins: list[str]
) -> tuple[Path, bool]:
    """The record of a run, and whether it was there already. Raises as the run does.

    A process that dies leaves a failed record, like a method that raises: the same command goes on. Where it dies of
    its data there is no specification to record, and ``KdbenchError`` says so.
    """
    job: dict[str, Any] = {
        "kind": "run",
        "node": f"{plan.method}, seed {seed}",
        "suite": plan.suite.model_dump(mode="json"),
        "method": plan.method,
        "params": plan.params_passed,
        "conditions": list(plan.params),
        "tasks": None if plan.tasks_asked is None else list(plan.tasks_asked),
        "seed": seed,
        "options": options_as_values(options),
        "fresh": fresh,
        "track": list(track),
        "died": None,
    }
    limit = None if options.timeout is None else (1 + len(track)) * options.timeout + GRACE_MINUTES
    try:
        done = ask(job, plugins, minutes=limit)
    except NodeDiedError as death:
        try:
            done = ask({**job, "track": [], "died": str(death)}, plugins, minutes=limit)
        except NodeDiedError:
            raise KdbenchError(
                f"{job['node']}: {death}, and so does one that only loads the data of suite '{plan.suite.name}'",
                "`kdbench data check` reads one data set after the other",
            ) from None
    return Path(done["path"]), done["whole"]
