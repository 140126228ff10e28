"""When sources are silent, and from when on they are there at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scheduler.core.model import SECOND_NS
from scheduler.source.arrivals import Schedule


@dataclass(frozen=True, slots=True)
class Pauses:
    """A source begins after `after_s`, then is there for `on_s` and away for `off_s` in turns."""

    on_s: float = 1.0
    off_s: float = 0.0
    after_s: float = 0.0

    def due_times(self, schedule: Schedule) -> Iterator[int]:
        """Nanoseconds from the start at which each frame is due, for ever, never decreasing."""
        after_ns = round(self.after_s * SECOND_NS)
        on_ns, off_ns = round(self.on_s * SECOND_NS), round(self.off_s * SECOND_NS)
        paused = replace(schedule, active_ns=on_ns, idle_ns=off_ns)
        return (after_ns + at_ns for at_ns in paused.due_times())


ALWAYS = Pauses()

PAUSES: Mapping[str, Mapping[str, Pauses]] = {
    "speech_on_off": {"speech": Pauses(on_s=3, off_s=9, after_s=2)},
    "heavy_alternating": {"scenes": Pauses(after_s=0.5)},
    "right_victim": {"lights": Pauses(after_s=0.05), "signs": Pauses(after_s=0.06)},
    "docking": {"docking": Pauses(on_s=8, off_s=12, after_s=4)},
}
"""By workload and source; all others are always there."""
