"""What time will end, and when: one alarm per key, cheap to set and to clear."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final, Union


class TimerKind(str, Enum):
    """What happens when an alarm goes off."""

    DEADLINE = "deadline"
    OVERDUE = "overdue"
    AGEING = "ageing"
    LEASE = "lease"
    RUN = "run"
    LOAD = "load"
    KEEP_ALIVE = "keep_alive"
    BACKOFF = "backoff"
    PREFETCH = "prefetch"
    FORM = "form"
    DRAIN = "drain"


DEADLINE: Final = TimerKind.DEADLINE
OVERDUE: Final = TimerKind.OVERDUE
AGEING: Final = TimerKind.AGEING
LEASE: Final = TimerKind.LEASE
RUN: Final = TimerKind.RUN
LOAD: Final = TimerKind.LOAD
KEEP_ALIVE: Final = TimerKind.KEEP_ALIVE
BACKOFF: Final = TimerKind.BACKOFF
PREFETCH: Final = TimerKind.PREFETCH
FORM: Final = TimerKind.FORM
"""Those that are set or cleared all the time, by names of their own; see `engine`."""


TimerKey = tuple[TimerKind, Union[int, str]]


class Timers:
    """Alarms by key. Setting a key again moves its alarm; ties go off in the order of setting.

    Cleared and moved alarms stay in the heap until they surface or outnumber the live ones.
    """

    __slots__ = ("_due", "_heap", "_sequence")

    def __init__(self) -> None:
        self._due: dict[TimerKey, int] = {}
        self._heap: list[tuple[int, int, TimerKey]] = []
        self._sequence = 0

    def set(self, kind: TimerKind, subject: int | str, due_ns: int) -> None:
        """Let the alarm of this kind and subject go off at `due_ns`."""
        key = (kind, subject)
        self._due[key] = due_ns
        self._sequence += 1
        heappush(self._heap, (due_ns, self._sequence, key))
        if len(self._heap) > 64 + 4 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def due_ns(self, kind: TimerKind, subject: int | str) -> int | None:
        """When this alarm goes off, None when there is none."""
        return self._due.get((kind, subject))

    def clear(self, kind: TimerKind, subject: int | str) -> None:
        """Forget the alarm, if there is one."""
        self._due.pop((kind, subject), None)

    def next_ns(self) -> int | None:
        """When the earliest alarm goes off, or None."""
        heap, due = self._heap, self._due
        while heap and due.get(heap[0][2]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def has_due(self, now: int) -> bool:
        """Whether an alarm is due by `now`."""
        next_ns = self.next_ns()
        return next_ns is not None and next_ns <= now

    def pop_due(self, now: int) -> Iterator[TimerKey]:
        """Take the alarms due by `now`, earliest first, those that are set meanwhile included."""
        while self.has_due(now):
            key = heappop(self._heap)[2]
            del self._due[key]
            yield key
