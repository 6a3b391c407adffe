"""Commands are imported as they are asked for, which a test that calls the parser itself does not say."""

from __future__ import annotations

from kdbench.cli import load_commands

load_commands()
