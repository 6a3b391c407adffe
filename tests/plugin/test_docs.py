from __future__ import annotations

import pytest

from kdbench.plugin.docs import summary


@pytest.mark.parametrize(
    ("doc", "said"),
    [
        (None, ""),
        ("", ""),
        ("One line.", "One line."),
        (
            "\n    One that goes on\n    to the next (Guo et al. 2017).\n\n    More.\n",
            "One that goes on to the next (Guo et al. 2017).",
        ),
        ("First.\n   \nSecond.", "First."),
    ],
)
def test_the_summary_is_the_first_paragraph_in_one_line(doc: str | None, said: str) -> None:
    assert summary(doc) == said
