"""Measure every method that comes with kdbench: what it learns from noisy labels, and what a step of it costs.

python -m tools.measure_methods --out runs

Learning: suite digits, 40 % symmetric noise, by default seeds 0 to 2, all methods at the first seed before the next.
Cost: seconds of an optimiser step against cross-entropy's, both timed in turn by one process. Each result is filed in
tools/data/methods.json as soon as it is there, and what is filed is not measured again without --again: an interrupted
measurement goes on with what is missing. `python -m tools.update` then shows the results in docs/methods.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdbench import KdbenchError, run
from kdbench.data import DataPlace, Dataset, make_image_set
from kdbench.devices import resolve_device
from kdbench.files import write_atomically
from kdbench.plugin.loader import load_plugins
from kdbench.results.evidence import Predictions
from kdbench.results.record import Record
from kdbench.running import provenance
from kdbench.running.graph import RunGraph
from kdbench.running.options import RunOptions
from kdbench.running.runner import record_path
from kdbench.specs import Condition, LabelNoise, Recipe, Suite
from kdbench.suites import load_suite
from kdbench.training.log import read_log
from kdbench.training.loop import TrainingDivergedError

RESULTS = Path(__file__).parent / "data/methods.json"
SUITE, CONDITION, TASK = "digits", "sym-40", "noisy_label"
REFERENCE = "ce"
ROUNDS = 5
COST_RECIPE = Recipe(epochs=4, batch_size=128, lr=0.05, momentum=0.9, weight_decay=5e-4, augmentation="crop-flip")
COST_IMAGES = COST_RECIPE.batch_size
"""One step an epoch, so that what a method does once an epoch has the weight that it has in use, for each image."""


def first_party() -> list[str]:
    """The registered methods of this distribution, cross-entropy first."""
    methods = load_plugins().methods
    names = [name for name in methods.names() if methods.origin(name).startswith("kdbench ")]
    return sorted(names, key=lambda name: (name != REFERENCE, name))


def filed(path: Path, section: str, method: str) -> dict[str, Any]:
    """What is there of a method in a section, {} for nothing."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, Any] = kept.get(section, {}).get(method, {})
    return found


def file_result(path: Path, section: str, method: str, row: Mapping[str, Any]) -> None:
    """Add rows to one method's of a section; what was measured before stays unless it is measured again."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept.setdefault(section, {}).setdefault(method, {}).update(row)
    write_atomically(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


def learn(method: str, seed: int, out: Path, device: str) -> dict[str, Any]:
    """One run, in short: last and best epoch, per-example results, and where it comes from."""
    try:
        record = run(SUITE, method, seed=seed, conditions=[CONDITION], tasks=[TASK], out=out, device=device)
    except KdbenchError as error:  # of one method: the others are measured all the same
        return {"status": "failed", "error": str(error)}
    return summary(record, record_path(record, out).parent)


def summary(record: Record, folder: Path) -> dict[str, Any]:
    """What tools/data/methods.json keeps of a run."""
    made = record.provenance
    row: dict[str, Any] = {
        "status": record.status, "run_id": record.run_id, "budget": record.budget,
        "commit": made.kdbench_commit, "dirty": made.kdbench_dirty, "torch": made.torch,
        "device_name": made.device_name, "threads": made.threads,
    }  # fmt: skip
    if record.status == "failed":
        return row | {"error": record.error}
    accuracies = [entry["test_accuracy"] for entry in read_log(folder) if entry["condition"] == CONDITION]
    correct = Predictions.of(folder / "record.json", record)[f"{CONDITION}/{TASK}/correct"]
    return row | {
        "accuracy": float(correct.mean()),
        "correct": np.packbits(correct).tobytes().hex(),
        "n": len(correct),
        "epochs": len(accuracies),
        "peak": max(accuracies),
        "peak_epoch": 1 + int(np.argmax(accuracies)),
        "seconds": record.hashes.students[CONDITION].seconds,
    }


def cost_graph(folder: Path, device: torch.device) -> RunGraph:
    """Trainings on random images of CIFAR's size: what a step costs does not depend on what is learnt."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (COST_IMAGES, 3, 32, 32), generator=generator).to(torch.uint8)
    labels = torch.randint(10, (COST_IMAGES,), generator=generator)
    names = tuple("0123456789")
    train = make_image_set("random/train", pixels, labels, names)
    few = make_image_set("random/test", pixels[:10], torch.arange(10), names)  # watched after each epoch, untimed
    condition = Condition(noise=LabelNoise(kind="symmetric", rate=0.4), recipe=COST_RECIPE)
    own = {"name": "cost", "flip": True, "conditions": {CONDITION: condition}, "tasks": {}}
    suite = Suite.model_validate(load_suite(SUITE).model_dump() | own)
    options = RunOptions(DataPlace.default(), device, folder)
    return RunGraph(suite, Dataset(suite.dataset, names, 32, train, few), load_plugins(), options)


def seconds_per_step(graph: RunGraph, method: str) -> float:
    """Mean over a short training, without its first epoch: that is a method's warm-up, and the process's.

    The networks that the method needs are trained before and not timed.
    """
    trained = graph.ensure(graph.student(CONDITION, method, {}, 0), CONDITION, method, fresh=True)
    return statistics.fmean(entry["seconds"] for entry in read_log(trained.folder)[1:])


def cost(graph: RunGraph, method: str) -> dict[str, Any]:
    """A method's step against cross-entropy's: median, lowest and highest ratio over rounds."""
    plain, own = [], []
    for _ in range(ROUNDS):
        plain.append(seconds_per_step(graph, REFERENCE))
        own.append(seconds_per_step(graph, method))
    ratios = [mine / reference for mine, reference in zip(own, plain, strict=True)]
    commit, dirty = provenance.commit()
    return {
        "ratio": round(statistics.median(ratios), 3), "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3), "rounds": ROUNDS,
        "seconds": round(statistics.median(own), 5), "reference_seconds": round(statistics.median(plain), 5),
        "batch_size": COST_RECIPE.batch_size, "student": graph.suite.student,
        "teacher": graph.suite.network("teacher").model, "torch": torch.__version__, "commit": commit, "dirty": dirty,
        "device_name": provenance.device_name(graph.device), "threads": torch.get_num_threads(),
    }  # fmt: skip


def measure_costs(methods: Sequence[str], results: Path, device: torch.device) -> None:
    """File the cost of each method's step."""
    with tempfile.TemporaryDirectory() as folder:
        graph = cost_graph(Path(folder), device)
        seconds_per_step(graph, REFERENCE)  # a process's first training is slow
        for method in methods:
            try:
                row = cost(graph, method)
            except TrainingDivergedError as error:
                print(f"cost of {method}: {error}", flush=True)
                continue
            file_result(results, "cost", method, row)
            print(f"cost of {method}: {row['ratio']} ({row['lowest']}-{row['highest']})", flush=True)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where runs are kept and found again")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=["learning", "cost"])
    parser.add_argument("--methods", nargs="+", default=first_party(), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--again", action="store_true", help="measure what is filed already, too")
    asked = parser.parse_args()
    if asked.only != "cost":
        for seed, method in itertools.product(asked.seeds, asked.methods):
            if asked.again or str(seed) not in filed(asked.results, "learning", method):
                row = learn(method, seed, asked.out, asked.device)
                file_result(asked.results, "learning", method, {str(seed): row})
                print(f"{method}, seed {seed}: {row.get('accuracy', row.get('error'))}", flush=True)
    if asked.only != "learning":
        missing = [name for name in asked.methods if asked.again or not filed(asked.results, "cost", name)]
        measure_costs(missing, asked.results, resolve_device(asked.device))


if __name__ == "__main__":
    main()
