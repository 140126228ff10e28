"""The event loop that the runtime lives in: asyncio's or trio's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Protocol

from scheduler.runtime.mailbox import Bell, Callback, Mailbox, Plain

if TYPE_CHECKING:
    import trio

TaskFunction = Callable[[], Coroutine[Any, Any, None]]


class Waiter(Protocol):
    """One task's wait for one thing, awaited by it. It is what a future is."""

    def done(self) -> bool:
        """Whether there is nobody to be let go on: it was done before, or the task has given up."""

    def set_result(self, result: None) -> None:
        """Let the task go on. Only while it is not done."""

    def __await__(self) -> Generator[Any, None, None]:
        """Wait. Can be cancelled."""


class Loop(Protocol):
    """What the runtime needs of an event loop."""

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` soon, from any thread. Dropped when the loop has gone."""

    def mailbox(self) -> Mailbox:
        """For threads that have much to tell. To be closed by its owner."""

    def waiter(self) -> Waiter:
        """A new waiter."""

    def spawn(self, function: TaskFunction) -> None:
        """Start a task that belongs to nobody's task group; it must not raise."""


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

    def mailbox(self) -> Mailbox:
        """One that costs as little as this machine allows."""
        try:
            return Bell(self._loop)
        except NotImplementedError:
            return Plain(self.post)

    def waiter(self) -> asyncio.Future[None]:
        """A new waiter."""
        return self._loop.create_future()

    def spawn(self, function: TaskFunction) -> None:
        """Start a task. The loop itself keeps only weak references to tasks."""
        task = self._loop.create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class EventWaiter:
    """A trio event as a waiter."""

    def __init__(self, event: trio.Event) -> None:
        self._event = event

    def done(self) -> bool:
        """Whether it was set."""
        return self._event.is_set()

    def set_result(self, result: None) -> None:
        """Let the task go on."""
        del result
        self._event.set()

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until then."""
        return self._event.wait().__await__()


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

    def mailbox(self) -> Mailbox:
        """The loop's own."""
        return Plain(self.post)

    def waiter(self) -> EventWaiter:
        """A new waiter."""
        from trio import Event  # noqa: PLC0415 - only where trio runs already

        return EventWaiter(Event())

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
