"""What nodes and those who ask for them tell each other."""

from __future__ import annotations

import socket
import time

import pytest

from kdbench.running.isolated.messages import received, send


def test_messages_arrive_in_order_and_half_of_one_is_none() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            send(theirs, {"pid": 1})
            theirs.sendall(b'{"answer": {"res')  # of a process that was killed as it wrote
            send(theirs, {"ended": {"status": -9}})
        assert list(received(ours)) == [{"pid": 1}, {"ended": {"status": -9}}]


def test_whoever_listens_may_have_a_limit() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        next(received(ours, time.monotonic()))
