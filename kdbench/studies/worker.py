"""A worker does one node of a study by its key, in a process of its own: ``python -m kdbench.studies.worker``."""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.interruption import heed_lost
from kdbench.search_path import without_working_directory
from kdbench.studies.folder import StudyFolder
from kdbench.studies.process import INTERRUPTED, UNREADY


class UnreadyError(Exception):
    """What a node needs isn't done."""


def work(folder: StudyFolder, key: str, **options: Any) -> str:
    """Do one node. What failed is kept in the folder, and is the answer: its error in one line, else "".

    A node that is done already is left as it is. ``options``: as for ``RunOptions.make``.

    Raises:
        UnreadyError: what it needs isn't done. This and an interruption leave the node open.
    """
    from kdbench.running.provenance import utc_now
    from kdbench.running.time_limit import TookTooLongError

    folder.forget_failure(key)
    try:
        error = _node(folder, key, options)
    except UnreadyError:
        raise
    except KdbenchError as mistake:
        error = str(mistake)
    except (Exception, SystemExit, TookTooLongError) as failure:  # a method may be anybody's: it ends its node alone
        traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}"
    if error:
        folder.failed(key, error, utc_now())
    return error


def _node(folder: StudyFolder, key: str, options: dict[str, Any]) -> str:
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.options import RunOptions, broke_off
    from kdbench.running.runner import run_plan
    from kdbench.studies.nodes import make_plan

    whole = folder.plan()
    study, node = whole.study, whole.node(key)
    if folder.state(node) == "done":
        return ""
    for need in map(whole.node, node.needs):
        if (state := folder.state(need)) != "done":
            raise UnreadyError(f"{node.title} needs {need.title}, which is {state}")
    plan = make_plan(study, whole.suite, load_plugins(), node)
    place = RunOptions.make(out=folder.out, compile=study.compile, timeout=study.timeout, **options)
    if node.kind == "run":
        result = folder.out / node.path
        again = result.exists() and not broke_off(result.parent)  # a failed one: finished ones are never started
        record = run_plan(plan, node.seed, place, fresh=again)
        error = record.error or ""
        return error or _same(key, f"run-{record.run_id}")
    return _train(plan, node, place)


def _train(plan: Any, node: Any, place: Any) -> str:
    from kdbench.running.graph import RunGraph
    from kdbench.running.suite_data import load_suite_data, needed_data
    from kdbench.running.time_limit import time_limit
    from kdbench.training.loop import TrainingDivergedError

    data = load_suite_data(plan.suite, plan.plugins, place.place, **needed_data(plan.tasks.values()))
    graph = RunGraph(plan.suite, data.dataset, plan.plugins, place)
    plan.spec(data, graph, node.seed)
    digest = node.key.removeprefix("training-")
    try:
        spec = graph.planned(digest).training
    except KeyError:
        return _same(node.key, "none")
    try:
        with time_limit(place.timeout):
            graph.ensure(spec, node.condition, node.role)
    except TrainingDivergedError as failure:
        return str(failure)
    return ""


def _same(planned: str, found: str) -> str:
    """Something that decides the result changed between planning and work."""
    if planned == found:
        return ""
    return f"{planned} was planned with another source, data set or version than is here now: run `kdbench sweep` again"


def main(arguments: list[str]) -> int:
    """``worker OUT STUDY KEY DATA_DIR DEVICE THREADS``; an empty data folder is none.

    Exit status 0, 1 for a failed node, ``UNREADY`` for one that must wait, ``INTERRUPTED`` by SIGINT.
    """
    import torch

    out, name, key, data_dir, device, threads = arguments
    torch.set_num_threads(int(threads))
    options = {"data_dir": data_dir or None, "device": device, "download": False, "progress": True}
    try:
        error = work(StudyFolder(Path(out), name), key, **options)
    except UnreadyError as unready:
        print(f"nothing done: {unready}", file=sys.stderr)
        return UNREADY
    except KdbenchError as mistake:  # a disk that does not even take why the node failed
        error = str(mistake)
    except KeyboardInterrupt:
        print("interrupted: it goes on from the last epoch", file=sys.stderr)
        return INTERRUPTED
    if error:
        print(f"error: {error}", file=sys.stderr)
    return 1 if error else 0


if __name__ == "__main__":
    from kdbench.running.isolated.server import prepare

    without_working_directory()
    prepare()
    heed_lost()
    # What it holds is let go: another goes on at once. A shell's background job would ignore the first of them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
