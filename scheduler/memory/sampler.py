"""Tells the core, again and again, what the machine and the process say about memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from scheduler.core.events import MemorySampled
from scheduler.memory.machine import HOST, UNIFIED
from scheduler.memory.probe import MemoryProbe, PoolSample, cautious, is_fresh
from scheduler.memory.process import Baseline
from scheduler.memory.watch import Watch
from scheduler.runtime.clock import Clock

DEFAULT_PERIOD_NS = 50_000_000
"""20 Hz: a load takes tens of milliseconds at least, so it cannot slip between two samples."""


class MemorySampler:
    """Asks `probes` every `period_ns` and calls `emit` with one event per pool.

    A probe is asked in a thread first and timed; while it answers within a millisecond it is asked
    in the loop from then on. One that hangs or fails in its thread costs nothing but its figure:
    `emit` goes on at the same pace, after three periods with what the other sources say, or with
    `available_bytes` of None. That a source is lost, and that it is back, is logged.
    `used_bytes` is what the process holds above `baseline` in the memory of the CPU, with what a
    source says it holds for its GPU there; of other pools it is what a source says.
    """

    def __init__(
        self,
        probes: Sequence[MemoryProbe],
        emit: Callable[[MemorySampled], None],
        *,
        clock: Clock,
        baseline: Baseline,
        period_ns: int = DEFAULT_PERIOD_NS,
    ) -> None:
        self._watches = [Watch(probe, clock, period_ns) for probe in probes]
        self._emit = emit
        self._clock = clock
        self._baseline = baseline
        self._period_ns = period_ns

    async def run(self) -> None:
        """Sample until cancelled, at start + n * period, without drift; then close the sources."""
        next_ns = self._clock.now_ns()
        try:
            async with anyio.create_task_group() as asking:
                while True:
                    for watch in self._watches:
                        watch.ask(asking)
                    self._report()
                    next_ns = max(next_ns + self._period_ns, self._clock.now_ns())
                    await self._clock.sleep_until(next_ns)
        finally:
            for watch in self._watches:
                watch.close()

    def _report(self) -> None:
        by_pool: dict[str, list[PoolSample]] = {}
        for watch in self._watches:
            watch.tell_changes()
            for sample in watch.samples:
                by_pool.setdefault(sample.pool, []).append(sample)
        now = self._clock.now_ns()
        for pool, samples in by_pool.items():
            fresh = tuple(s for s in samples if is_fresh(s, now, self._period_ns))
            least = cautious(fresh) if fresh else None
            self._emit(
                MemorySampled(
                    pool,
                    available_bytes=None if least is None else least.available_bytes,
                    used_bytes=self._used_bytes(pool, least),
                    total_bytes=None if least is None else least.total_bytes,
                    source="" if least is None else least.source,
                )
            )

    def _used_bytes(self, pool: str, least: PoolSample | None) -> int | None:
        device_bytes = None if least is None else least.used_bytes
        if pool not in {HOST, UNIFIED}:
            return device_bytes
        return self._baseline.above_bytes() + (device_bytes or 0)
