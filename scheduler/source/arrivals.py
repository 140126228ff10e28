"""When the frames of a source are due."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from scheduler.config.source import Arrivals, SourceConfig
from scheduler.core.model import SECOND_NS

BURST_FRAMES = 5
"""How many frames of `arrivals: burst` come at once when nobody says."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When frames are due: at `rate_hz` on average, with up to `jitter_ns` either way (periodic).

    With `active_ns` its own time only passes during the first `active_ns` of each
    `active_ns + idle_ns`: the rest is silence, and `rate_hz` is the rate while it is there.

    Raises:
        ValueError: `rate_hz` is not above 0, or a time is negative.
    """

    rate_hz: float
    arrivals: Arrivals = Arrivals.PERIODIC
    jitter_ns: int = 0
    seed: int = 0
    burst_frames: int = BURST_FRAMES
    active_ns: int | None = None
    idle_ns: int = 0

    def __post_init__(self) -> None:
        if not self.rate_hz > 0:
            raise ValueError(f"a rate of {self.rate_hz} Hz has no period; give one above 0")
        if self.idle_ns < 0 or (self.active_ns is not None and self.active_ns <= 0):
            raise ValueError(
                f"active for {self.active_ns} ns, idle for {self.idle_ns} ns: give active_ns "
                "above 0, idle_ns of at least 0"
            )

    @property
    def period_ns(self) -> int:
        """The mean time between frames."""
        return round(SECOND_NS / self.rate_hz)

    def due_times(self) -> Iterator[int]:
        """Nanoseconds from the start at which each frame is due, for ever, never decreasing.

        Equal schedules give equal times. They are counted from the start and not from each other,
        so nothing drifts: the n-th periodic frame is due at n / rate, whatever happened before.
        """
        active_ns, idle_ns = self.active_ns, self.idle_ns
        if active_ns is None:
            return self._without_pauses()
        return (at_ns + at_ns // active_ns * idle_ns for at_ns in self._without_pauses())

    def _without_pauses(self) -> Iterator[int]:
        chance = random.Random(self.seed)  # noqa: S311 - arrivals, not secrets
        if self.arrivals is Arrivals.POISSON:
            return self._poisson(chance)
        if self.arrivals is Arrivals.BURST:
            return (self._at(n // self.burst_frames * self.burst_frames) for n in count())
        return self._periodic(chance)

    def _at(self, n: int) -> int:
        return round(n * SECOND_NS / self.rate_hz)

    def _periodic(self, chance: random.Random) -> Iterator[int]:
        latest_ns = 0
        for n in count():
            moved_ns = chance.randint(-self.jitter_ns, self.jitter_ns) if self.jitter_ns else 0
            latest_ns = max(latest_ns, self._at(n) + moved_ns)
            yield latest_ns

    def _poisson(self, chance: random.Random) -> Iterator[int]:
        at_s = 0.0
        while True:
            at_s += chance.expovariate(self.rate_hz)
            yield round(at_s * SECOND_NS)


def schedule_of(source: SourceConfig, seed: int) -> Schedule | None:
    """When the frames of `source` are due; None where they have times of their own."""
    if source.rate is None:
        return None
    return Schedule(
        source.rate,
        source.arrivals,
        jitter_ns=source.jitter,
        seed=seed,
        burst_frames=source.size or BURST_FRAMES,
        active_ns=None if source.cycle is None else source.cycle.active,
        idle_ns=0 if source.cycle is None else source.cycle.idle,
    )
