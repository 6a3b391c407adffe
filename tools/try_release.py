"""Install each archive of a release in a clean environment and run a tiny job there, outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

JOB = ("run", "--method", "ce", "--suite", "digits", "--tasks", "clean", "--condition", "clean")
SHORT = ("--set", "recipe.epochs=1", "--json")


def archives(dist: Path) -> list[Path]:
    """The one wheel and the one sdist of a folder; ``SystemExit`` where there are others or none."""
    found = [*sorted(dist.glob("*.whl")), *sorted(dist.glob("*.tar.gz"))]
    if [path.name.endswith(".whl") for path in found] != [True, False]:
        names = ", ".join(path.name for path in found) or "nothing"
        raise SystemExit(f"{dist} holds {names}; a release is one wheel and one sdist: empty it and build again")
    return found


def install(archive: Path, folder: Path) -> Path:
    """A new environment with the archive and what it depends on; its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", archive.resolve()], check=True)
    return python


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
    """Try each archive of a folder, and print how long it took."""
    for archive in archives(dist):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            accuracy = run_job(install(archive, Path(scratch) / "venv"), Path(scratch))
        print(f"{archive.name}: installed and run in {time.monotonic() - began:.0f} s, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
