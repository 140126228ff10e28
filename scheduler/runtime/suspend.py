"""Whether the machine has slept."""

from __future__ import annotations

import time
from collections.abc import Callable

NOTABLE_NS = 1_000_000_000
"""A shorter sleep is not told from the two clocks being read one after the other."""


def asleep_ns() -> int:
    """For how long the machine has been suspended since it was booted, in nanoseconds.

    Linux's CLOCK_BOOTTIME goes on in a suspended machine, CLOCK_MONOTONIC stands still
    (clock_gettime(2)). 0 where there is no such clock.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is None:
        return 0
    return max(0, time.clock_gettime_ns(boottime) - time.monotonic_ns())


class SuspendWatch:
    """Tells how long the machine slept since it was last asked."""

    def __init__(self, read_ns: Callable[[], int] = asleep_ns) -> None:
        self._read_ns = read_ns
        self._known_ns = read_ns()

    def slept_ns(self) -> int:
        """Nanoseconds of sleep since the last time, 0 when it was none worth a word."""
        before_ns, now_ns = self._known_ns, self._read_ns()
        if now_ns - before_ns < NOTABLE_NS:
            return 0
        self._known_ns = now_ns
        return now_ns - before_ns
