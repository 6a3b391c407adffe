"""What comes out of a call, and survives a kill at any moment."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kdbench.sealed import Sealed, faults
from tests.tools.campaign.material import KIB, put, relative, work_folder
from tools.campaign import outbox


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of kibibytes instead of mebibytes."""
    monkeypatch.setattr(outbox, "FILE_BYTES", 128 * KIB)
    monkeypatch.setattr(outbox, "TOTAL_BYTES", 504 * KIB)


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
