from __future__ import annotations

import io
import shlex
from pathlib import Path

from rich.console import Console

from kdbench.cli.beside import beside_table, next_commands, reference_records
from kdbench.results.headline import headline_of
from tests.leaderboard.evidence import make


def shown(table: object) -> str:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


def test_a_run_stands_beside_the_mean_of_the_published_reference(tmp_path: Path) -> None:
    published = [make("ce", seed=seed, skill=1 + 0.2 * seed).publish(tmp_path) for seed in range(3)]
    make("ce", seed=3, params={"view": "weak"}).publish(tmp_path)
    record = make("kd", seed=5, skill=2.0).record
    place, found = reference_records(record, tmp_path)
    assert place == published[0].parent and sorted(one.spec.seed for one in found) == [0, 1, 2], "none with parameters"
    text = shown(beside_table(record, headline_of, tmp_path))
    assert str(tmp_path.name) in "".join(text.split()) and "kd, seed 5" in text
    own = next(score for score in record.scores if (score.task, score.condition) == ("clean", "clean"))
    mean = sum(one.select("clean", "accuracy")[0].value for one in found) / 3
    line = next(line for line in text.splitlines() if "clean/accuracy" in line)
    assert f"{100 * own.value:.2f} %" in line and f"{100 * mean:.2f} %" in line
    assert max(map(len, text.splitlines())) <= 80


def test_nothing_stands_beside_a_run_of_another_setting(tmp_path: Path) -> None:
    record = make("kd").record
    assert beside_table(record, headline_of, tmp_path) is None, "nothing is published"
    make("ce").publish(tmp_path)
    assert beside_table(record, headline_of, tmp_path) is not None
    suite = record.spec.suite.model_copy(update={"version": 99})
    other = record.model_copy(update={"spec": record.spec.model_copy(update={"suite": suite})})
    assert beside_table(other, headline_of, tmp_path) is None


def test_three_commands_come_next(tmp_path: Path) -> None:
    records = [make("kd", seed=seed).record for seed in range(3)]
    folders = {one.run_id: tmp_path / "digits" / "kd" / one.run_id for one in records}
    asked = ["kdbench", "run", "--method", "kd"]
    few = [shlex.split(command) for command, _ in next_commands(records[1:2], folders, asked)]
    assert few[0] == [*asked, "--seed", "0", "--seed", "1", "--seed", "2"]
    assert [words[1:3] for words in few] == [["run", "--method"], ["report", str(folders[records[1].run_id])],
                                            ["leaderboard", "submit"]]  # fmt: skip
    many = [shlex.split(command) for command, _ in next_commands(records, folders, asked)]
    assert many[0] == ["kdbench", "leaderboard", "show", str(tmp_path), "--suite", "digits"]
