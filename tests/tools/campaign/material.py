"""Files that a campaign packs, and those that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from kdbench.sealed import Sealed

MB = 10**6
KIB = 1024


def some_files(folder: Path, *sizes: int) -> list[tuple[str, Path]]:
    folder.mkdir(exist_ok=True)
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"file-{number}"
        path.write_bytes(np.random.default_rng(number).bytes(size))
        found.append((f"{'ab'[number % 2]}/file-{number}", path))
    return found


def put(path: Path, size: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(seed).bytes(size))


def work_folder(work: Path, seed: int = 0) -> None:
    """A finished run, its student, a finished teacher, and a training under way that is larger than a file."""
    run, trainings = work / "runs/s/ce/1234", work / "runs/s/trainings"
    put(run / "predictions.npz", 10 * KIB)
    put(run / "checkpoint-clean.safetensors", 50 * KIB)
    (run / "record.json").write_text(json.dumps({"hashes": {"students": {"clean": {"training": "aa"}}}}))
    put(run.parent / "5678/partial/clean/pgd.npz", KIB)
    for name in ("ce-wrn-aa", "ce-wrn-bb"):
        put(trainings / name / "checkpoint.safetensors", 60 * KIB)
        (trainings / name / "log.jsonl").write_text("{}\n")
        Sealed(trainings / name).write({"softmax.npz": b"softmax"})
    put(trainings / "kd-wrn-cc/resume.pt", 150 * KIB, seed)
    (trainings / "kd-wrn-cc/log.jsonl").write_text("{}\n" * 3)
    (work / "log.txt").write_text("log\n")
    (work / "results.json").write_text("{}")


def relative(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def strip(folder: Path, name: str, count: int) -> np.ndarray:
    """A strip of random images, uint8 (count, 32, 32, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels.reshape(-1, 32, 3)).save(folder / f"{name}.webp", lossless=True)
    return pixels
