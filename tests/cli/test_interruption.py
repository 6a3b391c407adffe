"""SIGTERM ends a command as Ctrl-C does, where nobody else has a use for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from kdbench.cli.interruption import Terminated, end_by_sigterm, last_words


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Terminated, "came", False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_raises_what_ctrl_c_raises() -> None:
    assert last_words()[1] == 130
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_by_sigterm()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert last_words() == (
        "interrupted by SIGTERM: run the same command again to go on from the last whole epoch",
        143,
    )


@pytest.mark.parametrize("taken", [signal.SIG_IGN, lambda number, frame: None])
def test_a_handler_that_is_there_stays(taken: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, taken)
    end_by_sigterm()
    assert signal.getsignal(signal.SIGTERM) is taken
