"""Where no terminal is, slow work leaves a line each minute, and fast work none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench import progress
from kdbench.progress import Lines, Piece, bar, tracked


class Clock:
    """Seconds that pass when it is told so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def lines(clock: Clock, written: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Of a clock that is set by hand: the thread beside the work is left out."""
    monkeypatch.setattr(Lines, "_follow", lambda self, over: None)
    return Lines(written.append, clock)


def test_a_line_says_what_it_is_how_far_and_how_much_longer(clock: Clock, lines: Lines, written: list[str]) -> None:
    with lines.of(Piece("train teacher (clean)", clock())) as update:
        clock.now = 30
        update(0.1, "epoch 1 of 10")
        lines.tick()
        assert written == []
        clock.now = 60
        update(0.2, "epoch 2 of 10")
        assert lines.tick() == 60
        assert written == [
            "train teacher (clean): 20 %, epoch 2 of 10, 60 s so far, about 240 s left".replace("240 s", "4 min")
        ]
        clock.now = 61
        assert lines.tick() == 59
    assert written[1:] == ["train teacher (clean): over after 61 s"]


def test_what_is_resumed_is_not_taken_for_fast(clock: Clock) -> None:
    piece = Piece("train kd", 0.0)
    piece.advance(50.0, 0.9, "epoch 9 of 10")
    assert piece.line(50.0) == "train kd: 90 %, epoch 9 of 10, 50 s so far"
    piece.advance(100.0, 0.95, "")
    assert piece.line(110.0) == "train kd: 95 %, 2 min so far, about 40 s left"


def test_short_pieces_share_one_minute_and_a_first_step_is_mentioned(
    clock: Clock, lines: Lines, written: list[str]
) -> None:
    for number in range(4):
        with lines.of(Piece(f"measure {number}", clock())):
            clock.now += 25
            lines.tick()
    assert written == ["measure 2, 25 s so far", "measure 2: over after 25 s"]


def test_the_innermost_piece_is_told_of(clock: Clock, lines: Lines, written: list[str]) -> None:
    with lines.of(Piece("outer", clock())):
        with lines.of(Piece("inner", clock())):
            clock.now = 60
            lines.tick()
        clock.now = 120
        lines.tick()
    assert [line.split(",")[0] for line in written] == [
        "inner",
        "inner: over after 60 s",
        "outer",
        "outer: over after 2 min",
    ]


def test_the_thread_beside_the_work_writes_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.01)
    came = threading.Event()
    with pytest.raises(KeyError), Lines(lambda line: came.set()).of(Piece("slow", 0.0)):
        assert came.wait(30)
        beside = [one for one in threading.enumerate() if one.name == "kdbench-progress"]
        raise KeyError
    for one in beside:
        one.join(30)
        assert not one.is_alive()


def test_lines_are_for_standard_error_alone(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.0)
    monkeypatch.setattr(progress, "_LINES", Lines(progress._to_log))
    monkeypatch.setattr(Lines, "_follow", lambda self, over: None)
    with bar("long", shown=True) as update:
        update(0.5, "half")
        progress._LINES.tick()
    with bar("hidden", shown=False) as update:
        update(0.5)
        progress._LINES.tick()
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split(" ", 1)[1] for line in err.splitlines()] == [
        "long: 50 %, half, 0 s so far",
        "long: over after 0 s",
    ]


def test_tracked_gives_the_same_results() -> None:
    assert list(tracked(iter("abc"), "letters", 3, shown=True)) == ["a", "b", "c"]


def test_in_a_notebook_one_output_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    code = """
from kdbench import progress
progress.REDRAWN = 0.0
with progress.bar("train <kd>", shown=True) as update:
    for step in range(100):
        update(step / 100, f"step {step}")
with progress.bar("hidden", shown=False) as update:
    update(0.5)
"""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    messages = []
    client = NotebookClient(new_notebook(cells=[new_code_cell(code)]), timeout=600)
    heard = client.process_message

    def listen(message: Any, *rest: Any) -> Any:
        messages.append(message)
        return heard(message, *rest)

    monkeypatch.setattr(client, "process_message", listen)
    [output] = client.execute().cells[0].outputs
    assert output.data["text/plain"].startswith("train <kd>: over after ")
    assert output.data["text/html"].startswith("<code>train &lt;kd&gt;: over after ")
    updates = [one["content"]["data"] for one in messages if one["msg_type"] == "update_display_data"]
    assert len(updates) == 101
    assert "train <kd>: 50 %, step 50" in updates[50]["text/plain"]
    assert 'value="0.500"' in updates[50]["text/html"]
