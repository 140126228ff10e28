"""Tells the core, again and again, what the machine and the process say about memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from scheduler.core.events import MemorySampled
from scheduler.memory.machine import HOST, UNIFIED
from scheduler.memory.probe import MemoryProbe, PoolSample, cautious
from scheduler.memory.process import Baseline
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

DEFAULT_PERIOD_NS = 50_000_000
"""20 Hz: a load takes tens of milliseconds at least, so it cannot slip between two samples."""

QUICK_NS = 1_000_000
"""A probe that answers within this is asked in the loop: a thread's hop costs as much."""

STALE_PERIODS = 3
"""A figure older than this many periods is unknown, for the probe may hang."""


class MemorySampler:
    """Asks `probes` every `period_ns` and calls `emit` with one event per pool.

    A probe is asked in a thread first and timed; while it answers within a millisecond it is asked
    in the loop from then on. One that hangs or fails in its thread costs nothing but its figure:
    `emit` goes on at the same pace, after three periods with `available_bytes` of None.
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
        self._watches = [_Watch(probe, clock) for probe in probes]
        self._emit = emit
        self._clock = clock
        self._baseline = baseline
        self._period_ns = period_ns

    async def run(self) -> None:
        """Sample until cancelled, at start + n * period, without drift."""
        next_ns = self._clock.now_ns()
        async with anyio.create_task_group() as asking:
            while True:
                for watch in self._watches:
                    watch.ask(asking)
                self._report()
                next_ns = max(next_ns + self._period_ns, self._clock.now_ns())
                await self._clock.sleep_until(next_ns)

    def _report(self) -> None:
        by_pool: dict[str, list[PoolSample]] = {}
        for watch in self._watches:
            for sample in watch.samples:
                by_pool.setdefault(sample.pool, []).append(sample)
        for pool, samples in by_pool.items():
            fresh = tuple(sample for sample in samples if self._is_fresh(sample))
            least = cautious(fresh) if fresh else None
            self._emit(
                MemorySampled(
                    pool,
                    available_bytes=None if least is None else least.available_bytes,
                    used_bytes=self._used_bytes(pool, least),
                    total_bytes=None if least is None else least.total_bytes,
                )
            )

    def _used_bytes(self, pool: str, least: PoolSample | None) -> int | None:
        device_bytes = None if least is None else least.used_bytes
        if pool not in {HOST, UNIFIED}:
            return device_bytes
        return self._baseline.above_bytes() + (device_bytes or 0)

    def _is_fresh(self, sample: PoolSample) -> bool:
        age_ns = self._clock.now_ns() - sample.taken_at_ns
        return age_ns <= STALE_PERIODS * self._period_ns


class _Watch:
    """One probe, its last answer and how it is best asked."""

    def __init__(self, probe: MemoryProbe, clock: Clock) -> None:
        self.samples: tuple[PoolSample, ...] = ()
        self._probe = probe
        self._clock = clock
        self._quick = False
        self._asking = False
        self._failed = False

    def ask(self, asking: TaskGroup) -> None:
        if self._quick:
            self._take()
        elif not self._asking:
            self._asking = True
            asking.start_soon(self._ask_in_thread)

    async def _ask_in_thread(self) -> None:
        try:
            await to_thread.run_sync(self._take, abandon_on_cancel=True, limiter=_own_thread())
        finally:
            self._asking = False

    def _take(self) -> None:
        started_ns = self._clock.now_ns()
        try:
            self.samples = self._probe.sample()
        except Exception:  # noqa: BLE001 - a third party's probe must not stop the others
            self._warn_once()
        self._quick = self._clock.now_ns() - started_ns < QUICK_NS

    def _warn_once(self) -> None:
        if not self._failed:
            self._failed = True
            _log.warning(
                "memory probe %r failed; its pools are unknown", self._probe, exc_info=True
            )


def _own_thread() -> anyio.CapacityLimiter:
    """A hung probe must not use up a thread of the pool that others wait for."""
    return anyio.CapacityLimiter(1)
