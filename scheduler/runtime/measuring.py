"""What an engine holds, seen from outside: the process before and after.

All engines share one process, so a difference means something only when nobody else moved memory
meanwhile. Where another engine's thread loaded, ran or unloaded, the figure is marked unreliable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.core.events import Measurement
from scheduler.memory.machine import HOST, UNIFIED
from scheduler.memory.process import resident_bytes

MIB = 1024 * 1024

RESOLUTION_BYTES = MIB
"""Differences are rounded down to this: threads, buffers and the interpreter itself take some
hundred kB, and an engine that holds exactly what was declared must not look as if it held more."""

RESIDUE_FLOOR_BYTES = 8 * MIB
"""Less than this left behind counts as nothing: a few payloads on their way weigh as much, and what
is booked as residue is never taken back."""

PROCESS_POOLS = frozenset({UNIFIED, HOST})
"""The pools in which the process's own memory lies."""


@dataclass(frozen=True, slots=True)
class Window:
    """The start of a measurement: what was held, and what others had done by then."""

    before_bytes: int
    others: int
    alone: bool


class Meter:
    """Counts what engine threads do, and reads the process. Shared by the threads of a runtime."""

    def __init__(self, read_bytes: Callable[[], int] = resident_bytes) -> None:
        self.read_bytes = read_bytes
        self.lock = threading.Lock()
        self.active = 0
        self.begun = 0


class Activity:
    """One engine's share of a meter: `with activity:` around everything that may move memory."""

    def __init__(self, meter: Meter, pool: str) -> None:
        self._meter = meter
        self._begun = 0
        self._pool = pool if pool in PROCESS_POOLS else None

    def __enter__(self) -> None:
        meter = self._meter
        with meter.lock:
            meter.active += 1
            meter.begun += 1
        self._begun += 1

    def __exit__(self, *_: object) -> None:
        meter = self._meter
        with meter.lock:
            meter.active -= 1

    def open(self) -> Window:
        """Start a measurement, inside the activity."""
        meter = self._meter
        others, alone = meter.begun - self._begun, meter.active == 1
        return Window(meter.read_bytes(), others, alone)

    def held(self, window: Window) -> dict[str, Measurement]:
        """What has been added since `window`, per pool; empty where the process cannot tell."""
        return self._measurement(window, RESOLUTION_BYTES)

    def left(self, window: Window) -> dict[str, Measurement]:
        """What has not come back since `window`, per pool; empty where the process cannot tell."""
        return self._measurement(window, RESIDUE_FLOOR_BYTES)

    def _measurement(self, window: Window, floor_bytes: int) -> dict[str, Measurement]:
        if self._pool is None:
            return {}
        meter = self._meter
        grown_bytes = meter.read_bytes() - window.before_bytes
        alone = window.alone and meter.begun - self._begun == window.others
        counted_bytes = grown_bytes - grown_bytes % RESOLUTION_BYTES
        if counted_bytes < floor_bytes:
            counted_bytes = 0
        return {self._pool: Measurement(counted_bytes, reliable=alone and grown_bytes >= 0)}
