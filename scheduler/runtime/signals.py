"""A clean end on SIGTERM and SIGINT, and an immediate one on the second."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio

from scheduler.runtime.loop import running_loop

if TYPE_CHECKING:
    from types import FrameType

    from scheduler.runtime.runtime import Runtime

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNAL_STATUS = 128
"""A process that a signal ended has this plus the signal's number as its status (POSIX shells)."""


class Stop:
    """Takes the signals over while it is installed. Belongs to the main thread."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._came = anyio.Event()
        self._loop = running_loop()
        self._before = {signum: signal.signal(signum, self._hear) for signum in SIGNALS}

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        """Run by Python between two instructions of the main thread, whatever the loop does."""
        del frame
        if self.signum is not None:
            os._exit(SIGNAL_STATUS + signum)
        self.signum = signum
        self._loop.post(self._came.set)

    async def wait(self) -> int:
        """Wait for the first signal. Returns its number."""
        await self._came.wait()
        assert self.signum is not None  # noqa: S101
        return self.signum

    def give_back(self) -> None:
        """Restore what the signals did before, unless one came: a second still ends the process."""
        if self.signum is None:
            for signum, handler in self._before.items():
                signal.signal(signum, handler)


async def drain_on_signal(runtime: Runtime, limit_s: float | None = None) -> int:
    """Wait for SIGTERM or SIGINT, then drain `runtime` within `limit_s`. Returns its number.

    Whoever calls it leaves the runtime then and exits with 128 + that number. A second signal ends
    the process at once with that status, whatever it is doing; so it stays until the process ends.
    When this is cancelled before a signal came, the signals do what they did before. Call it in the
    main thread; raises ValueError in another.
    """
    stop = Stop()
    try:
        signum = await stop.wait()
        await runtime.drain(limit_s)
        return signum
    finally:
        stop.give_back()


class Wish:
    """Hears a signal that asks for something while the process goes on. Of the main thread."""

    def __init__(self, signum: int) -> None:
        self._asked = anyio.Event()
        self._loop = running_loop()
        signal.signal(signum, self._hear)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self._loop.post(self._set)

    def _set(self) -> None:
        self._asked.set()

    async def wait(self) -> None:
        """Wait for the signal; several before this is called again count as one."""
        await self._asked.wait()
        self._asked = anyio.Event()
