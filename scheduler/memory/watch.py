"""One source of memory figures: asked so that it can hang, and missed when it is lost."""

from __future__ import annotations

import logging

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from scheduler.memory.probe import MemoryProbe, PoolSample, is_fresh
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

QUICK_NS = 1_000_000
"""A probe that answers within this is asked in the loop: a thread's hop costs as much."""

CALM_NS = 1_000_000_000
"""A source is silent for three of these before it is called lost: a busy machine can be late."""


class Watch:
    """A probe, its last answer and how it is best asked."""

    def __init__(self, probe: MemoryProbe, clock: Clock, period_ns: int) -> None:
        self.samples: tuple[PoolSample, ...] = ()
        self._probe = probe
        self._clock = clock
        self._period_ns = period_ns
        self._quick = False
        self._asking = False
        self._trouble = ""
        self._known: frozenset[str] = frozenset()

    def ask(self, asking: TaskGroup) -> None:
        """Ask now if that is quick, else in a thread, unless it has not answered yet."""
        if self._quick:
            self._take()
        elif not self._asking:
            self._asking = True
            asking.start_soon(self._ask_in_thread)

    def tell_changes(self) -> None:
        """Log which pools the source has no figure of any more, and which it has again."""
        now = self._clock.now_ns()
        period_ns = self._period_ns if self._trouble else max(self._period_ns, CALM_NS)
        known = frozenset(s.pool for s in self.samples if _says(s, now, period_ns))
        for pool in sorted(self._known - known):
            _log.warning("memory of %s: %s is lost (%s)", pool, self._probe.name, self._reason())
        for pool in sorted(known - self._known):
            _log.info("memory of %s: by %s", pool, self._probe.name)
        self._known = known

    def close(self) -> None:
        """Ask no more; a source that holds something (a child, a library) has a `close`."""
        close = getattr(self._probe, "close", None)
        if close is not None:
            close()

    def _reason(self) -> str:
        told = [sample.trouble for sample in self.samples if sample.trouble]
        return self._trouble or next(iter(told), "it does not answer")

    async def _ask_in_thread(self) -> None:
        try:
            await to_thread.run_sync(self._take, abandon_on_cancel=True, limiter=_own_thread())
        finally:
            self._asking = False

    def _take(self) -> None:
        started_ns = self._clock.now_ns()
        try:
            self.samples, self._trouble = self._probe.sample(), ""
        except Exception as error:  # noqa: BLE001 - a third party's probe must not stop the others
            self._trouble = str(error) or type(error).__name__
        self._quick = self._clock.now_ns() - started_ns < QUICK_NS


def _says(sample: PoolSample, now: int, period_ns: int) -> bool:
    known = sample.available_bytes is not None or sample.used_bytes is not None
    return known and is_fresh(sample, now, period_ns)


def _own_thread() -> anyio.CapacityLimiter:
    """A hung probe must not use up a thread of the pool that others wait for."""
    return anyio.CapacityLimiter(1)
