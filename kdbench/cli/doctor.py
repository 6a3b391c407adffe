"""``kdbench doctor``: everything that kdbench needs, examined."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kdbench.cli import examinations
from kdbench.cli.app import app
from kdbench.cli.examinations import Diagnosis
from kdbench.cli.listing import listing
from kdbench.cli.once import OnceCommand
from kdbench.cli.options import DataDir, Json
from kdbench.errors import KdbenchError

if TYPE_CHECKING:
    from kdbench.data import DataPlace


EXPECTED: Final = "the file that was written"
MAKE_AGAIN: Final = "run the command that made it again, which makes it again; or restore it from a copy"


@app.command("doctor", cls=OnceCommand)
def command(
    runs: Annotated[Path | None, typer.Argument(help="Folder of runs, with --verify; default: runs.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Say instead which files of a folder of runs are not as they were written.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, what is broken and how to fix it. Exit status 1 when something is broken."""
    if runs is not None and not verify:
        raise KdbenchError(f"doctor got the folder {runs}", "say --verify to look at the files of a folder of runs")
    found, said = verified(runs or Path("runs")) if verify else (examine(data_dir), "")
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in found]))
    else:
        rows = [(one.status, one.name, one.found, one.fix) for one in found]
        if rows:
            print(listing(rows, ("state", "what", "found", "how to fix it")))
        print(said or summary(found))
    raise typer.Exit(exit_status(found))


def verified(runs: Path) -> tuple[list[Diagnosis], str]:
    """What is not as it was written in a folder of runs, and a summary."""
    from kdbench.results.integrity import Count, verify

    count = Count()
    found = [
        Diagnosis(str(one.path), "broken", one.what, EXPECTED, MAKE_AGAIN)
        if one.state == "damaged"
        else Diagnosis(str(one.path), "warn", one.what, EXPECTED, "")
        for one in verify(runs, count)
    ]
    damaged = sum(one.status == "broken" for one in found)
    notes = len(found) - damaged
    return found, (
        f"{runs}: {count.folders} folders, {count.files} files with a hash, {damaged or 'none'} damaged, "
        f"{notes or 'no'} note{'s' * (notes != 1)}"
    )


def examine(data_place: DataPlace | str | os.PathLike[str] | None = None) -> list[Diagnosis]:
    """Examine everything that kdbench needs. Never raises: an examination that fails is a broken finding.

    Args:
        data_place: where data are, or the folder with the user's own data; None: from the environment.
    """
    everything: list[tuple[str, Callable[[], Iterable[Diagnosis]]]] = [
        ("python", examinations.python),
        ("dependencies", examinations.dependencies),
        ("extras", examinations.extras),
        ("torchvision operators", examinations.torchvision),
        ("device", examinations.device),
        ("bfloat16", examinations.bfloat16),
        ("agreement", examinations.agreement),
        ("threads", examinations.threads),
        ("torchattacks module", examinations.torchattacks),
        ("autoattack module", examinations.autoattack),
        ("robustbench module", examinations.robustbench),
        ("cache", partial(examinations.cache, data_place)),
        ("plugins", examinations.plugins),
        ("datasets", partial(examinations.datasets, data_place)),
    ]
    return [one for name, examination in everything for one in isolated(name, examination)]


def summary(found: Sequence[Diagnosis]) -> str:
    """How many findings of each kind, and what that means.

    >>> summary([Diagnosis("python", "ok", "3.11", ">=3.11"), Diagnosis("disk", "warn", "1 GiB", "5 GiB", "free some")])
    'kdbench works here: 1 ok, 1 warning, nothing broken'
    """
    broken = [one.name for one in found if one.status == "broken"]
    warned = sum(one.status == "warn" for one in found)
    verdict = "kdbench is broken here" if broken else "kdbench works here"
    counts = f"{len(found) - warned - len(broken)} ok, {warned} warning{'s' * (warned != 1)}"
    named = f"{len(broken)} broken: {', '.join(broken)}" if broken else "nothing broken"
    return f"{verdict}: {counts}, {named}"


def exit_status(found: Iterable[Diagnosis]) -> int:
    """1 when anything is broken, else 0."""
    return int(any(one.status == "broken" for one in found))


def isolated(name: str, examination: Callable[[], Iterable[Diagnosis]]) -> Sequence[Diagnosis]:
    """What an examination finds; whatever it raises is a finding too."""
    try:
        return list(examination())
    except KdbenchError as error:
        return [Diagnosis(name, "broken", error.message, "no error", error.hint)]
    except (Exception, SystemExit) as error:  # a broken installation may raise anything
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [Diagnosis(name, "broken", found, "no error", "reinstall what the message names, then look again")]
