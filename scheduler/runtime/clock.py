"""The time the runtime goes by: monotonic nanoseconds, never the wall clock."""

from __future__ import annotations

import time
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint


class Clock(Protocol):
    """A monotonic clock. Every deadline is compared with the same clock's `now_ns`."""

    def now_ns(self) -> int:
        """The time now, in nanoseconds since some fixed moment. Must never run backwards."""

    async def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until `now_ns()` is at least `deadline_ns`."""


class MonotonicClock:
    """The machine's monotonic clock: setting the date or the time zone does not move it."""

    now_ns = staticmethod(time.monotonic_ns)

    async def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until `deadline_ns`; the event loop's own timers may be early, so look again."""
        while (rest_ns := deadline_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110 - time is no event
            await anyio.sleep(rest_ns / 1e9)
        await checkpoint()


class ManualClock:
    """A clock for tests: it stands still until `advance` moves it."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns
        self._sleepers: list[tuple[int, int, anyio.Event]] = []
        self._sequence = count()

    def now_ns(self) -> int:
        """The time at which the clock stands."""
        return self._now_ns

    @property
    def next_sleeper_ns(self) -> int | None:
        """When the first of those who sleep wants to be woken, or None."""
        return self._sleepers[0][0] if self._sleepers else None

    async def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until the clock has been advanced to `deadline_ns`."""
        if deadline_ns <= self._now_ns:
            await checkpoint()
            return
        entry = (deadline_ns, next(self._sequence), anyio.Event())
        heappush(self._sleepers, entry)
        try:
            await entry[2].wait()
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)
                heapify(self._sleepers)

    def advance(self, by_ns: int) -> None:
        """Move the time on by `by_ns` and wake those whose time has come, earliest first.

        They run when the caller next awaits something. Raises ValueError when `by_ns` is negative.
        """
        if by_ns < 0:
            raise ValueError(f"time does not run backwards: {by_ns} ns")
        self._now_ns += by_ns
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            heappop(self._sleepers)[2].set()
