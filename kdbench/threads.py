"""How the threads of an operation wait for each other, on the command line and in a study's workers."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Environment variables by which a user says how OpenMP's threads wait: GNU's runtime reads the first two, LLVM's and
Intel's the first and the last two."""


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads that wait sleep instead of spin, by a process's environment before it imports torch.

    By default they spin on their cores, which is time that other programs do not get, and that these threads lose in
    turn when the machine is shared. What is computed stays the same. Nothing is set where the user set anything.

    Measured with 2 threads on 2 virtual cores (AMD EPYC), alternating. Shared, at a load of 13 to 17: a training of
    15, 64 and 101 s spinning took 12, 17 and 22 s asleep; the runs 38, 47 and 62 s of processor time, and 15 each. With
    both cores to itself (real-time priority): a step of 54 ms (sd 9, n = 4) spinning, 57 ms (sd 10) asleep: no cost
    that shows. GOMP_SPINCOUNT=20000 was between the two. Where a process has a higher priority than others on a full
    machine, it is quicker spinning: 68 ms against 163 (n = 5).
    """
    if not any(name in environment for name in SETTINGS):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
