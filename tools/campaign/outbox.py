"""What comes out of a call, and goes into the next: at most eight files, each whole at any moment.

``log.txt`` and ``results.json`` are what was found. ``records.tar.gz`` holds finished runs without their networks.
``networks.tar`` and ``state-*`` are what unfinished work goes on from: trained networks that it needs, measurements,
and the resume states of trainings. A network of a finished run is needed no more and does not come out.

A resume state may be larger than a file. State is therefore one stream in slices; the next generation is written
beside the last one, which goes when the new one is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kdbench.files import of_one_moment, stamp
from kdbench.sealed import MISSING, PARTS, SUMS, DamagedError, faults, sums_of

FILE_BYTES = 16 * 2**20
TOTAL_BYTES = 63 * 2**20
SLICES = 2
HEADER = 4096
LOG, RESULTS, RECORDS, NETWORKS = "log.txt", "results.json", "records.tar.gz", "networks.tar"
KEPT_OF_A_TRAINING = ("checkpoint.safetensors", "log.jsonl", "softmax.npz", SUMS)

Unit = tuple[Path, ...]
"""Files that are of use together only."""


class Outbox:
    """Keeps the folder ``out`` what the folder ``work`` says."""

    def __init__(self, work: Path, out: Path, say: Callable[[str], None]) -> None:
        self._work, self._out, self._say = work, out, say
        self._seen: dict[str, object] = {}
        self._left_out: set[str] = set()
        out.mkdir(parents=True, exist_ok=True)
        for torn in out.glob(".*.torn"):
            torn.unlink()

    def refresh(self) -> None:
        """Write what has changed."""
        for name in (LOG, RESULTS):
            if (self._work / name).exists():
                self._put(name, (self._work / name).read_bytes()[-FILE_BYTES:])
        # A training that ends meanwhile takes its resume state away, or changes it again: the next time, then.
        with contextlib.suppress(FileNotFoundError):
            self._runs()

    def _runs(self) -> None:
        finished, unfinished = runs(self._work / "runs")
        self._archive(RECORDS, [tuple(_record_files(folder)) for folder in finished], FILE_BYTES)
        networks = sorted(trained(self._work / "runs", finished), key=_bytes, reverse=True)
        networks, more = _fitting(networks, FILE_BYTES)
        self._archive(NETWORKS, networks, FILE_BYTES)
        self._state([*more, *filter(None, map(measured, unfinished)), *training(self._work / "runs")])

    def _put(self, name: str, content: bytes) -> None:
        digest = hashlib.sha256(content).digest()
        if self._seen.get(name) != digest:
            torn = self._out / f".{name}.torn"
            torn.write_bytes(content)
            os.replace(torn, self._out / name)
            self._seen[name] = digest

    def _archive(self, name: str, units: Sequence[Unit], limit: int) -> None:
        if self._changed(name, units):
            kept, out = _fitting(units, limit)
            self._note(out)
            self._put(name, self._packed(kept, "w:gz" if name.endswith("gz") else "w"))

    def _state(self, units: Sequence[Unit]) -> None:
        """The state of unfinished work: generation after generation, under one of two letters."""
        if not self._changed("state", units):
            return
        rest = sum(file.stat().st_size for file in self._out.iterdir() if not file.name.startswith("state-"))
        kept, out = _fitting(units, min(SLICES * (FILE_BYTES - HEADER), TOTAL_BYTES - rest))
        self._note(out)
        content = self._packed(kept, "w")
        old = list(self._out.glob("state-*"))
        generation = max((slice_of(path)[0]["generation"] for path in old), default=0) + 1
        size = FILE_BYTES - HEADER
        slices = [content[start : start + size] for start in range(0, len(content), size)]
        about = {"generation": generation, "slices": len(slices), "sha256": hashlib.sha256(content).hexdigest()}
        for number, payload in enumerate(slices):
            header = json.dumps({**about, "slice": number}).encode() + b"\n"
            self._put(f"state-{'ab'[generation % 2]}-{number + 1}", header + payload)
        for path in old:
            if slice_of(path)[0]["generation"] != generation:
                path.unlink()
                self._seen.pop(path.name, None)

    def _changed(self, name: str, units: Sequence[Unit]) -> bool:
        stamp = [(str(path), path.stat().st_mtime_ns) for unit in units for path in unit if path.exists()]
        changed = self._seen.get(f"{name} from") != stamp
        self._seen[f"{name} from"] = stamp
        return changed

    def _packed(self, units: Sequence[Unit], mode: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # one of two literals
            for path, content in (found for unit in units for found in _of_one_moment(unit)):
                member = tarfile.TarInfo(path.relative_to(self._work).as_posix())
                member.size, member.mtime = len(content), int(path.stat().st_mtime)
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    def _note(self, left_out: Sequence[Unit]) -> None:
        for unit in left_out:
            name = unit[0].parent.relative_to(self._work).as_posix()
            if name not in self._left_out:
                self._left_out.add(name)
                self._say(f"{name} does not fit the files that come out: on another machine it is done again")


def _of_one_moment(unit: Unit) -> list[tuple[Path, bytes]]:
    """Files and what they hold; a list of sums is of these files alone. Raises ``FileNotFoundError`` where they change
    faster than they are read."""
    taken = of_one_moment(lambda: [stamp(path) for path in unit], lambda _: {path: path.read_bytes() for path in unit})
    if taken is None:
        raise FileNotFoundError(unit[0])
    found = taken[1]
    for path in unit:
        if path.name == SUMS:
            names = [one.relative_to(path.parent).as_posix() for one in unit if one != path]
            with contextlib.suppress(DamagedError):  # as it is: whoever goes on finds it out
                found[path] = sums_of(found[path], path, names)
    return list(found.items())


def restore(source: Path, work: Path) -> list[str]:
    """Unpack what an earlier call left into ``work``; what could not be read, in words."""
    faults = []
    for name in (LOG, RESULTS):
        if (source / name).exists():
            (work / name).write_bytes((source / name).read_bytes())
    for name in (RECORDS, NETWORKS):
        if (source / name).exists():
            faults += _extract((source / name).read_bytes(), name, work)
    generations: dict[int, dict[int, bytes]] = {}
    digests: dict[int, str] = {}
    for path in sorted(source.glob("state-*")):
        try:
            about, payload = slice_of(path)
        except ValueError:
            faults.append(f"{path.name} is damaged")
            continue
        generations.setdefault(about["generation"], {})[about["slice"]] = payload
        digests[about["generation"]] = about["sha256"]
    for generation, slices in sorted(generations.items()):  # of two whole ones the newer has the last word
        content = b"".join(slices[number] for number in sorted(slices))
        if hashlib.sha256(content).hexdigest() == digests[generation]:
            faults += _extract(content, f"state, generation {generation}", work)
        else:
            faults.append(f"state, generation {generation}, is not whole")
    return [*faults, *_damaged(work)]


def _damaged(work: Path) -> Iterator[str]:
    """Files that are not what the list beside them admits: kdbench sets them aside, and makes them again."""
    for sums in sorted((work / "runs").rglob(SUMS)):
        for name, what in faults(sums.parent).items():
            if what != MISSING:
                yield f"{(sums.parent / name).relative_to(work)} {what}"


def _extract(content: bytes, name: str, work: Path) -> list[str]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(work, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        return [f"{name} is damaged: {error}"]
    return []


def slice_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and content of a slice of the state. Raises ``ValueError`` for a file that is none."""
    header, _, payload = path.read_bytes().partition(b"\n")
    about: dict[str, Any] = json.loads(header)
    return about, payload


def runs(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders of finished runs, and of runs that are under way."""
    all_runs = [path for path in sorted(folder.glob("*/*/*")) if path.is_dir() and path.parent.name != "trainings"
                and path.parents[1].name != "studies"]  # fmt: skip
    finished = [path for path in all_runs if (path / "record.json").exists()]
    return finished, [path for path in all_runs if path not in finished]


def trained(folder: Path, finished: Sequence[Path]) -> Iterator[Unit]:
    """Trained networks that unfinished work may need: all but the students of finished runs."""
    done = {
        student["training"]
        for run in finished
        for student in json.loads((run / "record.json").read_text())["hashes"]["students"].values()
    }
    for checkpoint in sorted(folder.glob("*/trainings/*/checkpoint.safetensors")):
        if checkpoint.parent.name.rpartition("-")[2] not in done:
            yield tuple(path for name in KEPT_OF_A_TRAINING if (path := checkpoint.with_name(name)).exists())


def training(folder: Path) -> list[Unit]:
    """Trainings under way, the one with most epochs behind it first."""
    units = [
        (resume, log, *_sums(resume.parent))
        for resume in folder.glob("*/trainings/*/resume.pt")
        if (log := resume.with_name("log.jsonl")).exists() and not resume.with_name("checkpoint.safetensors").exists()
    ]
    return sorted(units, key=lambda unit: -unit[1].read_bytes().count(b"\n"))


def measured(run: Path) -> Unit:
    """What a run under way has measured; () where that is nothing."""
    files = [path for path in sorted((run / PARTS).rglob("*.*")) if not path.name.startswith(".")]
    return (*files, *_sums(run)) if files else ()


def _sums(folder: Path) -> list[Path]:
    return [path for path in [folder / SUMS] if path.exists()]


def _record_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix != ".safetensors" and not path.name.startswith("."):
            yield path


def _bytes(unit: Unit) -> int:
    return sum(1536 + path.stat().st_size for path in unit)


def _fitting(units: Sequence[Unit], limit: int) -> tuple[list[Unit], list[Unit]]:
    """Those that fit one archive of that many bytes, in order, and the others."""
    kept: list[Unit] = []
    out: list[Unit] = []
    room = limit - 20480  # the end of an archive, and headers
    for unit in units:
        size = _bytes(unit)
        (kept if size <= room else out).append(unit)
        room -= size if size <= room else 0
    return kept, out
