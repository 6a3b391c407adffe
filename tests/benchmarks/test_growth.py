"""Time and memory of each task against the number of images, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks.conftest import machine

SIZES = (100, 1000, 10_000)
SETTINGS: dict[str, dict[str, Any]] = {
    "clean": {},
    "calibration": {},
    "ood": {},
    "corruption": {},
    "transfer": {},
    "pgd": {"steps": [10], "restarts": 2, "every_restart": 100},
}

SCRIPT = """
import dataclasses, json, resource, sys, time
from pathlib import Path
import torch
from kdbench import models
from kdbench.data import DataPlace, make_image_set
from kdbench.inference.prediction import freeze
from kdbench.running.evaluation import run_task
from kdbench.running.suite_data import load_suite_data
from kdbench.plugin.loader import load_plugins
from kdbench.suites import load_suite
from kdbench.tasks import EvaluationContext, TestData

name, count, settings, folder = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
plugins = load_plugins()
everything = load_suite_data(load_suite("cifar10-lite"), plugins, DataPlace.default(folder), ood=False).dataset.test

def part(size):
    images = everything.images[:: len(everything) // size][:size].clone()
    return make_image_set("t", images, everything.labels[:: len(everything) // size][:size], everything.class_names)

def status(key):
    [line] = [line for line in open("/proc/self/status") if line.startswith(key)]
    return int(line.split()[1]) / 1024

networks = [freeze(models.create("wrn-10-1", num_classes=10, seed=seed)) for seed in range(3)]
sources = {"teacher": networks[1], "reference": networks[2]}
task = plugins.tasks.get(name)

def work(data):
    ctx = EvaluationContext("clean", torch.device("cpu"), None, networks=sources)
    run_task(task, task.resolve(settings), networks[0], data, ctx)

work(TestData(part(100), part(100)))  # first calls load code and caches
data = TestData(part(count), part(count))
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
started = time.perf_counter()
work(data)
print(json.dumps([round(time.perf_counter() - started, 3), round(status("VmHWM") - before, 1)]))
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process can be reset on Linux alone"
)
@pytest.mark.parametrize("task", SETTINGS)
def test_time_and_memory_against_the_number_of_images(task: str, data_dir: Path, results: dict[str, Any]) -> None:
    rows = {}
    # The tests' own conftest asks for one thread in the processes that tests start; speed is measured with all.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for count in SIZES:
        command = [sys.executable, "-c", SCRIPT, task, str(count), json.dumps(SETTINGS[task]), str(data_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds, mebibytes = json.loads(done.stdout)
        rows[str(count)] = {"seconds": seconds, "mebibytes": mebibytes}
        print(f"\n{task} n = {count}: {seconds} s, {mebibytes} MiB more than before")
    results.setdefault("growth", {})[task] = {"sizes": rows, **machine(torch.device("cpu"))}
