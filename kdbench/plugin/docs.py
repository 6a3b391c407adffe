"""What a docstring says first."""

from __future__ import annotations


def summary(doc: str | None) -> str:
    """The first paragraph of a docstring, in one line.

    >>> summary("Accuracy under attack, over images that are\\n    right without one.\\n\\n    More.")
    'Accuracy under attack, over images that are right without one.'
    """
    lines = (doc or "").strip().splitlines()
    first = [line.strip() for line in lines]
    return " ".join(first[: first.index("")] if "" in first else first)
