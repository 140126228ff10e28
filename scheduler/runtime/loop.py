"""The event loop that the runtime lives in: asyncio's or trio's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import trio

Callback = Callable[..., object]
TaskFunction = Callable[[], Coroutine[Any, Any, None]]


class Waiter(Protocol):
    """One task's wait for one thing."""

    def set(self) -> None:
        """Let the task go on. A second time does nothing."""

    def wait(self) -> Awaitable[object]:
        """Wait until `set`. Can be cancelled."""


class Loop(Protocol):
    """What the runtime needs of an event loop."""

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` soon, from any thread. Dropped when the loop has gone."""

    def waiter(self) -> Waiter:
        """A new waiter."""

    def spawn(self, function: TaskFunction) -> None:
        """Start a task that belongs to nobody's task group; it must not raise."""


class FutureWaiter:
    """An asyncio future; lighter than an event, for it serves one task."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def set(self) -> None:
        """Let the task go on."""
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """Wait until `set`."""
        return self._future


class AsyncioLoop:
    """The running asyncio loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` on the loop soon."""
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def waiter(self) -> FutureWaiter:
        """A new waiter."""
        return FutureWaiter(self._loop.create_future())

    def spawn(self, function: TaskFunction) -> None:
        """Start a task. The loop itself keeps only weak references to tasks."""
        task = self._loop.create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class TrioLoop:
    """The running trio loop."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` on the loop soon."""
        from trio import RunFinishedError  # noqa: PLC0415 - only where trio runs already

        try:
            self._token.run_sync_soon(callback, *args)
        except RunFinishedError:
            return

    def waiter(self) -> trio.Event:
        """A new waiter."""
        from trio import Event  # noqa: PLC0415 - only where trio runs already

        return Event()

    def spawn(self, function: TaskFunction) -> None:
        """Start a system task."""
        from trio.lowlevel import spawn_system_task  # noqa: PLC0415 - only where trio runs already

        spawn_system_task(function)


def running_loop() -> Loop:
    """The loop that runs in this thread. Raises RuntimeError when there is none.

    trio is looked for first, and only when somebody has imported it.
    """
    if "trio" in sys.modules:
        from trio.lowlevel import current_trio_token  # noqa: PLC0415 - imported already

        try:
            return TrioLoop(current_trio_token())
        except RuntimeError:
            pass
    return AsyncioLoop()
