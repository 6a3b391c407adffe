"""What a campaign measures itself, a step each: ``python -m tools.campaign.measure agreement|throughput|reference``.

Every result is a JSON object of rows under ``--rows``, written as it comes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from kdbench import models
from kdbench.files import write_atomically
from kdbench.inference.prediction import folded_copy, freeze
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.evaluation import TaskResult, chosen_tasks, run_task
from kdbench.running.graph import RunGraph
from kdbench.running.loading import build_network, make_method
from kdbench.running.options import RunOptions
from kdbench.running.provenance import device_name
from kdbench.running.suite_data import SuiteData, load_suite_data, needed_data
from kdbench.specs import Suite
from kdbench.suites import load_suite
from kdbench.tasks import EvaluationContext
from kdbench.training.compiling import compiler_for
from kdbench.training.log import read_log
from kdbench.training.loop import fit

NETWORK = Path(__file__).parents[2] / "tests/corruptions/wrn-10-1-cifar10.safetensors"
"""A WRN-10-1 trained on CIFAR-10: 81 % of the test images."""
CONDITION = "clean"
EXAMPLES = 500
"""Test images on which CPU and device are compared."""
SIZES = ("subset", "every_restart", "large_eps_subset")
"""Numbers of images among the settings of tasks."""
WITHIN = 0.01
"""How far scores of CPU and device may lie apart: an attack on other roundings ends elsewhere on a few images."""
EPOCHS, WARM_UP = 4, 1
"""Of a training that is timed, and how many of them first that do not count."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """The arguments, and what they name."""

    suite: Suite
    plugins: Plugins
    options: RunOptions
    rows: Path
    tiny: bool

    @property
    def device(self) -> torch.device:
        return self.options.device

    def data(self) -> SuiteData:
        """All that the suite's tasks need."""
        tasks = chosen_tasks(self.suite, self.plugins, None)
        return load_suite_data(self.suite, self.plugins, self.options.place, **needed_data(tasks.values()))

    def write(self, rows: Mapping[str, Any]) -> None:
        """File what there is so far."""
        machine = {"device_name": device_name(self.device), "torch": str(torch.__version__)}
        content = {name: {**row, **machine} for name, row in rows.items()}
        write_atomically(self.rows, (json.dumps(content, indent=1) + "\n").encode())


def fixed_network() -> nn.Module:
    """The network that is the same on every machine."""
    network = models.create("wrn-10-1", num_classes=10, normalisation=((0.0,) * 3, (1.0,) * 3))
    network.load_state_dict(load_file(NETWORK))
    return network


def agreement(asked: Asked) -> None:
    """Every task of the suite on the same network and images, by the CPU and by the device."""
    data = asked.data().part(20 if asked.tiny else EXAMPLES).data
    devices = (torch.device("cpu"), asked.device)
    networks = [folded_copy(freeze(fixed_network(), device), data.test.images, device) for device in devices]
    rows: dict[str, Any] = {}
    for name in asked.suite.tasks:
        task = asked.plugins.tasks.get(name)
        settings = task.settings_in(asked.suite)
        few = {field: min(value, len(data.test)) for field in SIZES if (value := getattr(settings, field, None))}
        found = []
        for device, network in zip(devices, networks, strict=True):
            ctx = EvaluationContext(CONDITION, device, None, networks=dict.fromkeys(asked.suite.networks, network))
            found.append(run_task(task, settings.model_copy(update=few), network, data, ctx))
        rows[name] = compared(*found) | {"n": len(data.test), "device": asked.device.type}
        asked.write(rows)
        print(name, rows[name], flush=True)
    apart = [name for name, row in rows.items() if row["verdict"] != "agrees"]
    if apart:
        print(f"CPU and {asked.device.type} differ by more than {WITHIN} in {', '.join(apart)}")


def compared(cpu: TaskResult, device: TaskResult) -> dict[str, Any]:
    """How far two results of one task lie apart."""
    theirs = {(score.metric, json.dumps(score.setting, sort_keys=True)): score.value for score in cpu.scores}
    mine = {(score.metric, json.dumps(score.setting, sort_keys=True)): score.value for score in device.scores}
    gaps = {key: abs(mine[key] - value) / max(1.0, abs(value)) for key, value in theirs.items() if key in mine}
    same = [cpu.correct[name] == device.correct[name] for name in cpu.correct if name != "index"]
    worst = max(gaps, key=lambda key: gaps[key])
    agrees = mine.keys() == theirs.keys() and gaps[worst] <= WITHIN
    return {
        "verdict": "agrees" if agrees else "differs",
        "scores": len(gaps),
        "largest_gap": round(gaps[worst], 6),
        "largest_gap_of": " ".join(worst),
        "examples": sum(one.numel() for one in same),
        "examples_that_differ": sum(int((~one).sum()) for one in same),
        "cpu_seconds": round(cpu.seconds, 2),
        "seconds": round(device.seconds, 2),
    }


def throughput(asked: Asked) -> None:
    """Images a second in training, plain and compiled, of the suite's student and teacher."""
    rows: dict[str, Any] = {}
    for role in ("student", "teacher"):
        for compile in (False, True):
            if compile and compiler_for(asked.device, asked=True) is None:
                continue  # as in every training on this device
            network, row = pace(asked, role, compile=compile)
            rows[f"{network}, compiled" if compile else network] = row
            asked.write(rows)
            print(network, row, flush=True)


def pace(asked: Asked, role: str, *, compile: bool) -> tuple[str, dict[str, Any]]:
    """The name of a network, and the pace of a short training by the suite's recipe: cross-entropy, no monitor."""
    epochs = 2 if asked.tiny else EPOCHS
    suite = asked.suite
    data = asked.data()
    graph = RunGraph(suite, data.dataset, asked.plugins, asked.options)
    spec = graph.network(CONDITION, "reference" if role == "student" else role)
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"epochs": epochs, "milestones": ()})})
    train, _ = graph.train_set(CONDITION)
    compiler = compiler_for(asked.device, asked=compile)
    compiler = compiler and dataclasses.replace(compiler, pays_from=0)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        network = build_network(asked.plugins, spec, train.num_classes)
        method = make_method(asked.plugins, spec)
        log = fit(spec, method, network, train, {}, folder=Path(folder), device=asked.device, compiler=compiler)
    wall = time.perf_counter() - started
    images = spec.recipe.steps_per_epoch(len(train.labels)) * spec.recipe.batch_size
    images = min(images, len(train.labels))
    paces = [images / entry["seconds"] for entry in log[WARM_UP:]]
    row: dict[str, Any] = {
        "images_per_second": round(statistics.median(paces), 1), "lowest": round(min(paces), 1),
        "highest": round(max(paces), 1), "epochs": len(paces), "images": images,
        "batch": spec.recipe.batch_size, "precision": spec.recipe.precision,
    }  # fmt: skip
    if compile:
        row["warm_up_seconds"] = round(wall - sum(entry["seconds"] for entry in log), 1)
        row["ran_compiled"] = "compiled" in log[0]
    return spec.model, row


def reference(asked: Asked) -> None:
    """A whole training of the suite's reference network, which is like its student; the study finds it trained."""
    graph = RunGraph(asked.suite, asked.data().dataset, asked.plugins, asked.options)
    spec = graph.network(CONDITION, "reference")

    def row() -> Iterator[tuple[str, Any]]:
        log = read_log(graph.path(spec))
        yield "network", spec.model
        yield "epochs", len(log)
        yield "of", spec.recipe.epochs
        yield "seconds", round(sum(entry["seconds"] for entry in log), 1)
        yield "test_accuracy", log[-1]["test_accuracy"] if log else 0.0
        yield "compiled", sum("compiled" in entry for entry in log)
        yield "precision", spec.recipe.precision

    try:
        graph.ensure(spec, CONDITION, "reference")
    finally:
        asked.write({"training": dict(row())})


def main(arguments: list[str] | None = None) -> None:
    """Do one step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=["agreement", "throughput", "reference"])
    for name in ("suite", "device", "data", "runs", "rows"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args(arguments)
    options = RunOptions.make(
        data_dir=given.data, device=given.device, out=given.runs, download=False, compile=not given.no_compile
    )
    asked = Asked(load_suite(given.suite), load_plugins(), options, Path(given.rows), given.tiny)
    {"agreement": agreement, "throughput": throughput, "reference": reference}[given.step](asked)


if __name__ == "__main__":
    main()
