"""SLURM's own commands: whether it answers, what is in its queue, what became of a job, what its machines see."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdbench.errors import KdbenchError
from kdbench.progress import say

if TYPE_CHECKING:
    from kdbench.studies.executors.slurm import SlurmSettings

COMMAND_SECONDS: Final = 60
PROBE_SECONDS: Final = 30
"""How long a machine is waited for that says whether it sees a folder."""
WHERE: Final = "partition", "account", "qos", "reservation", "constraint"
"""Options that say which machines are meant."""
HINT: Final = "submit from a machine of the cluster, where `sinfo` shows it"


def command(*words: str, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run one of SLURM's commands. Raises ``KdbenchError`` where it isn't here, or gives no answer in time."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise KdbenchError(f"executor slurm: no command {words[0]} here", HINT) from None
    except subprocess.TimeoutExpired:
        raise KdbenchError(f"executor slurm: {words[0]} gave no answer for {seconds:.0f} s", HINT) from None


def check_reachable() -> None:
    """Raise ``KdbenchError`` unless jobs can be submitted here and now."""
    for name in ("sbatch", "srun", "squeue"):
        if shutil.which(name) is None:
            raise KdbenchError(f"executor slurm: no command {name} here", HINT)
    in_queue({getpass.getuser()})


def in_queue(users: Collection[str]) -> dict[str, str]:
    """Every waiting and running job of some users: id to state, one for each job of an array.

    Raises:
        KdbenchError: SLURM doesn't answer.
    """
    return {job: state for job, state, _ in _queue(users)}


def ids_of(name: str, user: str) -> set[str]:
    """Ids of the arrays and jobs of that name in the queue."""
    return {job.partition("_")[0] for job, _, found in _queue({user}) if found == name}


def _queue(users: Collection[str]) -> list[tuple[str, str, str]]:
    if not users:
        return []
    who = ",".join(sorted(users))
    answer = command("squeue", "--array", "--noheader", f"--user={who}", "--format=%i|%T|%j")
    if answer.returncode:
        raise KdbenchError(f"executor slurm: squeue says: {in_a_line(answer.stderr)}", "is SLURM's controller up?")
    return [(job, state, name) for job, state, name in (line.split("|", 2) for line in answer.stdout.splitlines())]


def fate(job: str) -> str:
    """How a job that has left the queue ended, in SLURM's word; "unknown" where it keeps no accounts."""
    for words, prefix in (
        (("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State"), ""),
        (("scontrol", "--oneliner", "show", "job", job), "JobState="),
    ):
        try:
            answer = command(*words)
        except KdbenchError:
            continue
        found = [word.removeprefix(prefix) for word in answer.stdout.split() if word.startswith(prefix)]
        if answer.returncode == 0 and found:
            return found[0]
    return "unknown"


def check_shared(folder: Path, settings: SlurmSettings) -> None:
    """Raise ``KdbenchError`` where a machine of the cluster says that it doesn't see a folder.

    Where none is free to be asked, a line on standard error says so.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    flags = {"partition": settings.partition, "account": settings.account, **settings.sbatch}
    given = [f"--{name}={flags[name]}" for name in WHERE if flags.get(name)]
    try:
        answer = command(
            "srun", "--quiet", "--ntasks=1", "--time=1", f"--immediate={PROBE_SECONDS}", *given,
            "sh", "-c", '[ -e "$0" ] && echo seen || echo missing', str(mark),
            seconds=2 * PROBE_SECONDS + COMMAND_SECONDS,
        )  # fmt: skip
    finally:
        mark.unlink()
    if "missing" in answer.stdout:
        raise KdbenchError(
            f"the cluster's machines don't see the folder {folder}", "name a folder that they share with --out"
        )
    if "seen" not in answer.stdout:
        why = in_a_line(answer.stderr) or f"srun ended with status {answer.returncode}"
        say([f"no machine of the cluster could be asked whether it sees {folder}: {why}"])


def in_a_line(text: str) -> str:
    """What a command said."""
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
