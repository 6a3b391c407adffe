"""What methods of two peers share here: the architecture of the second, and their tuned values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

RECIPES = Path(__file__).with_name("recipes.toml")

PeerModel = Annotated[
    str, Field(description="architecture of the second network, such as shufflenet-v2; empty: that of the student")
]
