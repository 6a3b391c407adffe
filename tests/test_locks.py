from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import Timeout

from kdbench import locks
from kdbench.errors import KdbenchError
from kdbench.files import WriteError
from kdbench.locks import is_locked, locked, owned

HOLD = """
import sys, time
from pathlib import Path
from kdbench.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "x.lease"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.05)


def taken(holder: str) -> KdbenchError:
    return KdbenchError(f"held by {holder}")


def test_one_holder_at_a_time(lease: Path) -> None:
    with locked(lease):
        assert is_locked(lease)
        with pytest.raises(KdbenchError, match=f"held by process {os.getpid()} on "), owned(lease, taken):
            pass
    assert not is_locked(lease)
    with owned(lease, taken):
        assert is_locked(lease)


def test_a_second_one_says_that_it_waits_and_follows(lease: Path, quick: None) -> None:
    said: list[str] = []
    order: list[str] = []
    told = threading.Event()

    def waiting(holder: str) -> None:
        said.append(holder)
        told.set()

    def second() -> None:
        with locked(lease, waiting):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(lease):
        thread.start()
        assert told.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert said[0].startswith(f"process {os.getpid()} on ")


def test_a_holder_that_was_killed_is_seen_at_once(lease: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lease)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    assert is_locked(lease)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert lease.exists()
    with owned(lease, taken):
        pass


def foreign(lease: Path) -> None:
    """The mark of a process on a machine that nobody can ask."""
    lease.parent.mkdir()
    with locked(lease):
        mark = lease.read_text()
    pid, host = f"pid={os.getpid()}\n", next(line for line in mark.splitlines(True) if line.startswith("host="))
    assert pid in mark
    lease.write_text(mark.replace(host, "host=elsewhere\n"))


def test_a_silent_holder_on_another_machine_loses_its_lease(lease: Path, quick: None) -> None:
    foreign(lease)
    said: list[str] = []
    with locked(lease, said.append):
        assert is_locked(lease)
    assert said == [f"process {os.getpid()} on elsewhere"]


def test_a_holder_on_another_machine_that_is_heard_of_keeps_its_lease(lease: Path, quick: None) -> None:
    foreign(lease)
    waiting = locks._lease(lease)
    for _ in range(5):
        time.sleep(0.1)
        os.utime(lease)
        with pytest.raises(Timeout):
            waiting.acquire(timeout=0)


def test_a_holder_that_died_before_it_wrote_its_name(lease: Path, quick: None) -> None:
    lease.parent.mkdir()
    lease.touch()
    with locked(lease):
        assert is_locked(lease)


def test_waiting_has_a_limit_and_says_for_whom(lease: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_WAIT_HOURS", "0.0001")
    said: list[str] = []
    limit = pytest.raises(KdbenchError, match=rf"is still held by process {os.getpid()} .*waited for")
    with locked(lease), limit, locked(lease, said.append):
        pass
    assert len(said) == 1


@pytest.mark.parametrize("text", ["a day", "-1", "nan"])
def test_a_limit_that_is_no_number_of_hours_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KDBENCH_WAIT_HOURS", text)
    with pytest.raises(KdbenchError, match=f"KDBENCH_WAIT_HOURS is '{text}'"):
        locks.wait_seconds()


def test_what_a_link_points_to_is_not_emptied(lease: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    lease.parent.mkdir()
    lease.symlink_to(target)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.1)
    with locked(lease):  # a link is no process's: after two seconds it is taken over
        assert target.read_text() == "mine"
    assert target.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="another user needs root")
def test_another_user_of_a_shared_folder_waits(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o755)
    shared.chmod(0o777)
    before = os.umask(0o077)
    try:
        child = 0
        with locked(shared / "x.lease"):
            child = os.fork()
            if child == 0:
                os._exit(_try_as_another(shared / "x.lease"))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    finally:
        os.umask(before)


def _try_as_another(lease: Path) -> int:
    """7 where the lease is held, as seen by a user who may not read it."""
    os.setgid(65534)
    os.setuid(65534)
    try:
        with owned(lease, taken):
            return 0
    except KdbenchError as error:
        return 7 if str(error).startswith("held by ") else 1
    except BaseException:
        return 1


def test_a_folder_that_takes_no_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot write .*x.lease: "), locked(tmp_path / "file" / "x.lease"):
        pass
