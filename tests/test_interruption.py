"""An interruption that comes where Python drops it ends a process all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

DROPPED = """
import os, select, signal, sys, weakref
from kdbench.interruption import heed_lost

heed_lost()
for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
    signal.signal(number, signal.default_int_handler)

def interrupted(*_):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    for _ in range(1000):
        pass

class Dropped:
    if sys.argv[1] == "__del__":
        __del__ = interrupted

one = Dropped()
callback = weakref.ref(one, interrupted) if sys.argv[1] == "weakref" else None
del one
try:
    print("goes on", flush=True)
    select.select([], [], [], 60)
except KeyboardInterrupt:
    print("ends")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("place", ["__del__", "weakref"])
def test_a_dropped_interruption_comes_again(place: str, name: str) -> None:
    command = [sys.executable, "-c", DROPPED, place, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("goes on\nends\n", "")
