from __future__ import annotations

from pathlib import Path

from kdbench.leaderboard.installed import installed_method, installed_suite
from kdbench.suites import load_suite


def test_what_is_installed_is_found_by_name_and_by_nothing_else(tmp_path: Path) -> None:
    method = installed_method("kd")
    assert method is not None
    assert method.name == "kd"
    assert installed_suite("digits") == load_suite("digits")
    copy = tmp_path / "digits.toml"
    copy.write_text("name = 1")
    for name in ("unheard", "", str(copy), "../digits", "digits.toml"):
        assert installed_method(name) is None
        assert installed_suite(name) is None
