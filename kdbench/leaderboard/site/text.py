"""Untrusted text, numbers and addresses as the pages show them.

Every text in a record is untrusted. Templates escape it, and a content policy forbids what is not ours. Here invisible
characters that change how text looks are spelt out, and only web addresses become links.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are spelt out: controls, formats (marks of direction among them), lone surrogates."""
SHORT = 80
"""Characters of a name in tables, plots and headings; the page of the method has more."""
LONG = 2000
"""Characters of any other text, and of a name on its own page."""


def plain(text: str) -> str:
    r"""Text of visible characters; others are spelt out, line ends and tabs stay.

    >>> plain("a\u202eb")
    'a⟨U+202E⟩b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in UNSEEN else f"⟨U+{ord(char):04X}⟩" for char in text
    )


def shorten(text: str, limit: int = SHORT) -> str:
    """At most ``limit`` characters, with an ellipsis where there were more.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shown(value: Any) -> Any:
    """What a template prints: text made plain, of bounded length; markup of our own as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(shorten(value, LONG))


def web_address(text: str) -> str | None:
    """The text when it is an address of http or https, else None.

    >>> web_address("javascript:alert(1)"), web_address("https://arxiv.org/abs/1503.02531")
    (None, 'https://arxiv.org/abs/1503.02531')
    """
    if not (text.isascii() and text.isprintable()) or any(char in text for char in " \"'<>\\^`{|}") or len(text) > LONG:
        return None
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return text if known else None


def number(value: float, unit: str = "fraction", digits: int = 1) -> str:
    """A score as it is read: fractions in percent, without the sign, everything else to three digits.

    >>> number(0.8105), number(2.5, "nats")
    ('81.0', '2.5')
    """
    return f"{100 * value:.{digits}f}" if unit == "fraction" else f"{value:.3g}"


def interval(low: float, high: float, unit: str = "fraction") -> str:
    """The ends of an interval, as ``number`` writes them.

    >>> interval(0.8027, 0.8181)
    '80.3 to 81.8'
    """
    return f"{number(low, unit)} to {number(high, unit)}"


def in_css(text: str) -> str:
    r"""A string of a style sheet: what is no letter, digit or space is escaped.

    >>> print(in_css('a"</style>'))
    "a\22 \3c \2f style\3e "
    """
    inside = "".join(c if c == " " or (c.isascii() and c.isalnum()) else f"\\{ord(c):x} " for c in text)
    return f'"{inside}"'


def embedded(data: Any) -> Markup:
    """JSON for a ``<script type="application/json">``: no character of it can end the element or open another."""
    text = json.dumps(_plain_within(data), separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def _plain_within(data: Any) -> Any:
    if isinstance(data, str):
        return shown(data)
    if isinstance(data, Mapping):
        return {shown(key): _plain_within(value) for key, value in data.items()}
    if isinstance(data, Sequence):
        return [_plain_within(value) for value in data]
    return data


def content_policy(styles: list[str], scripts: list[str]) -> str:
    """Nothing is fetched from anywhere; only the very scripts and styles that are ours run."""

    def hashes(texts: list[str]) -> str:
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in texts]
        return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashes(styles)}; script-src {hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )
