"""Waits until a frame is due."""

from __future__ import annotations

from scheduler.runtime.clock import Clock
from scheduler.source.arrivals import Schedule
from scheduler.source.source import Frame, SourceError


class Pace:
    """The turns of one source: by a schedule, or without one by the frames' own stamps.

    Who falls behind by more than a period gives up the turns that have passed, and `lost` counts
    them. The frames of a recording then come later, but none is left out: were they left out, a
    recording that is read more slowly than it plays would never get one through.
    """

    def __init__(self, clock: Clock, schedule: Schedule | None) -> None:
        self.lost = 0
        self._clock = clock
        self._schedule = schedule
        self._due_times = None if schedule is None else schedule.due_times()
        self._start_ns: int | None = None
        self._last_stamp_ns = 0

    async def until_due(self, frame: Frame) -> int:
        """Wait for the frame's turn and tell when it was.

        Raises:
            SourceError: a recording without stamps has no schedule.
        """
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        due_ns = self._scheduled(now_ns, self._start_ns)
        if due_ns is None:
            due_ns = self._stamped(frame, now_ns, self._start_ns)
        await self._clock.sleep_until(due_ns)
        return due_ns

    def _scheduled(self, now_ns: int, start_ns: int) -> int | None:
        if self._due_times is None or self._schedule is None:
            return None
        due_ns = start_ns + next(self._due_times)
        while now_ns - due_ns > self._schedule.period_ns:
            self.lost += 1
            due_ns = start_ns + next(self._due_times)
        return due_ns

    def _stamped(self, frame: Frame, now_ns: int, start_ns: int) -> int:
        if frame.stamp_ns is None:
            raise SourceError("its frames have no times of their own; give the source a rate")
        due_ns = start_ns + frame.stamp_ns
        step_ns = frame.stamp_ns - self._last_stamp_ns
        self._last_stamp_ns = frame.stamp_ns
        if step_ns <= 0 or now_ns - due_ns <= step_ns:
            return due_ns
        passed = (now_ns - due_ns) // step_ns
        self.lost += passed
        self._start_ns = start_ns + passed * step_ns
        return due_ns + passed * step_ns
