"""docs/suites.md has every key that a suite file may have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kdbench.plugin.loader import load_plugins
from kdbench.suites.reading import TABLES, keys
from tools.suites_page import HEADINGS

PAGE = (Path(__file__).parents[2] / "docs/suites.md").read_text()
TASKS = [name for name in load_plugins().tasks.names() if load_plugins().tasks.origin(name).startswith("kdbench ")]


def listed(heading: str) -> dict[str, str]:
    """Key to meaning, as the section of that heading has them."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = [re.split(r"(?<!\\)\|", line) for line in section.splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): cells[4].strip() for cells in rows}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_every_table_is_there_and_says_what_it_means(table: str) -> None:
    assert table in HEADINGS
    found = listed(f"## `[{table.replace('*', 'NAME')}]`" if table else f"## {HEADINGS[table]}")
    if table == "conditions.*.recipe":
        assert found == {}, "its keys are those of [recipe]"
        return
    assert set(found) == set(keys(table)) - ({"recipe"} if not table else set())
    assert all(found.values())


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_of_every_task_is_there_and_says_what_it_means(task: str) -> None:
    found = listed(f"### `{task}`")
    assert list(found) == list(load_plugins().tasks.get(task).Settings.model_fields)
    assert all(found.values()), found


def test_values_are_written_as_everywhere() -> None:
    assert "| `step_sizes` | pgd-std 2/255, pgd-arani .03 |" in PAGE
    assert not re.search(r"0\.0\d{5}|None", PAGE.replace("None.", ""))
