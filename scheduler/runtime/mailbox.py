"""What engine threads have to say to an asyncio loop, with as few system calls as can be.

`call_soon_threadsafe` writes to a socket for each piece of news, and the loop reads it twice: until
nothing is left. Here the first piece of news rings, those that come before the loop has looked do
not, and the loop reads once. That is a fifth of the time of a hop to a thread and back.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

Callback = Callable[..., object]


class Mailbox(Protocol):
    """Runs on the loop what threads ask for, in the order of each thread."""

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` on the loop soon, from any thread. Dropped when it has gone."""

    def close(self) -> None:
        """Run nothing any more. On the loop's thread."""


class Plain:
    """The mailbox of any other loop: its own way to hear from threads."""

    def __init__(self, post: Callable[..., None]) -> None:
        self.post = post

    def close(self) -> None:
        """See Mailbox. What comes now is as harmless as what came before."""


class Bell:
    """The mailbox of an asyncio loop on Linux: a queue, and an eventfd that the loop listens to.

    Raises NotImplementedError when the loop cannot listen to a file.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        if sys.platform != "linux":
            raise NotImplementedError("eventfd is Linux's")
        self._loop = loop
        self._news: deque[tuple[Callback, tuple[object, ...]]] = deque()
        self._is_rung = False
        self._is_closed = False
        self._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # A hung engine may ring at any time: while it can, the number must not be another file's.
        weakref.finalize(self, os.close, self._file)
        loop.add_reader(self._file, self._hear)

    def post(self, callback: Callback, *args: object) -> None:
        """Run `callback(*args)` on the loop soon."""
        if self._is_closed:
            return
        self._news.append((callback, args))
        if not self._is_rung:
            self._is_rung = True
            os.eventfd_write(self._file, 1)

    def _hear(self) -> None:
        """Take in what has come by now. What comes from here on rings again."""
        os.eventfd_read(self._file)
        self._is_rung = False
        news = self._news
        try:
            for _ in range(len(news)):
                callback, args = news.popleft()
                callback(*args)
                if self._is_closed:
                    return
        except BaseException:
            os.eventfd_write(self._file, 1)  # The loop tells of it; the rest is still to be heard.
            raise

    def close(self) -> None:
        """Run nothing any more."""
        self._is_closed = True
        self._loop.remove_reader(self._file)
        self._news.clear()
