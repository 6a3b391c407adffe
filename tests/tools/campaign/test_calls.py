"""What fits a call, and what is done in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tools.campaign import calls, parts
from tools.campaign.steps import Place, Step


def python(text: str) -> tuple[str, ...]:
    return ("-c", text)


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, str]]:
    """Make a call with these steps; whether all is done, and its log."""
    (tmp_path / "root/tools/data").mkdir(parents=True)
    (tmp_path / "root/tools/data/benchmarks.json").write_text('{"ratios": {"old": 1}}')
    (tmp_path / "work").mkdir()

    def call(*chosen: Step, seconds: float = 60, tiny: bool = False, only: Sequence[str] = ()) -> tuple[bool, str]:
        monkeypatch.setattr(calls, "steps", lambda place, rows: list(chosen))
        (tmp_path / "work/log.txt").unlink(missing_ok=True)
        place = Place(tmp_path / "root", tmp_path / "work", "cpu", tiny)
        with (tmp_path / "lock").open("w") as lock:
            stock = parts.Stock(tmp_path / "stock")
            done = calls.Call(place, stock, tmp_path / "out", seconds, dict(os.environ), lock.fileno(), only).work()
        return done, (tmp_path / "out/log.txt").read_text()

    return call


def test_a_step_is_done_once_and_a_failed_one_again_when_it_is_named(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    ticks = tmp_path / "ticks"
    good = Step("good", "count", python(f"open({str(ticks)!r}, 'a').write('x')"), 1)
    bad = Step("bad", "fail", python("print('why'); raise SystemExit(3)"), 1)
    done, log = called(good, bad, seconds=120)
    assert not done and "bad: failed" in log and "    why" in log and "open: bad" in log
    mended = Step("bad", "work", python("pass"), 1)
    done, log = called(good, mended, seconds=120)
    assert not done and "bad: failed before; --only bad repeats it" in log
    done, log = called(good, mended, seconds=120, only=["bad"])
    assert done and "everything is done" in log
    assert ticks.read_text() == "x"
    assert json.loads((tmp_path / "out/results.json").read_text())["steps"]["bad"]["status"] == "done"


def test_a_step_that_does_not_fit_is_not_begun(called: Callable[..., tuple[bool, str]]) -> None:
    done, log = called(Step("long", "wait", python("raise SystemExit(1)"), 300))
    assert not done and "long: not begun, it may take 300 s and " in log
    _, log = called(Step("long", "wait", python("raise SystemExit(1)"), 0, resumes=True))  # 20 of the 60 s are reserved
    assert "long: not begun, it may take 60 s and " in log


def test_what_a_step_took_is_what_it_is_expected_to_take(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    (tmp_path / "work/results.json").write_text(
        '{"steps": {"slow": {"status": "stopped", "seconds": 90.0}}, "rows": {}}'
    )
    _, log = called(Step("slow", "wait", python("pass"), 1))
    assert "slow: not begun, it may take 90 s" in log


def test_a_step_is_interrupted_when_the_time_is_up_and_goes_on_later(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    text = f"""
import time
from pathlib import Path
try:
    time.sleep(0 if Path({str(tmp_path / "seen")!r}).exists() else 60)
except KeyboardInterrupt:
    Path({str(tmp_path / "seen")!r}).touch()
    raise SystemExit(1)
"""
    step = Step("training", "train", python(text), 0, resumes=True)
    done, log = called(step, seconds=10, tiny=True)
    assert not done and "training: stopped after" in log and (tmp_path / "seen").exists()
    done, _ = called(step, seconds=60, tiny=True)
    assert done


def test_rows_of_benchmarks_and_measurements_are_results(
    called: Callable[..., tuple[bool, str]], tmp_path: Path
) -> None:
    file = """
import json
from pathlib import Path
path = Path("tools/data/benchmarks.json")
path.write_text(json.dumps({"ratios": {"old": 1, "new [cuda]": {"ratio": 2}}}))
"""
    rows = tmp_path / "work/rows"
    rows.mkdir()
    (rows / "pace.json").write_text('{"wrn": {"images_per_second": 7, "torch": "2"}}')
    done, log = called(
        Step("ratio", "compare", python(file), 1, benchmark=True), Step("pace", "time", python("pass"), 1)
    )
    assert done and "    wrn: images_per_second 7\n" in log
    found = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    assert found["ratio"] == {"ratios/new [cuda]": {"ratio": 2}}


def test_a_step_waits_for_its_part(called: Callable[..., tuple[bool, str]], three_parts: Path, tmp_path: Path) -> None:
    for path in sorted(three_parts.iterdir())[1:]:
        path.unlink()
    parts.Stock(tmp_path / "stock").take(three_parts)
    _, log = called(Step("study", "train", python("pass"), 0, needs=("a/", "b/")))
    assert "study: not begun, part 2" in log
