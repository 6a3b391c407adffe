"""How the process was before it imported code of a third party, and what is to be done at that moment."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Start:
    """What a process that is started clean gets of this one."""

    environment: dict[str, str]
    path: list[str]
    """Python's search path."""


class Before:
    """Of this process."""

    start: Start | None = None
    """None: no code of a third party was imported by ``load_plugins`` yet."""
    action: Callable[[], None] | None = None
    """Called once, before the first of it is imported."""


def take() -> Start:
    """As it is."""
    return Start(dict(os.environ), list(sys.path))


def others_are_imported() -> None:
    """Say that the first plugin of a third party is about to be imported."""
    if Before.start is None:
        Before.start = take()
        if Before.action is not None:
            Before.action()
