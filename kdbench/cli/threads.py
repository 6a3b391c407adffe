"""How the threads of an operation wait for each other on the command line."""

from __future__ import annotations

import os

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables by which a user says how OpenMP's threads wait: GNU's runtime reads the first two, LLVM's and
Intel's the first and the last two."""


def wait_asleep() -> None:
    """Let threads that wait sleep instead of spin; must be called before torch is imported.

    By default they spin on their cores, which is time that other programs do not get, and that these threads lose in
    turn when the machine is shared. What is computed stays the same. Nothing is set where the user set anything.
    """
    if not any(name in os.environ for name in SETTINGS):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
