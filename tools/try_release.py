"""Install each archive of a release in a clean environment, one after the other, and run a tiny job by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

JOB = ("run", "--method", "ce", "--suite", "digits", "--tasks", "clean", "--condition", "clean")
SHORT = ("--set", "recipe.epochs=1", "--json")
INSTEAD = ("--force-reinstall", "--no-deps")
COMMIT = "kdbench/_commit.json"
"""What tools/build_hook.py adds."""


def archives(dist: Path) -> list[Path]:
    """The one wheel and the one sdist of a folder; ``SystemExit`` where there are others or none."""
    found = [*sorted(dist.glob("*.whl")), *sorted(dist.glob("*.tar.gz"))]
    if [path.name.endswith(".whl") for path in found] != [True, False]:
        names = ", ".join(path.name for path in found) or "nothing"
        raise SystemExit(f"{dist} holds {names}; a release is one wheel and one sdist: empty it and build again")
    return found


def require_commit(wheel: Path) -> str:
    """The commit that a wheel was built from, which its records name; ``SystemExit`` where it is not what was built."""
    with zipfile.ZipFile(wheel) as files:
        built = json.loads(files.read(COMMIT)) if COMMIT in files.namelist() else {}
    if built.get("dirty", True):
        found = built.get("commit", "an unknown commit")
        raise SystemExit(f"{wheel.name} was built from {found} with changes, as its records would say: commit them and "
                         "build again")  # fmt: skip
    return str(built["commit"])


def install(python: Path, archive: Path, *more: str) -> None:
    """Install an archive, and check that nothing which it depends on is lacking. What is not imported is not compiled:
    torch alone has ten thousand files."""
    pip = [str(python), "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "--no-compile", *more, str(archive.resolve())], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)


def run_job(python: Path, folder: Path) -> float:
    """Run the job in a folder; its accuracy in [0, 1]. ``SystemExit`` where it leaves no record."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-m", "kdbench", *JOB, *SHORT]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    record = json.loads(done.stdout)
    if not list(folder.glob(f"runs/*/ce/{record['run_id']}/record.json")):
        raise SystemExit(f"{python}: the job left no record under {folder / 'runs'}")
    return float(next(score["value"] for score in record["scores"] if score["metric"] == "accuracy"))


def main(dist: Path) -> None:
    """Try the wheel of a folder with all that it depends on, then the sdist in its place; print how long each took."""
    wheel, sdist = archives(dist)
    print(f"built from {require_commit(wheel)}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(Path(scratch) / "venv", with_pip=True)
        python = Path(scratch) / "venv/bin/python"
        for archive, more in ((wheel, ()), (sdist, INSTEAD)):
            began = time.monotonic()
            install(python, archive, *more)
            installed = time.monotonic()
            accuracy = run_job(python, Path(tempfile.mkdtemp(dir=scratch)))
            seconds = f"{installed - began:.0f} s, run in {time.monotonic() - installed:.0f} s"
            print(f"{archive.name}: installed in {seconds}, accuracy {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
