"""Which node is next: a graph's ready nodes by how many others wait for them. It knows no training and no engine."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable


class Executor(Protocol):
    """An engine: it is given nodes that are ready, and says which are done. One short file each."""

    def workers(self) -> int:
        """How many nodes it does at a time, for an estimate of the time left."""

    def free(self) -> int:
        """How many more nodes it takes now."""

    def start(self, key: str) -> None:
        """Begin one node. Its needs are done."""

    def wait(self) -> Mapping[str, str]:
        """Wait until a started node ends: key to its error, "" where it succeeded."""

    def stop(self) -> None:
        """End what is running. What a node has kept on disk stays, and the next start goes on from there."""


@runtime_checkable
class Queue(Executor, Protocol):
    """An engine that is given a whole graph, and works it off without anybody watching."""

    def submit(self, nodes: Sequence[tuple[str, Collection[str]]]) -> Mapping[str, str]:
        """Hand in nodes with their needs, needs first; one that is in the queue stays there. Key to job."""

    def running(self) -> Collection[str]:
        """Keys of the started nodes that ran when the queue was last asked. Quick, and from any thread."""


class Schedule:
    """Nodes with their needs, worked off in an order in which nothing waits that need not.

    Of the nodes that are ready the one comes first that most others wait for, directly or not; then the order in
    which they were given. Making it takes O(nodes + needs) for the usual shallow graph, and a step O(log nodes).
    """

    def __init__(self, needs: Mapping[str, Collection[str]]) -> None:
        """``needs``: key to the keys that must be done before; one that is no node is done already."""
        self._open = {key: {need for need in wanted if need in needs} for key, wanted in needs.items()}
        self._dependents: dict[str, list[str]] = {key: [] for key in needs}
        for key, wanted in self._open.items():
            for need in wanted:
                self._dependents[need].append(key)
        self._rank = {key: place for place, key in enumerate(needs)}
        self._ready: list[tuple[int, int, str]] = []
        self._started: set[str] = set()
        self._ended: set[str] = set()
        for key, wanted in self._open.items():
            if not wanted:
                self._push(key)

    def _push(self, key: str) -> None:
        heapq.heappush(self._ready, (-self.weight(key), self._rank[key], key))

    def weight(self, key: str) -> int:
        """How many nodes wait for this one."""
        return sum(1 for _ in self._after(key))

    def _after(self, key: str) -> Iterator[str]:
        """Each node that needs this one, directly or not, once."""
        seen, queue = {key}, deque([key])
        while queue:
            for dependent in self._dependents[queue.popleft()]:
                if dependent not in seen:
                    seen.add(dependent)
                    queue.append(dependent)
                    yield dependent

    @property
    def left(self) -> int:
        """Nodes that have not ended."""
        return len(self._open) - len(self._ended)

    def next(self) -> str | None:
        """The node to start now, None where all that are left wait for running ones."""
        if not self._ready:
            return None
        key = heapq.heappop(self._ready)[2]
        self._started.add(key)
        return key

    def finish(self, key: str) -> None:
        """A node is done."""
        self._ended.add(key)
        for dependent in self._dependents[key]:
            self._open[dependent].discard(key)
            if not self._open[dependent] and dependent not in self._started | self._ended:
                self._push(dependent)

    def fail(self, key: str) -> list[str]:
        """A node failed: those that can't be done now, directly or not, end as well, and are given back."""
        self._ended.add(key)
        blocked = [dependent for dependent in self._after(key) if dependent not in self._ended]
        self._ended.update(blocked)
        return blocked

    def order(self) -> list[str]:
        """All nodes in the order in which one worker would do them. The schedule is used up."""
        found = []
        while (key := self.next()) is not None:
            found.append(key)
            self.finish(key)
        return found
