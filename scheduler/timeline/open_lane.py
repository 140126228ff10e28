"""A lane while it is being built: what goes on in it and since when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scheduler.timeline.timeline import Lane, Phase

if TYPE_CHECKING:
    from scheduler.core.outcome import Outcome


class OpenLane:
    """`instance` and `phase` are the engine's; a phase of None is out of memory."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.instance = 0
        self.phase: Phase | None = None
        self._since_ns = 0
        self._note = ""
        self._waiting = 0
        self._waiting_since_ns = 0

    def enter(self, phase: Phase | None, now: int, note: str = "") -> None:
        """The engine goes on to `phase`; what it was in until now becomes a span."""
        if self.phase is not None:
            self.lane.spans[self.phase].add(self._since_ns, now, self._note)
        self.phase, self._since_ns, self._note = phase, now, note

    def fail(self, now: int, note: str) -> None:
        """The engine is gone without having been asked to go."""
        self._note = note
        self.enter(None, now)

    def wait(self, now: int) -> None:
        """One more waits for this engine."""
        if not self._waiting:
            self._waiting_since_ns = now
        self._waiting += 1

    def stop_waiting(self, now: int) -> None:
        """One less waits."""
        self._waiting -= 1
        if not self._waiting and now > self._waiting_since_ns:
            self.lane.spans[Phase.WAITING].add(self._waiting_since_ns, now)

    def mark(self, outcome: Outcome, now: int, note: str) -> None:
        """A request ended otherwise than well."""
        self.lane.marks[outcome].add(now, now, note)

    def until(self, now: int) -> Lane:
        """A copy of the lane in which what still goes on ends now."""
        lane = replace(
            self.lane,
            spans={phase: spans.copy() for phase, spans in self.lane.spans.items()},
            marks={outcome: marks.copy() for outcome, marks in self.lane.marks.items()},
        )
        if self.phase is not None:
            lane.spans[self.phase].add(self._since_ns, now, self._note)
        if self._waiting:
            lane.spans[Phase.WAITING].add(self._waiting_since_ns, now)
        return lane
