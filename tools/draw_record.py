"""Draw one of the committed records that have networks beside them, to be measured again."""

from __future__ import annotations

import random
import sys
from pathlib import Path

LEADERBOARDS = Path("leaderboards")


def with_networks(folder: Path) -> list[Path]:
    """The records under a folder that have a network beside them, by path."""
    networks = folder.rglob("*.checkpoint-*.safetensors")
    return sorted({file.with_name(f"{file.name.partition('.checkpoint-')[0]}.json") for file in networks})


def draw(folder: Path, seed: str) -> Path:
    """One of them, the same for the same seed; ``SystemExit`` where there is none."""
    records = with_networks(folder)
    if not records:
        raise SystemExit(f"no record under {folder} has a network beside it: `submit --checkpoints` copies them")
    drawn = random.Random(seed).choice(records)
    print(f"drawn with seed {seed} out of {len(records)}: {drawn}", file=sys.stderr)
    return drawn


if __name__ == "__main__":
    print(draw(LEADERBOARDS, sys.argv[1]))
