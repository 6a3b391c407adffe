"""How long a process of its own for a run or a training takes more than none: paired, in turn, on this machine.

``python -m tools.measure_isolation [PAIRS]`` installs a small plugin in a temporary folder, and does one run of it (two
nodes: its training, its measurement) and one of kd (one node: all of it) with and without processes for nodes.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NODES = {"mine": 2, "kd": 1}
"""Method to the processes that its run takes once its teacher is there."""
PLUGIN = '''
import kdbench
from torch.nn import functional


@kdbench.method("mine")
def mine(batch, ctx):
    """Cross-entropy of a third party."""
    return functional.cross_entropy(ctx.student(batch.images), batch.labels)


@kdbench.hookimpl
def kdbench_register_methods():
    return [mine]
'''
SMALL = {
    "recipe.epochs": 1,
    "recipe.batch_size": 20,
    "conditions.clean.train_size": 60,
    "networks.teacher.model": "wrn-10-1",
}
"""Of suite `digits`: what is measured is what a process takes."""


def install(folder: Path) -> None:
    """Put the plugin on Python's path, as pip would leave it."""
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdbench]\nmine = mine_module\n")
    (folder / "mine_module.py").write_text(PLUGIN)
    sys.path.insert(0, str(folder))


def pairs(folder: Path, method: str, count: int) -> Iterator[tuple[float, float]]:
    """Seconds of a run without and with processes of its own, in turn."""
    from kdbench.running.isolated.state import SWITCH
    from kdbench.running.runner import run

    for number in range(count + 1):
        seconds = []
        for switch in ("off", ""):
            os.environ[SWITCH] = switch
            started = time.perf_counter()
            record = run(
                "digits", method, conditions=["clean"], tasks=["clean"], changes=SMALL, out=folder / f"runs{switch}",
                fresh=True,
            )  # fmt: skip
            seconds.append(time.perf_counter() - started)
            assert record.status == "finished", record.error
        if number:  # the first makes what the others find, such as the teacher
            yield seconds[0], seconds[1]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    from kdbench.plugin.loader import load_plugins
    from kdbench.results.machine import processor
    from kdbench.running.isolated.server import prepare

    count = int(arguments[0]) if arguments else 5
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        install(folder)
        prepare()
        started = time.perf_counter()
        load_plugins()
        print(f"{processor()}, {os.cpu_count()} cores; plugins loaded in {time.perf_counter() - started:.2f} s")
        for method, nodes in NODES.items():
            found = list(pairs(folder, method, count))
            more = sorted((apart - here) / nodes for here, apart in found)
            print(
                f"{method}: {statistics.median(more):.2f} s more a node (median of {count} pairs, {more[0]:.2f} to "
                f"{more[-1]:.2f}); a run takes {statistics.median(here for here, _ in found):.2f} s without"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
