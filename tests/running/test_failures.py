"""A method that raises is a failed record, and the next call goes on where it broke off."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torch import Tensor, nn

import kdbench
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import Plugins
from kdbench.results.record import Record, read_record
from kdbench.running.options import broke_off
from kdbench.running.runner import record_path, run


class Fragile(kdbench.Method):
    """Cross-entropy that raises in its second epoch as long as ``failure`` is set."""

    failure: BaseException | None = None
    epochs: tuple[int, ...] = ()

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        Fragile.epochs += (ctx.epoch,)
        if ctx.epoch == 1 and Fragile.failure is not None:
            raise Fragile.failure

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


@pytest.fixture
def fragile(staged: Plugins) -> type[Fragile]:
    staged.methods.add("fragile", kdbench.method("fragile")(Fragile), "test")
    Fragile.failure, Fragile.epochs = None, ()
    return Fragile


def attempt(tiny_suite: Path, out: Path) -> Record:
    return run(str(tiny_suite), "fragile", tasks=["clean"], conditions=["clean"], out=out)


@pytest.mark.parametrize(
    ("failure", "said"),
    [(RuntimeError("no\nsuch thing"), "no"), (AssertionError(), "AssertionError"), (SystemExit(0), "0")],
    ids=["exception", "assertion", "exit"],
)
def test_what_a_method_raises_is_in_the_record(
    tiny_suite: Path, tmp_path: Path, fragile: type[Fragile], failure: BaseException, said: str
) -> None:
    fragile.failure = failure
    record = attempt(tiny_suite, tmp_path)
    assert (record.status, record.error) == ("failed", f"condition clean: {type(failure).__name__}: {said}")
    assert record.scores == []
    path = record_path(record, tmp_path)
    assert read_record(path) == record
    assert broke_off(path.parent)
    assert "in on_epoch_start" in path.with_name("traceback.txt").read_text()


@pytest.mark.parametrize("failure", [MemoryError(), RuntimeError("not enough memory: you tried to allocate 9 bytes")])
def test_too_little_memory_is_a_failed_record_that_says_what_to_do(
    tiny_suite: Path, tmp_path: Path, fragile: type[Fragile], failure: BaseException
) -> None:
    fragile.failure = failure
    record = attempt(tiny_suite, tmp_path)
    assert (record.status, record.error) == (
        "failed",
        "condition clean: NotEnoughMemoryError: cpu is out of memory in epoch 2 with batches of 20: use a device with "
        "more, or --set recipe.batch_size=N, which is another setting",
    )
    assert broke_off(record_path(record, tmp_path).parent)


def test_the_next_call_goes_on_from_the_last_epoch(tiny_suite: Path, tmp_path: Path, fragile: type[Fragile]) -> None:
    fragile.failure = RuntimeError("not today")
    failed = attempt(tiny_suite, tmp_path)
    fragile.failure, fragile.epochs = None, ()
    record = attempt(tiny_suite, tmp_path)
    assert (record.status, record.run_id) == ("finished", failed.run_id)
    assert 0 not in fragile.epochs[fragile.epochs.index(1) :]
    folder = record_path(record, tmp_path).parent
    assert not broke_off(folder)
    log = [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log == [1, 2, 3]


def test_a_mistake_of_the_user_and_an_interruption_leave_no_record(
    tiny_suite: Path, tmp_path: Path, fragile: type[Fragile]
) -> None:
    for failure in (KdbenchError("the disk is full"), KeyboardInterrupt()):
        fragile.failure = failure
        with pytest.raises(type(failure)):
            attempt(tiny_suite, tmp_path)
    assert not list(tmp_path.rglob("record.json"))


def test_a_method_that_hangs_is_ended_and_its_record_says_so(
    tiny_suite: Path, tmp_path: Path, fragile: type[Fragile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(self: Fragile, ctx: kdbench.Context) -> None:
        while ctx.epoch == 1:
            with contextlib.suppress(Exception):  # it would hide any of these
                time.sleep(0.01)

    monkeypatch.setattr(fragile, "on_epoch_start", hang)
    record = run(str(tiny_suite), "fragile", tasks=["clean"], conditions=["clean"], out=tmp_path, timeout=0.05)
    assert record.status == "failed"
    assert record.error == "it took longer than the 0.05 minutes that --timeout allows"
    assert broke_off(record_path(record, tmp_path).parent)
    monkeypatch.undo()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_a_mistake(tiny_suite: Path, tmp_path: Path, timeout: float) -> None:
    with pytest.raises(KdbenchError, match=f"timeout is {timeout} .give minutes above 0"):
        run(str(tiny_suite), "ce", tasks=["clean"], out=tmp_path, timeout=timeout)


def test_no_limit_outside_the_main_thread(tiny_suite: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(KdbenchError, match="needs a POSIX system and .* main thread"):
        pool.submit(run, str(tiny_suite), "ce", tasks=["clean"], out=tmp_path, timeout=1).result()
