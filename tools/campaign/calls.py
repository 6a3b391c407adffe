"""One call of a campaign: the steps that fit its time, each result written as it comes."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tools.campaign.outbox import LOG, RESULTS, Outbox
from tools.campaign.parts import Stock
from tools.campaign.steps import Place, Step, compiling_pays, steps, training_seconds

SHORTEST = 60.0
"""Seconds below which no resumable step is begun: it would hardly be under way."""
PATIENCE = 25.0
"""Seconds in which an interrupted step ends; then it is killed, which costs it an epoch."""
ELSEWHERE = ("device_name", "torch", "python", "facts", "largest_gap_of")
"""Columns of a row that the log leaves to the file of results."""
TAIL = 12
"""Lines of a failed step's output that the log shows."""


class Call:
    """One call: its clock, its log and its results."""

    def __init__(
        self,
        place: Place,
        stock: Stock,
        out: Path,
        seconds: float,
        environment: Mapping[str, str],
        lock: int,
        only: Collection[str] = (),
    ) -> None:
        """``lock``: a file that steps of this call hold until they end, even where the call is killed. ``only``: names
        of steps; none: all."""
        self._place, self._stock, self._lock, self._only = place, stock, lock, only
        self._environment = dict(environment)
        self._started = time.monotonic()
        self._reserve = 1.0 if place.tiny else 20.0
        self._end = self._started + seconds
        self._every = 0.5 if place.tiny else 20.0
        self._outbox = Outbox(place.work, out, self.say)
        file = place.work / RESULTS
        self.results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"steps": {}, "rows": {}}

    def say(self, text: str) -> None:
        """A line of the log, with the minutes since the call began."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        line = f"{minutes:2d}:{seconds:02d} {text}"
        print(line, flush=True)
        with (self._place.work / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    @property
    def left(self) -> float:
        """Seconds that steps may still take."""
        return self._end - self._reserve - time.monotonic()

    def work(self) -> bool:
        """Do what fits; whether everything is done, and nothing failed."""
        self.say(f"a call of {(self._end - self._started) / 60:.1f} minutes begins")
        names = [step.name for step in steps(self._place, {}) if not self._only or step.name in self._only]
        for name in names:
            # Made anew each time: later steps depend on what earlier ones measured.
            step = next(step for step in steps(self._place, self.results["rows"]) if step.name == name)
            if self._is_due(step):
                self._do(step)
            self._write()
        open_steps = [name for name in names if self._status(name) != "done"]
        self.say(f"open: {', '.join(open_steps)}" if open_steps else "everything is done")
        self._write()
        return not open_steps

    def _status(self, name: str) -> str:
        return str(self.results["steps"].get(name, {}).get("status", "open"))

    def _is_due(self, step: Step) -> bool:
        """Whether a step is to be begun now; a line says why not."""
        lacking = self._stock.lacking(step.needs)
        if step.name == "images":
            return True  # whatever has come since the last time; nothing is unpacked twice
        if self._status(step.name) == "done":
            return False
        if self._status(step.name) == "failed" and step.name not in self._only:
            self.say(f"{step.name}: failed before; --only {step.name} repeats it")
            return False
        if lacking:
            numbers = ", ".join(str(number) for number in lacking)
            self.say(f"{step.name}: not begun, part {numbers} has still to come")
            return False
        needed = SHORTEST if step.resumes and not self._place.tiny else self._expected(step)
        if self.left < needed:
            self.say(f"{step.name}: not begun, it may take {needed:.0f} s and {max(0, self.left):.0f} s are left")
            return False
        return True

    def _expected(self, step: Step) -> float:
        if self._place.tiny:
            return 0.0
        return float(self.results["steps"].get(step.name, {}).get("seconds", step.seconds))

    def _do(self, step: Step) -> None:
        self.say(f"{step.name}: {step.says}{self._pace(step)}")
        started = time.monotonic()
        output = self._place.work / "output" / f"{step.name}.txt"
        output.parent.mkdir(exist_ok=True)
        before = self._benchmarks() if step.benchmark else {}
        with output.open("ab") as file:
            file.seek(0, os.SEEK_END)
            begin = file.tell()
            process = subprocess.Popen(
                [sys.executable, *step.command], cwd=self._place.root, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, pass_fds=(self._lock,),
                preexec_fn=_die_with_parent,
            )  # fmt: skip
            stopped = self._wait(process)
        seconds = time.monotonic() - started
        status = "done" if process.returncode == 0 else "stopped" if stopped else "failed"
        row = self._row(step, before)
        if row:
            self.results["rows"][step.name] = row
        if status == "done" or not step.resumes:
            self.results["steps"][step.name] = {"status": status, "seconds": round(seconds, 1)}
        self.say(f"{step.name}: {status} after {seconds:.1f} s")
        for line in _in_words(row):
            self.say(f"    {line}")
        if status == "failed" or not row:
            text = output.read_bytes()[begin:].decode(errors="replace")
            for line in text.rstrip().splitlines()[-TAIL:]:
                self.say(f"    {line[:200]}")

    def _pace(self, step: Step) -> str:
        """How long a training is expected to take, by what was measured."""
        rows = self.results["rows"].get("throughput", {})
        row = rows.get("wrn-16-2, compiled" if compiling_pays(rows) else "wrn-16-2") or rows.get("wrn-16-2")
        if step.name != "reference" or not row or self._place.tiny:
            return ""
        seconds = training_seconds(row)
        ends = "" if seconds < self.left else ": it will go on in the next call"
        return f"; {seconds:.0f} s by the measured pace, {self.left:.0f} s are left{ends}"

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Until a step has ended; whether it was stopped because the time is up."""
        refreshed, stopped_at = time.monotonic(), None
        while process.poll() is None:
            now = time.monotonic()
            if stopped_at is None and self.left < 0:
                process.send_signal(signal.SIGINT)
                stopped_at = now
            if stopped_at is not None and now - stopped_at > PATIENCE:
                process.kill()
            if now - refreshed > self._every:
                self._write()
                refreshed = now
            time.sleep(0.05)
        return stopped_at is not None

    def _row(self, step: Step, before: Mapping[str, Any]) -> dict[str, Any]:
        """What a step has measured."""
        if step.benchmark:
            after = self._benchmarks()
            return {name: row for name, row in after.items() if before.get(name) != row}
        file = self._place.rows / f"{step.name}.json"
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _benchmarks(self) -> dict[str, Any]:
        """Rows of the benchmarks by section and name."""
        filed = json.loads((self._place.root / "tools/data/benchmarks.json").read_text())
        return {f"{section}/{name}": row for section, rows in filed.items() for name, row in rows.items()}

    def _write(self) -> None:
        torn = self._place.work / f".{RESULTS}"
        torn.write_text(json.dumps(self.results, indent=1, sort_keys=True) + "\n")
        os.replace(torn, self._place.work / RESULTS)
        self._outbox.refresh()


def _in_words(row: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, value in row.items():
        if isinstance(value, dict):
            facts = "; ".join(f"{key} {one}" for key, one in value.items() if key not in ELSEWHERE)
            lines.append(f"{name}: {facts}")
        else:
            lines.append(f"{name}: {value}")
    return lines


def _die_with_parent() -> None:
    """A step heeds SIGINT, which a shell has its background jobs ignore, and gets it when the campaign is killed, where
    the system can do that (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
