"""Tasks that are started from the event loop's callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Hands:
    """A set of asyncio tasks that end together.

    A message is handed over in a callback of the loop, where anyio's task groups cannot start
    anything. What is started must not raise.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_open = False

    def open(self) -> None:
        """Take on work from now on."""
        self.is_open = True

    def start(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Start `function(*args)`. Raises RuntimeError when closed."""
        if not self.is_open:
            raise RuntimeError("these hands are closed; ask `is_open` first")
        task = asyncio.get_running_loop().create_task(function(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Take nothing on any more, cancel all that is under way and wait for it.

        Each has begun by then, and what has its answer already may send it first.
        """
        self.is_open = False
        await asyncio.sleep(0)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
