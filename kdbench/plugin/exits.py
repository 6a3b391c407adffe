"""A plugin that ends the process while it is imported would end the command without a word."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn


@contextlib.contextmanager
def exits_are_raised() -> Iterator[None]:
    """``os._exit`` raises ``SystemExit`` in the block, as ``sys.exit`` does; processes forked meanwhile end by it."""
    here, leave = os.getpid(), os._exit

    def told(status: int) -> NoReturn:
        if os.getpid() != here:
            leave(status)
        raise SystemExit(status)

    os._exit = told
    try:
        yield
    finally:
        os._exit = leave
