"""Whether nodes are done apart from this process, and what they took."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

SWITCH = "KDBENCH_ISOLATION"
"""Environment variable: ``off`` computes everything in the process that asks, as a debugger needs it."""


@dataclasses.dataclass
class Spent:
    """What processes of nodes took that this one has asked for."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    device_memory_bytes: int | None = None

    def add(self, ended: Mapping[str, Any]) -> None:
        """One more of them, as it said."""
        self.cpu_seconds += ended.get("cpu_seconds", 0.0)
        self.memory_bytes = max(self.memory_bytes, ended.get("memory_bytes", 0))
        if (device := ended.get("device_memory_bytes")) is not None:
            self.device_memory_bytes = max(self.device_memory_bytes or 0, device)


class Process:
    """This process."""

    node: ClassVar[str] = ""
    """The node that it was made for: a run id's plan, or the digest of a training; "": for none."""
    spent: ClassVar[Spent] = Spent()
    records: ClassVar[list[Path] | None] = None
    """Those that a command has written whose process this is: whoever asked tells the observers of them. None: it is no
    command's, and tells them itself."""


def possible() -> bool:
    """Whether processes can be made for nodes here, and are wanted."""
    return os.name == "posix" and os.environ.get(SWITCH, "") != "off"
