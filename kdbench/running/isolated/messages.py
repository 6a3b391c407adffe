"""What a node and whoever asked for it tell each other: JSON objects, one a line, over a local socket."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

PIECE = 65536


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """One message. Raises ``OSError`` where nobody is at the other end."""
    connection.sendall(f"\n{json.dumps(message)}\n".encode())


def received(connection: socket.socket, end: float | None = None) -> Iterator[dict[str, Any]]:
    """Messages until the other end closes. Half a line, of a process that was killed while it wrote, is none.

    Args:
        end: by ``time.monotonic()``. Raises ``TimeoutError`` once it has passed.
    """
    held = b""
    while True:
        left = None if end is None else max(0.0, end - time.monotonic())
        if not select.select([connection], [], [], left)[0]:
            raise TimeoutError
        piece = connection.recv(PIECE)
        if not piece:
            return
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message
