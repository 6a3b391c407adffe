from __future__ import annotations

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugin.registry import Registry


def registry() -> Registry[int]:
    made: Registry[int] = Registry("method")
    made.add("nrd", 1, "a 1.0")
    made.add("kd", 2, "b 2.0")
    return made


def test_finds_what_was_added_and_who_brought_it() -> None:
    assert registry().get("nrd") == 1
    assert registry().origin("kd") == "b 2.0"
    assert registry().names() == ["kd", "nrd"]


def test_a_miss_names_the_nearest_right_name() -> None:
    with pytest.raises(KdbenchError, match=r"no method named 'nrdd' \(did you mean 'nrd'\?"):
        registry().get("nrdd")


def test_a_miss_without_a_near_name_lists_all() -> None:
    with pytest.raises(KdbenchError, match="known: kd, nrd"):
        registry().get("zzzzzz")


def test_a_name_brought_twice_belongs_to_neither_and_spares_the_others() -> None:
    made = registry()
    made.add("nrd", 3, "c 3.0")
    with pytest.raises(KdbenchError, match="two plugins bring a method named 'nrd': 'a 1.0' and 'c 3.0'"):
        made.get("nrd")
    assert made.get("kd") == 2
    assert made.names() == ["kd"]
    assert made.clashes() == {"nrd": ["a 1.0", "c 3.0"]}


def test_find_answers_none_where_get_is_an_error() -> None:
    found = Registry[int]("thing")
    found.add("one", 1, "a 1")
    found.add("two", 2, "a 1")
    found.add("two", 3, "b 1")
    assert (found.find("one"), found.find("two"), found.find("three")) == (1, None, None)
