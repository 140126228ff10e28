"""What this process holds of a pool, now and at most since it was asked to watch."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol

from scheduler.memory.machine import HOST, UNIFIED
from scheduler.memory.nvml import NvmlProbe
from scheduler.memory.process import resident_bytes

POLL_S = 0.002
"""How often a device is asked, as it does not keep a peak of its own."""


class Gauge(Protocol):
    """`exact` is false where a short peak can be missed, or others' use be taken for ours."""

    exact: bool

    def held_bytes(self) -> int:
        """What is held now."""

    def watch(self) -> None:
        """Forget the peak."""

    def peak_bytes(self) -> int:
        """The most that was held since `watch`."""


class ProcessGauge:
    """The resident set, whose peak the kernel keeps.

    Writing 5 to /proc/self/clear_refs sets VmHWM of /proc/self/status back to what is held now
    (proc(5), Linux 4.0). Where that is not allowed, the peak is that of the whole process.
    """

    def __init__(self) -> None:
        self.exact = _forget_peak()

    def held_bytes(self) -> int:
        """See Gauge."""
        return resident_bytes()

    def watch(self) -> None:
        """See Gauge."""
        _forget_peak()

    def peak_bytes(self) -> int:
        """See Gauge."""
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name == "VmHWM":
                return max(int(rest.split()[0]) * 1024, self.held_bytes())
        return self.held_bytes()


def _forget_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


class DeviceGauge:
    """The memory of a discrete device, asked again and again in a thread.

    Where the driver does not say what this process holds (in containers), what is in use on the
    whole device counts, less what was in use before.
    """

    exact = False

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._probe = NvmlProbe()
        self._peak_bytes = 0
        self._before_bytes = self._in_use_bytes()
        threading.Thread(target=self._poll, daemon=True, name="device gauge").start()

    def held_bytes(self) -> int:
        """See Gauge. 0 while the driver does not answer."""
        for sample in self._probe.sample():
            if sample.pool == self._pool and sample.used_bytes is not None:
                return sample.used_bytes
        return max(0, self._in_use_bytes() - self._before_bytes)

    def watch(self) -> None:
        """See Gauge."""
        self._peak_bytes = 0

    def peak_bytes(self) -> int:
        """See Gauge."""
        return max(self._peak_bytes, self.held_bytes())

    def _in_use_bytes(self) -> int:
        for sample in self._probe.sample():
            known = sample.total_bytes is not None and sample.available_bytes is not None
            if sample.pool == self._pool and known:
                return (sample.total_bytes or 0) - (sample.available_bytes or 0)
        return 0

    def _poll(self) -> None:
        while True:
            self._peak_bytes = max(self._peak_bytes, self.held_bytes())
            time.sleep(POLL_S)


def gauge_of(pool: str) -> Gauge:
    """Return what measures `pool`."""
    return ProcessGauge() if pool in {HOST, UNIFIED} else DeviceGauge(pool)
