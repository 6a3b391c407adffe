"""Keys of boards and rows: names of files and parts of addresses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

KEY_LENGTH: Final = 48
"""Longest readable part of a key."""
_HASHED = re.compile(r"(^|-)[0-9a-f]{8}$")
"""How a key with a hash ends."""


def file_key(name: str, params: Mapping[str, Any] | None = None) -> str:
    """Lower-case letters, digits and hyphens.

    The same name and parameters give the same key whatever else is ranked. A name that is not such a key itself, or
    that ends like a key with a hash, gets a hash.

    >>> file_key("label-smoothing")
    'label-smoothing'
    >>> file_key("KD", {"temperature": 8})
    'kd-5d453791'
    """
    readable = re.sub(r"[^a-z0-9]+", "-", name[: 4 * KEY_LENGTH].lower()).strip("-")[:KEY_LENGTH].strip("-")
    if name and readable == name and not params and not _HASHED.search(name):
        return readable
    content = json.dumps([name, params or {}], sort_keys=True)
    return "-".join(filter(None, [readable, hashlib.sha256(content.encode()).hexdigest()[:8]]))
