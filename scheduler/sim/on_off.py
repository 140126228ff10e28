"""A source that is there for a while, then away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scheduler.source.arrivals import Schedule


@dataclass(frozen=True, slots=True)
class OnOff:
    """A schedule whose own time only passes during the `on_ns` of each `on_ns + off_ns`.

    Raises:
        ValueError: `on_ns` is not above 0, or `off_ns` is negative.
    """

    schedule: Schedule
    on_ns: int
    off_ns: int

    def __post_init__(self) -> None:
        if self.on_ns <= 0 or self.off_ns < 0:
            raise ValueError(
                f"on for {self.on_ns} ns, off for {self.off_ns} ns: give on_ns above 0, "
                "off_ns of at least 0"
            )

    def due_times(self) -> Iterator[int]:
        """Nanoseconds from the start at which each frame is due, for ever, never decreasing."""
        return (at + at // self.on_ns * self.off_ns for at in self.schedule.due_times())
