"""A real SLURM on this machine: one controller, two nodes. ``tools/slurm_here.sh install`` brings it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.results.record import read_record
from kdbench.running.options import RunOptions
from kdbench.studies.executors import make_executor, queued
from kdbench.studies.executors.slurm import check_settings
from kdbench.studies.executors.slurm.batches import Batches
from kdbench.studies.executors.slurm.queue import command, fate
from kdbench.studies.folder import StudyFolder
from kdbench.studies.nodes import StudyPlan
from kdbench.studies.study import make_study
from kdbench.studies.sweep import Standing
from tests.distributions import write_distribution
from tests.studies.conftest import disturbed

HERE = Path(__file__).parents[2] / "tools" / "slurm_here.sh"
EPOCHS = 4

SUITE = """
name = "small"
version = 1
title = "A few digits"
why = "Tests: a training takes a moment."
dataset = "digits"
student = "tiny-linear"
flip = false
[networks.teacher]
model = "tiny-linear"
method = "steady"
seed = 1000
[recipe]
epochs = 4
batch_size = 20
lr = 0.03
augmentation = "crop"
[conditions.clean]
train_size = 100
[tasks.clean]
"""

PLUGIN = """
    import os, sys, time
    import torch
    import kdbench
    from kdbench.models import ModelSpec

    def follow(batch, ctx, first):
        if first and ctx.train_size == 100:  # of an epoch of the suite's
            with open(os.environ["KDBENCH_TRACE"], "a") as trace:
                trace.write(f"{sys.argv[3]} {ctx.epoch} {os.getpid()}\\\\n")
            time.sleep(float(os.environ["KDBENCH_PAUSE"]))
        return torch.nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)

    class Steady(kdbench.Method):
        seen = None

        def __init__(self, *, scale: float = 1.0):
            self.scale = scale

        def loss(self, batch, ctx):
            first, self.seen = self.seen != ctx.epoch, ctx.epoch
            return self.scale * follow(batch, ctx, first)

    @kdbench.method("raises")
    def raises(batch, ctx):
        raise RuntimeError("it always does")

    @kdbench.method("hopeless", needs={"bad": kdbench.Network(method="raises")})
    def hopeless(batch, ctx):
        return follow(batch, ctx, False)

    def build(num_classes):
        pool = torch.nn.AdaptiveAvgPool2d(4)
        return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(48, num_classes))

    @kdbench.hookimpl
    def kdbench_register_methods():
        return [kdbench.method("steady")(Steady), raises, hopeless]

    @kdbench.hookimpl
    def kdbench_register_models():
        return [ModelSpec("tiny-linear", build, "for tests")]
"""

REFERENCE = """
    import sys
    from pathlib import Path
    from kdbench.studies.folder import StudyFolder
    from kdbench.studies.nodes import StudyPlan
    from kdbench.studies.worker import work
    plan = StudyPlan.model_validate_json(Path(sys.argv[1]).read_text())
    folder = StudyFolder(Path(sys.argv[2]), plan.study.name)
    folder.write(plan)
    for node in plan.nodes:
        if node.role == "teacher" or node.kind == "run" and node.method in ("steady", "kd"):
            assert work(folder, node.key, device="cpu") == ""
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a cluster that runs."""
    if shutil.which("slurmctld") is None and not os.environ.get("KDBENCH_REQUIRE_SLURM"):
        pytest.skip("no SLURM here: tools/slurm_here.sh install")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([HERE, "start", folder], check=True, stdout=subprocess.DEVNULL)
    try:
        yield folder
    finally:
        subprocess.run([HERE, "stop", folder], check=True)


@pytest.fixture
def cluster(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as this process's clients see it."""
    pytest.importorskip("submitit")
    monkeypatch.setenv("SLURM_CONF", str(slurm / "slurm.conf"))
    monkeypatch.setenv("KDBENCH_CONFIG", str(slurm / "none.toml"))
    return slurm


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait for it."""
    for _ in range(3000):
        if found := true():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


class Disturbed:
    """A study that runs on the cluster, with a driver in a process of its own, and a trace of what was trained."""

    def __init__(self, home: Path) -> None:
        site = home / "site"
        write_distribution(site, "kdbench-traced", {"traced": "kdbench_traced"})
        (site / "kdbench_traced.py").write_text(textwrap.dedent(PLUGIN).replace("\\\\n", "\\n"))
        (home / "small.toml").write_text(SUITE)
        (home / "s.toml").write_text(
            'suite = "small.toml"\nmethods = ["steady", "kd", "hopeless"]\nseeds = "0-1"\nexecutor = "slurm"\n'
            "[engine.slurm]\nminutes = 30\n[parameters.steady]\nscale = [1.0, 0.5, 0.25]\n"
            "[parameters.kd]\ntemperature = [1.0, 2.0, 4.0]\n"
        )
        self.home, self.trace = home, home / "trace.txt"
        self.folder = StudyFolder(home / "runs", "s")
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(site), *sys.path[1:]]),
            "KDBENCH_TRACE": str(self.trace),
            "KDBENCH_PAUSE": "1",
        }

    def drive(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "kdbench", "sweep", "s.toml", "--out", "runs", *words]
        return subprocess.Popen(command, cwd=self.home, env=self.environment, stdout=subprocess.PIPE, text=True)

    def traced(self) -> list[tuple[str, int, int]]:
        """Key, epoch and process of each epoch that was begun."""
        if not self.trace.exists():
            return []
        lines = [line.split() for line in self.trace.read_text().splitlines()]
        return [(key, int(epoch), int(pid)) for key, epoch, pid in lines]

    def in_training(self, but: set[str]) -> tuple[str, int] | None:
        """A node in its second or third epoch, with its worker's process."""
        latest = {key: (epoch, pid) for key, epoch, pid in self.traced()}
        return next(
            ((key, pid) for key, (epoch, pid) in latest.items() if key not in but and epoch in (1, 2)), None
        )  # fmt: skip

    def time_is_up(self, key: str) -> None:
        """What SLURM does shortly before a job's time is up."""
        job = self.job(key)
        log = self.folder.path / "slurm" / "jobs" / f"{job}_0_log.out"
        with subprocess.Popen(["scancel", "--signal=USR2", job], stderr=subprocess.DEVNULL) as scancel:
            until(lambda: f"Requeued job {job}" in log.read_text(), "a job that goes back to the queue")
            scancel.kill()  # it would signal the job that starts anew as well

    def job(self, key: str) -> str:
        return Batches(self.folder).jobs()[key]


@disturbed
def test_a_study_that_is_disturbed_everywhere_loses_nothing(cluster: Path, tmp_path: Path) -> None:
    study = Disturbed(tmp_path)
    first = study.drive("--wait")
    until(lambda: Batches(study.folder).jobs(), "a job")
    first.kill()
    first.communicate()
    handed = Batches(study.folder).jobs()

    second = study.drive("--wait", "--json")
    disturbed: set[str] = set()
    key, pid = until(lambda: study.in_training(disturbed), "a training")
    os.kill(pid, signal.SIGKILL)
    disturbed.add(key)
    key, pid = until(lambda: study.in_training(disturbed), "a training")
    study.time_is_up(key)
    disturbed.add(key)
    lost, pid = until(lambda: study.in_training(disturbed), "a training")
    command("scancel", "--signal=KILL", study.job(lost))
    disturbed.add(lost)
    said, _ = second.communicate(timeout=600)
    assert second.returncode == 1

    plan = study.folder.plan()
    standing = Standing.read(study.folder, plan)
    hopeless = [node.key for node in plan.nodes if node.method == "hopeless" and node.kind == "run"]
    [bad] = [node.key for node in plan.nodes if node.kind == "training" and node.role != "teacher"]
    assert json.loads(said)["study"] == "s"
    assert standing.errors == {bad: "RuntimeError: it always does"}
    assert standing.blocked() == dict.fromkeys(hopeless, bad)
    assert standing.count("done", "run") == 12 and standing.count("done", "training") == 1
    _nothing_twice(study, plan, disturbed, handed, lost)
    _as_alone(study, plan)


def _nothing_twice(
    study: Disturbed, plan: StudyPlan, disturbed: set[str], handed: Mapping[str, str], lost: str
) -> None:
    trained = Counter((key, epoch) for key, epoch, _ in study.traced())
    for node in plan.nodes:
        if node.role == "teacher" or (node.kind == "run" and node.method == "steady"):
            begun = [trained[node.key, epoch] for epoch in range(EPOCHS)]
            assert min(begun) == 1
            assert sum(begun) <= EPOCHS + (node.key in disturbed)  # an epoch that was cut short is begun again
    given = Counter(key for batch in Batches(study.folder).all() for key in batch.keys)
    once = [node.key for node in plan.nodes if node.method != "hopeless" or node.kind == "training"]
    assert [given[key] - (key == lost) for key in once] == [1] * len(once)
    jobs = Batches(study.folder).jobs()
    assert {key: jobs[key] for key in handed if key != lost} == {key: handed[key] for key in handed if key != lost}


def _as_alone(study: Disturbed, plan: StudyPlan) -> None:
    """The records are those of one process that does node after node."""
    code = textwrap.dedent(REFERENCE)
    script = [sys.executable, "-c", code, str(study.folder.path / "plan.json"), str(study.home / "alone"), "alone"]
    subprocess.run(script, cwd=study.home, env=study.environment | {"KDBENCH_PAUSE": "0"}, check=True)
    for node in plan.nodes:
        if node.kind == "run" and node.method in ("steady", "kd"):
            ours, alone = read_record(study.folder.out / node.path), read_record(study.home / "alone" / node.path)
            assert (ours.spec, ours.scores) == (alone.spec, alone.scores)
            for network in ("students", "networks"):
                mine, theirs = getattr(ours.hashes, network), getattr(alone.hashes, network)
                assert {name: one.sha256 for name, one in mine.items()} == {
                    name: one.sha256 for name, one in theirs.items()
                }


def on_hold(tmp_path: Path, **settings: Any) -> tuple[StudyFolder, Any, list[tuple[str, tuple[str, ...]]]]:
    """A study of three nodes whose jobs never start."""
    engine = {"slurm": {"minutes": 5, "sbatch": {"hold": True}, **settings}}
    study = make_study("a test", {"name": "s", "methods": ["ce"], "executor": "slurm", "engine": engine})
    folder = StudyFolder(tmp_path / "runs", "s")
    executor = make_executor(folder, study, RunOptions.make(device="cpu", out=folder.out))
    return folder, executor, [("teacher", ()), ("kd", ("teacher",)), ("ce", ())]


def test_what_is_in_the_queue_is_not_handed_in_again(cluster: Path, tmp_path: Path) -> None:
    folder, executor, nodes = on_hold(tmp_path)
    jobs = executor.submit(nodes)
    assert jobs["teacher"].partition("_")[0] == jobs["ce"].partition("_")[0] != jobs["kd"]
    shown = command("scontrol", "show", "job", jobs["kd"]).stdout
    assert f"Dependency=afterany:{jobs['teacher']}" in shown
    _, again, _ = on_hold(tmp_path)
    assert again.submit(nodes) == jobs
    assert {key: word.split()[0] for key, word in queued(folder, executor_study()).items()} == dict.fromkeys(
        jobs, "pending"
    )
    command("scancel", jobs["kd"])
    until(lambda: fate(jobs["kd"]) == "CANCELLED", "the end of a job")
    last = again.submit(nodes)
    assert last["kd"] != jobs["kd"] and (last["ce"], last["teacher"]) == (jobs["ce"], jobs["teacher"])
    command("scancel", *last.values())


def test_what_waits_in_the_queue_does_not_run(cluster: Path, tmp_path: Path) -> None:
    _, executor, nodes = on_hold(tmp_path, setup=["sleep 600"])
    jobs = executor.submit(nodes)
    for key in ("teacher", "ce"):
        executor.start(key)
    executor._look()
    assert list(executor.running()) == []
    command("scontrol", "release", jobs["ce"])
    until(lambda: executor._look() and list(executor.running()) == ["ce"], "a job that runs")
    command("scancel", *jobs.values())
    until(lambda: not executor._look(), "the end of the jobs")
    assert list(executor.running()) == []


def executor_study() -> Any:
    return make_study("a test", {"name": "s", "methods": ["ce"], "executor": "slurm"})


def test_a_submission_that_was_cut_short_is_taken_back(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, executor, nodes = on_hold(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "submitted", killed)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(nodes)
    [batch] = Batches(folder).all()
    assert batch.job is None
    job = command("squeue", "--noheader", "--format=%F", f"--name={batch.name}").stdout.split()[0]
    jobs = on_hold(tmp_path)[1].submit(nodes)
    until(lambda: job not in command("squeue", "--noheader", "--format=%F").stdout.split(), "the end of a job")
    assert jobs.keys() == {"teacher", "kd", "ce"}
    command("scancel", *jobs.values())


def test_a_folder_that_the_nodes_do_not_see(cluster: Path) -> None:
    private = cluster / "private"
    (private / "mark").touch()
    if "mark" in command("srun", "ls", str(private)).stdout:
        pytest.skip("no mount may be made here")
    _, executor, nodes = on_hold(private)
    with pytest.raises(KdbenchError, match="machines don't see the folder .*private/runs"):
        executor.submit(nodes)
    until(lambda: command("squeue", "--noheader").stdout == "", "a queue that only had the question")


def test_what_sbatch_refuses(cluster: Path, tmp_path: Path) -> None:
    _, executor, nodes = on_hold(tmp_path, partition="nowhere")
    with pytest.raises(KdbenchError, match="sbatch refused 2 nodes: .*invalid partition specified: nowhere"):
        executor.submit(nodes)


def test_a_controller_that_is_down(cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (cluster / "slurm.conf").read_text().splitlines()
    lines = [line for line in text if not line.startswith("SlurmctldPort")]
    other = tmp_path / "slurm.conf"
    other.write_text("\n".join([*lines, "SlurmctldPort=1", "MessageTimeout=5"]) + "\n")
    monkeypatch.setenv("SLURM_CONF", str(other))
    with pytest.raises(KdbenchError, match="squeue says: .*is SLURM's controller up"):
        on_hold(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KdbenchError, match="no command sbatch here"):
        on_hold(tmp_path)


def test_the_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.packages.installed", lambda module: False)
    with pytest.raises(KdbenchError, match=r"needs the package submitit.*pip install 'kdbench\[slurm\]'"):
        check_settings({})


@pytest.mark.parametrize(
    ("settings", "device", "message"),
    [
        ({"partitoin": "gpu"}, "cpu", "no key of .engine.slurm. named 'partitoin' .did you mean 'partition'"),
        ({"minutes": 1}, "cpu", r"\[engine.slurm\]: minutes"),
        ({"gpus_per_node": 1}, "cpu", "asks for GPUs, and this machine"),
        ({"sbatch": {"gres": "gpu:1"}}, "cpu", "asks for GPUs, and this machine"),
        ({}, "cuda", "asks for no GPU"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], device: str, message: str) -> None:
    pytest.importorskip("submitit")
    from kdbench.studies.executors.slurm import _check_device

    with pytest.raises(KdbenchError, match=message):
        _check_device(check_settings(settings), device)
