from __future__ import annotations

import random
from collections.abc import Mapping

from kdbench.studies.schedule import Schedule


def test_networks_that_many_wait_for_come_first() -> None:
    needs = {"alone": [], "few": [], "many": [], "a": ["few"], "b": ["many"], "c": ["many"], "d": ["b"]}
    assert Schedule(needs).order() == ["many", "few", "b", "alone", "a", "c", "d"]


def test_a_node_is_ready_when_the_last_of_its_needs_is_done() -> None:
    schedule = Schedule({"x": [], "y": [], "z": ["x", "y"]})
    assert [schedule.next(), schedule.next(), schedule.next()] == ["x", "y", None]
    schedule.finish("x")
    assert schedule.next() is None
    schedule.finish("y")
    assert schedule.next() == "z"
    assert schedule.left == 1
    schedule.finish("z")
    assert (schedule.left, schedule.next()) == (0, None)


def test_needs_that_are_no_nodes_are_done_already() -> None:
    assert Schedule({"run": ["trained long ago"]}).next() == "run"


def test_a_failure_ends_what_waits_for_it_and_nothing_else() -> None:
    schedule = Schedule({"x": [], "y": [], "of x": ["x"], "of both": ["x", "y"], "far": ["of x"], "of y": ["y"]})
    assert {schedule.next(), schedule.next()} == {"x", "y"}
    assert set(schedule.fail("x")) == {"of x", "of both", "far"}
    schedule.finish("y")
    assert (schedule.next(), schedule.next()) == ("of y", None)
    schedule.finish("of y")
    assert schedule.left == 0


def simulated(needs: Mapping[str, list[str]], seconds: Mapping[str, float], workers: int) -> float:
    """Wall time of a graph on so many workers; every need is done before a node starts."""
    schedule, clock = Schedule(needs), 0.0
    ended: set[str] = set()
    running: list[tuple[float, str]] = []
    while schedule.left:
        while len(running) < workers and (key := schedule.next()) is not None:
            assert set(needs[key]) <= ended
            running.append((clock + seconds[key], key))
        running.sort()
        clock, key = running.pop(0)
        ended.add(key)
        schedule.finish(key)
    return clock


def test_each_node_once_and_never_before_its_needs() -> None:
    draw = random.Random(0)
    for _ in range(50):
        names = [str(place) for place in range(40)]
        needs = {name: draw.sample(names[:place], min(place, draw.randint(0, 3))) for place, name in enumerate(names)}
        seconds = {name: draw.random() for name in names}
        one, eight = simulated(needs, seconds, 1), simulated(needs, seconds, 8)
        assert abs(one - sum(seconds.values())) < 1e-9
        assert eight <= one
