"""One flipped bit in each kind of file: it is named, and what comes out is the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import ALL, MOST, Do, Row, findings, same

DRAWS = random.Random()
TRIES = max(1, min(10, MOST // 10))


def flip(path: Path) -> None:
    """One bit, anywhere."""
    content = bytearray(path.read_bytes())
    content[DRAWS.randrange(len(content))] ^= 1 << DRAWS.randrange(8)
    path.write_bytes(content)


def found_damaged(out: Path) -> list[str]:
    return [one.path.name for one in findings(out) if one.state == "damaged"]


FINISHED = ("checkpoint.safetensors", "log.jsonl", "softmax.npz", "SHA256SUMS")
OF_A_RUN = ("record.json", "predictions.npz", "log.jsonl", "softmax-clean.npz", "checkpoint-clean.safetensors")


def cases() -> Iterator[tuple[str, str]]:
    yield from (("trainings", name) for name in FINISHED)
    yield from (("ce", name) for name in (*OF_A_RUN, "SHA256SUMS"))


@pytest.mark.parametrize(("folder", "name"), list(cases()))
def test_a_flipped_bit_in_a_finished_file_is_named_and_the_file_made_again(
    folder: str, name: str, do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    if not ALL and (folder, name) not in {("trainings", "checkpoint.safetensors"), ("ce", "record.json")}:
        pytest.skip("tried by tox -e faults")
    for number in range(TRIES):
        out = shutil.copytree(whole["out"], tmp_path / str(number))
        (path,) = (out / "small" / folder).glob(f"*/{name}")
        before = path.read_bytes()
        flip(path)
        assert found_damaged(out) == [name]
        if folder == "trainings":  # who needs it: a run that isn't there yet
            shutil.rmtree(out / "small/ce")
        found = do(out)
        row(
            f"a bit flipped in `{name}` of a {'training' if folder == 'trainings' else 'run'}",
            "named, and made again", lost=found.get("status") != "finished", changed=not same(found, whole),
        )  # fmt: skip
        assert same(found, whole), found
        assert f"{name} is damaged" in found["words"], found["words"]
        assert found_damaged(out) == []
        if name.startswith(("checkpoint", "softmax", "predictions")):
            assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["resume.pt", "log.jsonl", "clean-clean.json", "clean-clean.npz"])
def test_a_flipped_bit_in_what_an_interrupted_run_left_is_named_and_made_again(
    name: str, do: Do, whole: dict[str, Any], row: Row, tmp_path: Path
) -> None:
    if not ALL and name != "resume.pt":
        pytest.skip("tried by tox -e faults")
    for number in range(TRIES):
        out = tmp_path / str(number)
        path = killed_with(out, name, do, whole)
        flip(path)
        assert found_damaged(out) == [name]
        found = do(out)
        row(
            f"a bit flipped in `{name}` of an interrupted run", "named, and made again",
            lost=found.get("status") != "finished", changed=not same(found, whole),
        )  # fmt: skip
        assert same(found, whole), found
        assert f"{name} is damaged" in found["words"], found["words"]
        assert found_damaged(out) == []


def killed_with(out: Path, name: str, do: Do, whole: dict[str, Any]) -> Path:
    """A run that was killed while it had a file of that name."""
    last = whole["writes"]
    for at in range(25, last) if name in ("resume.pt", "log.jsonl") else range(last - 4, 1, -2):
        shutil.rmtree(out, ignore_errors=True)
        assert do(out, at=at)["killed"]
        found = next(out.rglob(name), None)
        if found is not None and found_damaged(out) == []:
            return found
    raise AssertionError(f"no run was killed with {name}")
