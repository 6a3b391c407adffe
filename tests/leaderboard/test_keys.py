from __future__ import annotations

import re

import pytest

from kdbench.leaderboard.keys import file_key


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a/../../b", "\u202eevil", "x" * 10_000, "é", "", "CON", "a b", "\x00\n"]
)
def test_keys_are_safe_and_stay(name: str) -> None:
    key = file_key(name)
    assert re.fullmatch(r"[a-z0-9-]+", key)
    assert len(key) < 80
    assert key == file_key(name)
    assert key != file_key(name, {"a": 1}) != file_key(name, {"a": 2})


def test_no_name_is_the_key_of_another() -> None:
    for key in (file_key("kd", {"a": 1}), file_key("")):
        assert file_key(key) != key


def test_names_that_differ_by_case_alone_have_files_of_their_own() -> None:
    assert len({file_key(name) for name in ("kd", "KD", "Kd")}) == 3


def test_the_order_of_parameters_does_not_matter() -> None:
    assert file_key("kd", {"a": 1, "b": 2}) == file_key("kd", {"b": 2, "a": 1})
