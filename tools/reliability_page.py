"""docs/reliability.md: what was done to kdbench's runs, and what came of it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from tools.markdown import cell, prose, table

RESULTS = Path(__file__).parent / "data/faults.json"
BENCHMARKS = Path(__file__).parent / "data/benchmarks.json"
ISOLATED = ", in a process of its own"
"""End of the name of a benchmark that compares it with none."""

HEAD = """# Reliability

A result counts for nothing if it may have been read from a damaged file. These are the promises, and what was tried to
break them.
"""

PROMISES = """
- **Each folder knows its files.** `SHA256SUMS` in the folder of a training and of a run says what each file must
  hold. It is written with them, before they appear, and checked when they are read. `kdbench doctor --verify runs`
  checks all of them; `sha256sum -c SHA256SUMS` does in one folder. What is damaged is named and set aside as
  `<name>.damaged`, and the command that made it makes it again; readers refuse it.
- **A kill at any instant loses an epoch or a task at most.** Files appear whole. Between any two writes each file is
  the old one or the new one, and both are admitted, so that an interruption is never taken for damage, nor damage for
  an interruption. Folders are flushed after renames.
- **`--fresh` drops nothing before the new run is whole.** It works in `again/` within the folder; the finished run
  stays readable, and is kept as `record.previous.json`. Interrupted, the same command goes on.
- **One process at a time works in a folder.** Another that wants the same run says whom it waits for, for a day at
  most (`KDBENCH_WAIT_HOURS`), and takes the result. A dead holder is seen, on this machine at once. No lock follows a
  link, and another user of a shared folder waits like anybody else. Files take the user's umask.
- **What the system refuses is one line**: no space, a used up quota, a folder that is read-only, a file that is too
  large.
- **Folders of earlier versions** have no `SHA256SUMS`. They are read, and checked as far as they go: form, epochs,
  the checksums of archives, the hashes in records.

Not defended: a disk that returns other bytes than it stored to whoever reads a file after its check, and a person who
changes a file and its line in `SHA256SUMS`. A forged archive of CINIC-10, of which only an MD5 is known
([data.md](data.md)). Records that are published have hashes of their evidence (`kdbench
leaderboard verify`).
"""

DEFENCE = """
## What a plugin can do, and what the badge means

A plugin is code that runs where the images are. What it leaves changed by mistake is found out, undone and named
(`kdbench/shared_state.py`); who means harm is not held back: it can read clean labels and test images from the disk, or
write what it likes into a record. No check of a record shows that. So the row of a method that no package of this
project brings is *reported* until somebody installed the method, trained one of its records again (`kdbench leaderboard
reproduce RECORD --by NAME`) and got the same: every bit on a machine like the record's, elsewhere each score within
what the intervals of both allow. Then it is *reproduced by NAME*, of the seeds that are named; who did not get the same
is named as well. That shows that the code gives these numbers, not that it is fair: who wants to know reads it. The
methods of this project are read and tested with it, so their rows say *this project's method* until then, which is said
of the code and not of who computed the record.

An attestation is a small file beside the record, held together by a hash, with the record's own hash, the name, the
machine and the versions. Not defended: whoever writes one without training anything, or under another's name. Whoever
merges it has to ask who sends it.

## A plugin shares no process with others

Code of a process shares torch, the environment and every module. So where a plugin of a third party is installed, each
run (its measurements) and each training has a process of its own. It is forked from one that has imported torch,
kdbench and kdbench's own plugins and has computed nothing; it imports the plugins that this node needs and no others,
with the threads of whoever asks. A teacher that `kd` shares with a method of yours is trained by a process that has
imported neither, and checked against what its digest stands for. What comes of it lies in the run's folder as always.
A process that dies, of too little memory or by `os._exit`, leaves a failed record that says how; `--timeout` ends one
that never returns; none outlives the command. So it is whether a method or a task does it, and the other seeds are run.
A data set that can't be loaded is one line that names it: there is no record yet, as its images are part of what a run
is called by. A tracker that fails, or hangs for longer than `--timeout`, is left out with a warning.

- With kdbench's own plugins alone, or with `--no-plugins`, everything is computed in the process of the command: that
  is as clean, and quicker. So it is with `KDBENCH_ISOLATION=off`, for a debugger. The record lists the plugins that its
  process had imported.
- `kdbench.run` in a notebook does the same, and starts the first process anew, which takes as long as to import torch.
  What does not come from an installed package, such as a method that a notebook registers itself, is computed in the
  notebook's process, beside whatever else that has imported.
- Within a process, a method that changes settings or functions of torch or kdbench fails with its name; a plugin that
  does so at import is left out, as is one that ends the process by `sys.exit` or `os._exit`. One that ends it by a
  signal, as a broken extension does, ends the command, and one line names it.
- What plugins print goes to standard error: standard output holds the answer alone.
@COST@
- `kdbench evaluate`, `leaderboard verify` and `leaderboard reproduce` are done whole by such a process, with the
  plugins that the model, the suite and the tasks name; observers of records are told by the command itself. A process
  that dies is one line, exit status 2.

Not defended: a package that acts when Python itself starts (a `.pth` file), a plugin that reaches into a run that needs
it, `kdbench.evaluate` in a notebook, `kdbench evaluate hf:...` (what it brings may need any plugin), and what compares
finished records, such as `kdbench reproduce`: all plugins are loaded there.
"""

TABLE = """
## What was tried

Each try is a whole run of a small suite, or its continuation, compared bit for bit with one that nothing happened to.
A loss is a finished file that is gone, a run that does not end, or an interruption that is called damage; a changed
bit is another score or another weight. `tox -e faults` does it all and writes this table; the tests of every change
try a share that is drawn anew.
"""


def cost() -> str:
    """What a process of its own takes, as a point of the list."""
    rows = json.loads(BENCHMARKS.read_text(encoding="utf-8"))["ratios"].values()
    isolated = {row["work"].removesuffix(ISOLATED): row for row in rows if row["work"].endswith(ISOLATED)}
    each = ", ".join(f"{row['facts']['CPU seconds more, median']} s for {work}" for work, row in isolated.items())
    text = f"What that takes more of the processor: {each} (medians; [benchmarks.md](benchmarks.md) has n and spread)."
    return textwrap.fill(text, 120, initial_indent="- ", subsequent_indent="  ")


def reliability_page() -> str:
    """The page's text."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    lines = [
        (cell(fault), cell(str(row["expected"])), str(row["tries"]), str(row["losses"]), str(row["changed"]))
        for fault, row in sorted(rows.items())
    ]
    headings = ("what happens", "what is to come of it", "tries", "losses", "changed bits")
    total = {name: sum(int(row[name]) for row in rows.values()) for name in ("tries", "losses", "changed")}
    said = prose(f"{total['tries']} tries, {total['losses']} losses, {total['changed']} with a changed bit.")
    return f"{HEAD}{PROMISES}{DEFENCE.replace('@COST@', cost())}{TABLE}\n{table(headings, lines)}\n\n{said}\n"
