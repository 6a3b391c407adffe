"""A worker does one node of a study by its key, in a process of its own: ``python -m kdbench.studies.worker``."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.studies.folder import StudyFolder


def work(folder: StudyFolder, key: str, **options: Any) -> str:
    """Do one node. What failed is kept in the folder, and is the answer: its error in one line, else "".

    ``options``: as for ``RunOptions.make``. An interruption goes through: the node stays open.
    """
    from kdbench.running.provenance import utc_now

    folder.forget_failure(key)
    try:
        error = _node(folder, key, options)
    except KdbenchError as mistake:
        error = str(mistake)
    except (Exception, SystemExit) as failure:  # a method may be anybody's: its fault ends its node alone
        traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}"
    if error:
        folder.failed(key, error, utc_now())
    return error


def _node(folder: StudyFolder, key: str, options: dict[str, Any]) -> str:
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.options import RunOptions
    from kdbench.running.plan import Plan
    from kdbench.running.runner import run_plan

    whole = folder.plan()
    study, node = whole.study, whole.node(key)
    plan = Plan.make(
        whole.suite, load_plugins(), node.method, node.params, study.conditions, study.tasks, study.attacks or None
    )
    place = RunOptions.make(out=folder.out, compile=study.compile, **options)
    if node.kind == "run":
        again = (folder.out / node.path).exists()  # a failed one: finished ones are never started
        record = run_plan(plan, node.seed, place, fresh=again)
        error = record.error or ""
        return error or _same(key, f"run-{record.run_id}")
    return _train(plan, node, place)


def _train(plan: Any, node: Any, place: Any) -> str:
    from kdbench.running.graph import RunGraph
    from kdbench.running.suite_data import load_suite_data, needed_data
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
    """``worker OUT STUDY KEY DATA_DIR DEVICE``; an empty data folder is none. Exit status 0, or 1 for a failed node."""
    import torch

    out, name, key, data_dir, device, threads = arguments
    torch.set_num_threads(int(threads))
    options = {"data_dir": data_dir or None, "device": device, "download": False, "progress": False}
    error = work(StudyFolder(Path(out), name), key, **options)
    if error:
        print(f"error: {error}", file=sys.stderr)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
