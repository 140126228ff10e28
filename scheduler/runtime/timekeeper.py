"""Sees to it that the core is told when time has passed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from scheduler.runtime.clock import Clock

NEVER_NS = 2**63


class Timekeeper:
    """Sleeps until the core's next timer, and calls `fire` then.

    `look` wakes it when an earlier one has appeared. When the one slept for is put off it still
    wakes up for it, which does no harm: so a stream of requests with deadlines wakes it about once
    per deadline's length, not with each request.
    """

    def __init__(
        self, clock: Clock, next_timer: Callable[[], int | None], fire: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._next_timer = next_timer
        self._fire = fire
        self._due_ns = NEVER_NS
        self._life = anyio.CancelScope()
        self._nap = anyio.CancelScope()

    def look(self) -> None:
        """Sleep less long if the next timer is earlier than the one slept for."""
        next_ns = self._next_timer()
        if next_ns is not None and next_ns < self._due_ns:
            self._due_ns = next_ns
            self._nap.cancel()

    def stop(self) -> None:
        """End the task."""
        self._life.cancel()

    def overdue_ns(self) -> int:
        """How long ago this task should have woken up; 0 while it is not late. From any thread."""
        return max(0, self._clock.now_ns() - self._due_ns)

    async def run(self) -> None:
        """Keep the time until `stop`."""
        with self._life:
            while True:
                await self._sleep()
                self._due_ns = NEVER_NS
                self._fire()
                self.look()

    async def _sleep(self) -> None:
        """Sleep until what is due, though it may come to be due earlier meanwhile."""
        while self._clock.now_ns() < self._due_ns:
            with anyio.CancelScope() as self._nap:
                if self._due_ns == NEVER_NS:
                    await anyio.sleep_forever()
                await self._clock.sleep_until(self._due_ns)
