from __future__ import annotations

from tools.markdown import prose, table


def test_a_table_has_a_rule_below_its_headings() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_prose_is_wrapped_at_120_and_never_within_a_word() -> None:
    text = prose("word\n   " * 50 + "a-" * 100)
    *lines, last = text.split("\n")
    assert all(len(line) <= 120 for line in lines)
    assert last == "a-" * 100
    assert text.split() == ["word"] * 50 + ["a-" * 100]
