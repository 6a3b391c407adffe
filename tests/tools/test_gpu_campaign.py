"""The campaign: what travels, what fits a call, what comes out and survives a kill; and the whole of it, tiny."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.results.record import Score
from kdbench.running.evaluation import TaskResult
from kdbench.sealed import Sealed, faults
from kdbench.training.log import read_log
from tools import gpu_campaign
from tools.campaign import calls, images, measure, outbox, pack, parts
from tools.campaign.steps import HERE, Place, Step, compiling_pays, steps, training_seconds

ROOT = Path(__file__).parents[2]


def some_files(folder: Path, *sizes: int) -> list[tuple[str, Path]]:
    folder.mkdir(exist_ok=True)
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"file-{number}"
        path.write_bytes(np.random.default_rng(number).bytes(size))
        found.append((f"{'ab'[number % 2]}/file-{number}", path))
    return found


MB = 10**6


@pytest.fixture
def three_parts(tmp_path: Path) -> Path:
    """Files of 2, 2, 1, 2 and 1 MB in parts of 4 MB."""
    files = some_files(tmp_path / "files", 2 * MB, 2 * MB, MB, 2 * MB, MB // 2)
    parts.write_parts(files, tmp_path / "parts", 5 * MB, {"commit": "c"})
    return tmp_path / "parts"


def test_files_travel_in_parts_of_limited_size(three_parts: Path, tmp_path: Path) -> None:
    archives = sorted(three_parts.iterdir())
    assert len(archives) > 1 and all(path.stat().st_size <= 5 * MB for path in archives)
    stock = parts.Stock(tmp_path / "stock")
    assert stock.take(three_parts) == [path.name for path in archives]
    for number in range(5):
        name = f"file-{number}"
        assert (tmp_path / "stock" / "ab"[number % 2] / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
    assert stock.lacking(["a/", "b/"]) == []
    assert stock.take(three_parts) == []  # once


def test_a_part_that_has_still_to_come_is_named(three_parts: Path, tmp_path: Path) -> None:
    first, *later = sorted(three_parts.iterdir())
    for path in later:
        path.rename(tmp_path / path.name)
    stock = parts.Stock(tmp_path / "stock")
    stock.take(three_parts)
    assert stock.lacking(["a/file-0"]) == []
    assert stock.lacking(["a/", "b/"]) == list(range(2, len(later) + 2))
    first.unlink()
    for path in later:
        (tmp_path / path.name).rename(path)
    stock.take(three_parts)
    assert stock.lacking([""]) == []


def test_parts_of_two_packs_or_damaged_ones_are_refused(three_parts: Path, tmp_path: Path) -> None:
    stock = parts.Stock(tmp_path / "stock")
    stock.take(three_parts)
    parts.write_parts(some_files(tmp_path / "files", 9), tmp_path / "other", 5 * MB, {})
    with pytest.raises(parts.PartError, match="of another pack than the parts before"):
        stock.take(tmp_path / "other")
    archive = tmp_path / "other/part-1-of-1.tar"
    content = (tmp_path / "files/file-0").read_bytes()
    archive.write_bytes(archive.read_bytes().replace(content, b"x" * len(content)))
    with pytest.raises(parts.PartError, match="file-0 is damaged"):
        parts.Stock(tmp_path / "new").take(tmp_path / "other")
    archive.write_bytes(b"no archive")
    with pytest.raises(parts.PartError, match="damaged"):
        parts.Stock(tmp_path / "newer").take(tmp_path / "other")
    with pytest.raises(parts.PartError, match="give a larger --limit-mb"):
        parts.write_parts(some_files(tmp_path / "files", 5 * MB), tmp_path / "other", 5 * MB, {})


# What comes out.

KIB = 1024


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of kibibytes instead of mebibytes."""
    monkeypatch.setattr(outbox, "FILE_BYTES", 128 * KIB)
    monkeypatch.setattr(outbox, "TOTAL_BYTES", 504 * KIB)


def put(path: Path, size: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(seed).bytes(size))


def work_folder(work: Path, seed: int = 0) -> None:
    """A finished run, its student, a finished teacher, and a training under way that is larger than a file."""
    run, trainings = work / "runs/s/ce/1234", work / "runs/s/trainings"
    put(run / "predictions.npz", 10 * KIB)
    put(run / "checkpoint-clean.safetensors", 50 * KIB)
    (run / "record.json").write_text(json.dumps({"hashes": {"students": {"clean": {"training": "aa"}}}}))
    put(run.parent / "5678/partial/clean/pgd.npz", KIB)
    for name in ("ce-wrn-aa", "ce-wrn-bb"):
        put(trainings / name / "checkpoint.safetensors", 60 * KIB)
        (trainings / name / "log.jsonl").write_text("{}\n")
        Sealed(trainings / name).write({"softmax.npz": b"softmax"})
    put(trainings / "kd-wrn-cc/resume.pt", 150 * KIB, seed)
    (trainings / "kd-wrn-cc/log.jsonl").write_text("{}\n" * 3)
    (work / "log.txt").write_text("log\n")
    (work / "results.json").write_text("{}")


def relative(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("small_files")
def test_what_comes_out_is_enough_to_go_on_and_no_more(tmp_path: Path) -> None:
    work, out, again = tmp_path / "work", tmp_path / "out", tmp_path / "again"
    work_folder(work)
    outbox.Outbox(work, out, pytest.fail).refresh()
    assert len(list(out.iterdir())) <= 8
    assert all(path.stat().st_size <= 128 * KIB for path in out.iterdir())
    again.mkdir()
    assert outbox.restore(out, again) == []
    left_out = {"runs/s/ce/1234/checkpoint-clean.safetensors", "runs/s/trainings/ce-wrn-aa/checkpoint.safetensors",
                "runs/s/trainings/ce-wrn-aa/log.jsonl",
                "runs/s/trainings/ce-wrn-aa/softmax.npz", "runs/s/trainings/ce-wrn-aa/SHA256SUMS"}  # fmt: skip
    assert relative(again) == relative(work) - left_out
    for name in relative(again):
        assert (again / name).read_bytes() == (work / name).read_bytes(), name
    teacher = again / "runs/s/trainings/ce-wrn-bb"
    assert faults(teacher) == {}
    (teacher / "softmax.npz").write_bytes(b"another")
    assert list(faults(teacher)) == ["softmax.npz"], "sums come along"


@pytest.mark.usefixtures("small_files")
def test_a_resume_state_has_its_sums_and_is_checked_on_arrival(tmp_path: Path) -> None:
    work, out, again = tmp_path / "work", tmp_path / "out", tmp_path / "again"
    training = work / "runs/s/trainings/kd-wrn-cc"
    Sealed(training).write({"resume.pt": b"state", "log.jsonl": b"{}\n"})
    outbox.Outbox(work, out, pytest.fail).refresh()
    again.mkdir()
    assert outbox.restore(out, again) == []
    there = again / "runs/s/trainings/kd-wrn-cc"
    assert faults(there) == {}
    (training / "resume.pt").write_bytes(b"other")  # by a disk, not by kdbench
    outbox.Outbox(work, out, pytest.fail).refresh()
    assert outbox.restore(out, again) == [
        "runs/s/trainings/kd-wrn-cc/resume.pt is damaged: it is not the file that SHA256SUMS lists"
    ]
    assert list(faults(there)) == ["resume.pt"]


@pytest.mark.usefixtures("small_files")
def test_measurements_of_a_run_under_way_have_sums_of_themselves_alone(tmp_path: Path) -> None:
    work, out, again = tmp_path / "work", tmp_path / "out", tmp_path / "again"
    run, there = work / "runs/s/ce/5678", again / "runs/s/ce/5678"
    parts = {"partial/clean-pgd.json": b"{}", "partial/clean-pgd.npz": b"found"}
    Sealed(run).write({"checkpoint-clean.safetensors": b"a network, which does not travel", **parts})
    (run / "partial/.clean-ood.npz.tmp").write_bytes(b"half of it")
    outbox.Outbox(work, out, pytest.fail).refresh()
    again.mkdir()
    assert outbox.restore(out, again) == []
    assert relative(there) == {"SHA256SUMS", *parts} and faults(there) == {}
    (run / "partial/clean-pgd.npz").write_bytes(b"other")  # by a disk, not by kdbench
    outbox.Outbox(work, out, pytest.fail).refresh()
    assert outbox.restore(out, again) == [
        "runs/s/ce/5678/partial/clean-pgd.npz is damaged: it is not the file that SHA256SUMS lists"
    ]
    (run / "SHA256SUMS").write_bytes(b"no list")
    outbox.Outbox(work, out, pytest.fail).refresh()
    assert outbox.restore(out, again) == ["runs/s/ce/5678/SHA256SUMS is damaged: nothing beside it can be checked"]


def test_a_resume_state_and_its_sums_are_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Sealed(tmp_path)
    files.write({"resume.pt": b"1", "log.jsonl": b"1"})
    read, epochs = Path.read_bytes, iter([b"2", b"3"])

    def between(path: Path) -> bytes:
        content = read(path)
        if path.name == "resume.pt" and (epoch := next(epochs, None)):
            monkeypatch.setattr(Path, "read_bytes", read)
            files.write({"resume.pt": epoch, "log.jsonl": epoch})
            monkeypatch.setattr(Path, "read_bytes", between)
        return content

    monkeypatch.setattr(Path, "read_bytes", between)
    found = dict(outbox._of_one_moment(tuple(tmp_path / name for name in ("resume.pt", "log.jsonl", "SHA256SUMS"))))
    assert found[tmp_path / "resume.pt"] == found[tmp_path / "log.jsonl"] == b"3"


@pytest.mark.usefixtures("small_files")
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, resume = os.replace, "runs/s/trainings/kd-wrn-cc/resume.pt"
    states = [np.random.default_rng(seed).bytes(150 * KIB) for seed in range(3)]
    outcomes = []
    for moment in itertools.count():
        work, out, again = (tmp_path / f"{moment}/{name}" for name in ("work", "out", "again"))
        work_folder(work, 0)
        box = outbox.Outbox(work, out, pytest.fail)
        box.refresh()
        work_folder(work, 1)
        os.utime(work / resume, ns=(1, moment + 10**9))
        countdown = itertools.count()

        def killed(source: Path, target: Path, moment: int = moment, countdown: Iterator[int] = countdown) -> None:
            if next(countdown) == moment:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(os, "replace", killed)
            box.refresh()
            break
        assert len(list(out.iterdir())) <= 8
        again.mkdir()
        outbox.restore(out, again)
        outcomes.append(states.index((again / resume).read_bytes()))
        # The next call goes on beside what is left.
        work_folder(work, 2)
        outbox.Outbox(work, out, pytest.fail).refresh()
        assert len(list(out.iterdir())) <= 8
        outbox.restore(out, again)
        assert (again / resume).read_bytes() == states[2]
    assert outcomes and set(outcomes) == {0}  # it is the new one only when all of it is there


@pytest.mark.usefixtures("small_files")
def test_two_whole_generations_the_newer_counts_and_half_of_one_does_not(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    resume = "runs/s/trainings/kd-wrn-cc/resume.pt"
    work_folder(work, 0)
    box = outbox.Outbox(work, out, pytest.fail)
    box.refresh()
    old = {path.name: path.read_bytes() for path in out.glob("state-*")}
    work_folder(work, 1)
    os.utime(work / resume, ns=(1, 1))
    box.refresh()
    new = (work / resume).read_bytes()
    for name, content in old.items():
        (out / name).write_bytes(content)
    for again in (tmp_path / "both", tmp_path / "torn"):
        again.mkdir()
        faults = outbox.restore(out, again)
        if again.name == "both":
            assert (again / resume).read_bytes() == new and not faults
            for path in set(out.glob("state-*-2")) - {out / name for name in old}:
                path.unlink()
    assert faults == ["state, generation 2, is not whole"]
    assert (tmp_path / "torn" / resume).read_bytes() != new


@pytest.mark.usefixtures("small_files")
def test_what_does_not_fit_is_named_once(tmp_path: Path) -> None:
    said: list[str] = []
    work_folder(tmp_path / "work")
    put(tmp_path / "work/runs/s/trainings/kd-wrn-dd/resume.pt", 200 * KIB)
    put(tmp_path / "work/runs/s/trainings/kd-wrn-dd/log.jsonl", 2)
    box = outbox.Outbox(tmp_path / "work", tmp_path / "out", said.append)
    box.refresh()
    os.utime(tmp_path / "work/runs/s/trainings/kd-wrn-cc/resume.pt", ns=(1, 1))
    box.refresh()
    assert said == ["runs/s/trainings/kd-wrn-dd does not fit the files that come out: on another machine it is done "
                    "again"]  # fmt: skip


# What fits a call.


def python(text: str) -> tuple[str, ...]:
    return ("-c", text)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, str]]:
    """Make a call with these steps; whether all is done, and its log."""
    (tmp_path / "root/tools/data").mkdir(parents=True)
    (tmp_path / "root/tools/data/benchmarks.json").write_text('{"ratios": {"old": 1}}')
    (tmp_path / "work").mkdir()

    def call(*chosen: Step, seconds: float = 60, tiny: bool = False, only: Sequence[str] = ()) -> tuple[bool, str]:
        monkeypatch.setattr(calls, "steps", lambda place, rows: list(chosen))
        (tmp_path / "work/log.txt").unlink(missing_ok=True)
        place = Place(tmp_path / "root", tmp_path / "work", "cpu", tiny)
        with (tmp_path / "lock").open("w") as lock:
            stock = parts.Stock(tmp_path / "stock")
            done = calls.Call(place, stock, tmp_path / "out", seconds, dict(os.environ), lock.fileno(), only).work()
        return done, (tmp_path / "out/log.txt").read_text()

    return call


def test_a_step_is_done_once_and_a_failed_one_again_when_it_is_named(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    ticks = tmp_path / "ticks"
    good = Step("good", "count", python(f"open({str(ticks)!r}, 'a').write('x')"), 1)
    bad = Step("bad", "fail", python("print('why'); raise SystemExit(3)"), 1)
    done, log = called(good, bad, seconds=120)
    assert not done and "bad: failed" in log and "    why" in log and "open: bad" in log
    mended = Step("bad", "work", python("pass"), 1)
    done, log = called(good, mended, seconds=120)
    assert not done and "bad: failed before; --only bad repeats it" in log
    done, log = called(good, mended, seconds=120, only=["bad"])
    assert done and "everything is done" in log
    assert ticks.read_text() == "x"
    assert json.loads((tmp_path / "out/results.json").read_text())["steps"]["bad"]["status"] == "done"


def test_a_step_that_does_not_fit_is_not_begun(called: Callable[..., tuple[bool, str]]) -> None:
    done, log = called(Step("long", "wait", python("raise SystemExit(1)"), 300))
    assert not done and "long: not begun, it may take 300 s and " in log
    _, log = called(Step("long", "wait", python("raise SystemExit(1)"), 0, resumes=True))  # 20 of the 60 s are reserved
    assert "long: not begun, it may take 60 s and " in log


def test_what_a_step_took_is_what_it_is_expected_to_take(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    (tmp_path / "work/results.json").write_text(
        '{"steps": {"slow": {"status": "stopped", "seconds": 90.0}}, "rows": {}}'
    )
    _, log = called(Step("slow", "wait", python("pass"), 1))
    assert "slow: not begun, it may take 90 s" in log


def test_a_step_is_interrupted_when_the_time_is_up_and_goes_on_later(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    text = f"""
import time
from pathlib import Path
try:
    time.sleep(0 if Path({str(tmp_path / "seen")!r}).exists() else 60)
except KeyboardInterrupt:
    Path({str(tmp_path / "seen")!r}).touch()
    raise SystemExit(1)
"""
    step = Step("training", "train", python(text), 0, resumes=True)
    done, log = called(step, seconds=10, tiny=True)
    assert not done and "training: stopped after" in log and (tmp_path / "seen").exists()
    done, _ = called(step, seconds=60, tiny=True)
    assert done


def test_rows_of_benchmarks_and_measurements_are_results(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    file = """
import json
from pathlib import Path
path = Path("tools/data/benchmarks.json")
path.write_text(json.dumps({"ratios": {"old": 1, "new [cuda]": {"ratio": 2}}}))
"""
    rows = tmp_path / "work/rows"
    rows.mkdir()
    (rows / "pace.json").write_text('{"wrn": {"images_per_second": 7, "torch": "2"}}')
    done, log = called(
        Step("ratio", "compare", python(file), 1, benchmark=True), Step("pace", "time", python("pass"), 1)
    )
    assert done and "    wrn: images_per_second 7\n" in log
    found = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert found["ratio"] == {"ratios/new [cuda]": {"ratio": 2}}


def test_a_step_waits_for_its_part(called: Callable[..., tuple[bool, str]], three_parts: Path, tmp_path: Path) -> None:
    for path in sorted(three_parts.iterdir())[1:]:
        path.unlink()
    parts.Stock(tmp_path / "stock").take(three_parts)
    _, log = called(Step("study", "train", python("pass"), 0, needs=("a/", "b/")))
    assert "study: not begun, part 2" in log


def test_the_steps_are_those_of_the_campaign_in_its_order() -> None:
    place = Place(ROOT, Path("/work"), "cuda", False)
    names = [step.name for step in steps(place, {})]
    assert names == ["images", "doctor", "tests", "agreement", "scorecard", "pgd", "corruptions", "epoch", "throughput",
                     "reference", "cifar10-study", "nrd-study"]  # fmt: skip
    tests = next(step for step in steps(place, {}) if step.name == "tests").command
    assert "tests/training/test_compiling.py" in tests and "tests/corruptions/test_corrupt.py" in tests
    for step in steps(place, {}):
        for word in step.command:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word


def test_trainings_are_compiled_unless_that_was_measured_to_be_slower() -> None:
    plain, fast = {"images_per_second": 20_000.0}, {"images_per_second": 40_000.0, "warm_up_seconds": 100.0}
    assert training_seconds(plain) == 500 and training_seconds(fast) == 350
    rows = {"wrn-16-2": plain, "wrn-16-2, compiled": fast}
    assert compiling_pays(rows) and compiling_pays({})
    slow = {**rows, "wrn-16-2, compiled": {**fast, "warm_up_seconds": 300.0}}
    assert not compiling_pays(slow)
    place = Place(ROOT, Path("/work"), "cuda", False)
    found = [step.name for step in steps(place, {"throughput": slow}) if "--no-compile" in step.command]
    assert found == ["reference", "cifar10-study", "nrd-study"]


@pytest.mark.parametrize("name", ["cifar10-study.toml", "nrd-study.toml", "tiny-study.toml"])
def test_the_studies_can_be_planned(name: str) -> None:
    from kdbench.plugin.loader import load_plugins
    from kdbench.running.plan import Plan
    from kdbench.studies.study import read_study
    from kdbench.suites import load_suite

    study = read_study(HERE / name)
    for request in study.requests():
        Plan.make(load_suite(study.suite), load_plugins(), request.method, request.params, study.conditions,
                  study.tasks, None)  # fmt: skip


# What travels.


def strip(folder: Path, name: str, count: int) -> np.ndarray:
    """A strip of random images, uint8 (count, 32, 32, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels.reshape(-1, 32, 3)).save(folder / f"{name}.webp", lossless=True)
    return pixels


def test_strips_become_class_folders_once(tmp_path: Path) -> None:
    pixels = strip(tmp_path / "strips/cifar10", "train.cat.01", 3)
    for count in (3, 0):
        assert images.unpack(tmp_path / "data", tmp_path / "strips/cifar10/train.cat.01.webp") == count
    found = sorted((tmp_path / "data/cifar10/train/cat").iterdir())
    assert [path.name for path in found] == ["00500.png", "00501.png", "00502.png"]
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in found]), pixels)


def git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)


def test_a_pack_holds_the_checkout_with_its_commit_and_images_in_order_of_use(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "kdbench").mkdir(parents=True)
    (root / "kdbench/a.py").write_text("a = 1\n")
    (root / "left.txt").write_text("not tracked")
    git(root, "init", "-q")
    git(root, "add", "kdbench")
    git(root, "commit", "-qm", "first")
    strip(tmp_path / "images/cifar10", "train.cat.00", 2)
    strip(tmp_path / "images/cifar10", "test.cat.00", 2)
    strip(tmp_path / "images/ood_imagenet", "test.cat.00", 2)
    found = pack.pack(
        root, tmp_path / "images", tmp_path / "out", limit=3 * MB, present=(), python="3.11", machine="x86_64",
        wheels=False,
    )  # fmt: skip
    assert [path.name for path in found] == ["kdbench.tar.gz", "part-1-of-1.tar"]
    with tarfile.open(found[0]) as archive:
        assert archive.getnames() == ["kdbench/kdbench/a.py", "kdbench/kdbench/_commit.json"]
        file = archive.extractfile("kdbench/kdbench/_commit.json")
        assert file is not None
        commit = json.load(file)
    assert len(commit["commit"]) == 40 and commit["dirty"] is False
    with tarfile.open(found[1]) as archive:
        assert archive.getnames()[1:] == ["images/cifar10/test.cat.00.webp", "images/ood_imagenet/test.cat.00.webp",
                                          "images/cifar10/train.cat.00.webp"]  # fmt: skip
    with pytest.raises(parts.PartError, match=r"has no cifar10/<split>"):
        pack.pack(root, tmp_path, tmp_path / "o", limit=MB, present=(), python="", machine="", wheels=False)


def test_what_the_machine_has_is_not_fetched(tmp_path: Path) -> None:
    """pip itself, without an index: of one wheel and what that needs, the placeholder is taken and not kept."""
    for name, needs in {"outer": ["torch>=2", "inner"], "inner": []}.items():
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            lines = [f"Requires-Dist: {one}" for one in needs]
            archive.writestr(f"{name}-1.0.dist-info/METADATA", "\n".join([f"Name: {name}", "Version: 1.0", *lines, ""]))
            archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(tmp_path))
        (tmp_path / "out").mkdir()
        found = pack.download(["outer"], tmp_path / "out", ["torch", "numpy==2.1"], "3.12", "x86_64")
        assert [path.name for path in found] == ["inner-1.0-py3-none-any.whl", "outer-1.0-py3-none-any.whl"]
        with pytest.raises(parts.PartError, match=r"pip install failed: ERROR: .*nowhere"):
            pack.download(["nowhere"], tmp_path / "out", [], "3.12", "x86_64")
    with pytest.raises(parts.PartError, match="say nowhere==VERSION"):
        pack.placeholder(tmp_path, "nowhere")


def test_wheels_that_came_are_installed_with_the_entry_points_of_the_checkout(tmp_path: Path) -> None:
    wheel = tmp_path / "stock/wheels/tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "x = 1\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    site = gpu_campaign.install(parts.Stock(tmp_path / "stock"), tmp_path / "site")
    assert (site / "tiny.py").read_text() == "x = 1\n"
    from importlib.metadata import PathDistribution

    metadata = PathDistribution(next(site.glob("kdbench-*.dist-info")))
    assert {point.name for point in metadata.entry_points if point.group == "kdbench"} >= {"builtin", "nrd"}


# What it measures itself.


def measured(what: str, tmp_path: Path) -> dict[str, dict[str, object]]:
    measure.main([what, "--suite", str(HERE / "tiny.toml"), "--device", "cpu", "--data", str(tmp_path),
                  "--runs", str(tmp_path / "runs"), "--rows", str(tmp_path / "rows.json"), "--tiny"])  # fmt: skip
    found: dict[str, dict[str, object]] = json.loads((tmp_path / "rows.json").read_text())
    return found


def test_all_tasks_are_compared(tmp_path: Path) -> None:
    rows = measured("agreement", tmp_path)
    assert list(rows) == ["clean", "calibration", "pgd", "transfer"]
    assert all(row["verdict"] == "agrees" and row["examples_that_differ"] == 0 for row in rows.values())


def test_a_gap_beyond_rounding_is_no_agreement() -> None:
    def result(values: dict[str, float], correct: list[bool]) -> TaskResult:
        scores = [
            Score(task="t", condition="clean", metric=name, value=value, n=2, ci_low=0, ci_high=9, unit="nats")
            for name, value in values.items()
        ]
        return TaskResult(scores, [], {"correct": torch.tensor(correct), "index": torch.arange(2)}, {}, 1.0)

    cpu = result({"accuracy": 0.5, "nll": 8.0}, [True, False])
    near = measure.compared(cpu, result({"accuracy": 0.505, "nll": 8.07}, [True, True]))
    assert near["verdict"] == "agrees" and near["examples_that_differ"] == 1 and near["examples"] == 2
    assert near["largest_gap"] == pytest.approx(0.07 / 8) and near["largest_gap_of"] == "nll {}"
    assert measure.compared(cpu, result({"accuracy": 0.52, "nll": 8.0}, [True, False]))["verdict"] == "differs"
    assert measure.compared(cpu, result({"accuracy": 0.5}, [True, False]))["verdict"] == "differs"


def test_the_pace_is_that_of_the_student_and_the_teacher(tmp_path: Path) -> None:
    rows = measured("throughput", tmp_path)
    assert list(rows) == ["wrn-10-1"]  # both, in the tiny suite; nothing is compiled on a CPU
    assert rows["wrn-10-1"]["images"] == 60 and float(str(rows["wrn-10-1"]["images_per_second"])) > 0


# All of it.


def campaign(root: Path, tmp_path: Path, number: int, *more: str) -> subprocess.Popen[bytes]:
    """A call with folders of its own; what it says goes to ``said-<number>``."""
    command = [
        sys.executable, str(root / "tools/gpu_campaign.py"), "--tiny", "--minutes", "20", "--work",
        str(tmp_path / f"work-{number}"), "--out", str(tmp_path / f"out-{number}"), "--parts", str(tmp_path / "pack"),
        "--only", "images", "reference", *more,
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with (tmp_path / f"said-{number}").open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment)


def has_resume_state(out: Path) -> bool:
    for path in out.glob("state-*-1"):
        with contextlib.suppress(FileNotFoundError):
            return b"resume.pt" in path.read_bytes()
    return False


def seconds_of_epochs(work: Path) -> list[float]:
    [folder] = (work / "runs/campaign-tiny/trainings").glob("ce-*[!k]")
    return [entry["seconds"] for entry in read_log(folder)]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the tarball is that of a git checkout")
def test_a_campaign_from_a_tarball_killed_in_a_training_goes_on_elsewhere(tmp_path: Path) -> None:
    strip(tmp_path / "images/cifar10", "test.cat.00", 2)
    packed = pack.pack(
        ROOT, tmp_path / "images", tmp_path / "pack", limit=3 * MB, present=(), python="", machine="", wheels=False
    )
    with tarfile.open(packed[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    first = campaign(tmp_path / "kdbench", tmp_path, 1)
    while first.poll() is None and not has_resume_state(tmp_path / "out-1"):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, (tmp_path / "said-1").read_text()
    assert len(list((tmp_path / "out-1").iterdir())) <= 8

    second = campaign(tmp_path / "kdbench", tmp_path, 2, "--resume", str(tmp_path / "out-1"))
    assert second.wait() == 0, (tmp_path / "said-2").read_text()
    assert "reference: done" in (tmp_path / "out-2/log.txt").read_text()
    # The first epoch was not done again: its time is that of the first call.
    before, after = seconds_of_epochs(tmp_path / "work-1"), seconds_of_epochs(tmp_path / "work-2")
    assert len(after) == 6 and after[0] == before[0]


def test_results_are_taken_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work_folder(tmp_path / "work")
    rows = {"pgd": {"ratios/PGD [cuda]": {"ratio": 9}}, "throughput": {"wrn-16-2": {"images_per_second": 7}}}
    (tmp_path / "work/results.json").write_text(json.dumps({"rows": rows}))
    outbox.Outbox(tmp_path / "work", tmp_path / "out", pytest.fail).refresh()
    file = tmp_path / "root/tools/data/benchmarks.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"ratios": {"old": {"ratio": 1}}}')
    monkeypatch.setattr(gpu_campaign, "ROOT", tmp_path / "root")
    monkeypatch.setattr(
        sys, "argv", ["gpu_campaign.py", "collect", "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    )
    assert gpu_campaign.main() == 0
    assert relative(tmp_path / "runs") == {"s/ce/1234/predictions.npz", "s/ce/1234/record.json"}
    assert json.loads(file.read_text()) == {"ratios": {"old": {"ratio": 1}, "PGD [cuda]": {"ratio": 9}}}
