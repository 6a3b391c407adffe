#!/usr/bin/env python3
"""Turn half an hour of a GPU into checks, benchmark rows and records.

    python3 tools/gpu_campaign.py pack --images ../shared/data --out campaign
    python3 tools/gpu_campaign.py --minutes 28 --parts campaign --out found

The machine with the GPU may be bare: no network, and a python3 that has torch, torchvision and NumPy. What else it
needs travels. ``pack`` writes ``kdbench.tar.gz``, the checkout, and parts of at most ``--limit-mb``, one or more a
call: wheels, then the images of CIFAR-10, 98.6 MB as lossless strips and so two parts of under 60 MB, then wheels that
few steps ask for. The strips are those of ``../shared/data/cifar10``, ``<split>.<class>.<part>.webp``;
``ood_imagenet`` beside it goes along. ``--has`` names what is installed there and need not travel: with pandas, scipy,
scikit-learn, matplotlib, OpenCV and scikit-image there, wheels and images are three parts of at most 55 MB, else six.

A call does, in this order, what is not done yet and fits its minutes: the tests that need a GPU; all tasks on a fixed
network, against the CPU; the benchmarks' GPU rows; training images a second; a whole training of a WRN-16-2; and the
studies tools/campaign/*-study.toml. What waits for a part that has still to come is left for the call that brings it.
A machine that ends a command after ten minutes gets several calls, of ``--minutes 9.5``.

Results lie in ``--out`` as they come: at most eight files of 16 MiB, whole at any moment, so that the call may be
killed. The next one goes on, trainings from their last epoch: from the folder ``--work``, or on another machine from
``--resume``, the results of the call before. ``collect`` takes them home:

    python3 tools/gpu_campaign.py collect --out found --runs runs

``--tiny`` does it all with tiny networks, on a CPU. A step that failed is repeated where ``--only`` names it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # as a script's own folder, tools/ would offer its modules under the names of others

from tools.campaign.calls import Call  # noqa: E402  # after the path
from tools.campaign.outbox import RECORDS, RESULTS, restore  # noqa: E402
from tools.campaign.pack import COMMIT, pack  # noqa: E402
from tools.campaign.parts import PartError, Stock, tree_digest  # noqa: E402
from tools.campaign.steps import Place  # noqa: E402

TORCH = ("torch", "torchvision", "numpy", "pillow")
"""What every machine for kdbench has: pip need not bring it."""


def campaign(asked: argparse.Namespace) -> int:
    """One call; exit status 0 where everything is done."""
    work, out = asked.work.resolve(), asked.out.resolve()
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        faults = [] if (work / RESULTS).exists() else restore(asked.resume or out, work)
        place = Place(ROOT, work, "cpu" if asked.tiny else "cuda", asked.tiny)
        stock = Stock(work / "stock")
        taken = stock.take(asked.parts) if asked.parts else []
        site = install(stock, work / "site")
        call = Call(place, stock, out, 60 * asked.minutes, environment(place, site), lock.fileno(), asked.only)
        for line in (*faults, *(f"{name} unpacked" for name in taken)):
            call.say(line)
        state_commit(stock)
        return 0 if call.work() else 1


def install(stock: Stock, site: Path) -> Path:
    """Wheels that have come and are not installed yet, and kdbench's own metadata: the checkout is what runs."""
    site.mkdir(exist_ok=True)
    new = [path for path in sorted(stock.folder.glob("*/*.whl")) if not (site / f".{path.name}").exists()]
    if new:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile",
                   "--upgrade", "--disable-pip-version-check", "--target", str(site), *map(str, new)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PartError(f"pip cannot install the wheels: {(done.stderr.strip().splitlines() or [''])[-1]}")
        for path in new:
            (site / f".{path.name}").touch()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = site / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
              for group, entries in project["entry-points"].items()]  # fmt: skip
    (metadata / "entry_points.txt").write_text("\n".join(points))
    return site


def environment(place: Place, site: Path) -> dict[str, str]:
    """Of every step: the checkout before anything that is installed, and a cache of its own."""
    paths = [str(place.root), str(place.root / "plugins"), str(site)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "KDBENCH_DATA_DIR": str(place.data),
        "KDBENCH_CACHE_DIR": str(place.work / "cache"),
        "PYTHONUNBUFFERED": "1",
    }


def state_commit(stock: Stock) -> None:
    """Records name the commit: where the checkout came without git, the one that the parts were packed with, if its
    sources are the same."""
    manifest = stock.manifest()
    known = (ROOT / ".git").exists() or (ROOT / COMMIT).exists()
    if not known and manifest.get("commit") and manifest.get("sources") == tree_digest(ROOT):
        (ROOT / COMMIT).write_text(json.dumps(manifest["commit"]))


def collect(asked: argparse.Namespace) -> int:
    """Unpack the records of a campaign into a folder of runs, and file its benchmark rows."""
    results = json.loads((asked.out / RESULTS).read_text())
    if (asked.out / RECORDS).exists():
        with tarfile.open(asked.out / RECORDS) as archive:
            members = [one for one in archive.getmembers() if one.name.startswith("runs/")]
            for member in members:
                member.name = member.name.removeprefix("runs/")
            archive.extractall(asked.runs, members=members, filter="data")
        print(f"{sum(member.name.endswith('record.json') for member in members)} records in {asked.runs}")
    file = ROOT / "tools/data/benchmarks.json"
    filed, count = json.loads(file.read_text()), 0
    for rows in results["rows"].values():
        for name, row in rows.items():
            section, slash, work = name.partition("/")
            if slash and section in filed:
                filed[section][work] = row
                count += 1
    if count:
        file.write_text(json.dumps(filed, indent=1, sort_keys=True) + "\n")
    print(f"{count} rows filed in {file}; `python -m tools.update` shows them in docs/benchmarks.md")
    return 0


def packed(asked: argparse.Namespace) -> int:
    """Pack, and say what travels when."""
    files = pack(
        ROOT, asked.images, asked.out, limit=int(asked.limit_mb * 1e6), present=(*TORCH, *asked.has),
        python=asked.python, machine=asked.machine, wheels=not asked.no_wheels,
    )  # fmt: skip
    for path in files:
        print(f"{path.stat().st_size / 1e6:6.1f} MB {path}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The arguments of the three commands."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--minutes", type=float, default=28, help="of this call, the last write included")
    found.add_argument("--parts", type=Path, help="folder of the parts that have come with this call")
    found.add_argument("--out", type=Path, default=Path("campaign-results"), help="folder of what comes out")
    found.add_argument("--resume", type=Path, help="what an earlier call left, where --work is not there any more")
    found.add_argument("--work", type=Path, default=Path("/tmp/kdbench-campaign"), help="kept from call to call")
    found.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps alone, by the log's names")
    found.add_argument("--tiny", action="store_true", help="tiny networks, on the CPU")
    found.set_defaults(command=campaign)
    commands = found.add_subparsers()
    packing = commands.add_parser("pack", help="write what travels")
    packing.add_argument("--images", type=Path, required=True, help="folder with cifar10/*.webp")
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--limit-mb", type=float, default=58, help="largest part, megabytes of 10^6 bytes")
    packing.add_argument("--has", nargs="*", default=[], help="distributions that the machine has")
    packing.add_argument(
        "--python", default=".".join(platform.python_version_tuple()[:2]), help="version of its python3"
    )
    packing.add_argument("--machine", default=os.uname().machine, help="its processor")
    packing.add_argument("--no-wheels", action="store_true", help="images alone")
    packing.set_defaults(command=packed)
    collecting = commands.add_parser("collect", help="take results home")
    collecting.add_argument("--out", type=Path, required=True, help="the results")
    collecting.add_argument("--runs", type=Path, default=Path("runs"))
    collecting.set_defaults(command=collect)
    return found


def main() -> int:
    """Run one of the commands; exit status 2 and a line for what is wrong with the arguments or the parts."""
    asked = parser().parse_args()
    try:
        status: int = asked.command(asked)
    except PartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
