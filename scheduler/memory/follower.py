"""Listening to a source that speaks when it likes, and that may stop, hang or die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""A source that ended is begun again after so long, twice as long each time it says nothing."""


class Follower(Generic[T]):
    """Keeps the last reading of a stream, read in a thread of its own, and when it was read.

    `stream` begins the stream anew each time; `stop` makes a stream that waits end. The thread
    starts with the first `last()`, and is a daemon: a source that hangs keeps nobody waiting.
    """

    def __init__(
        self,
        stream: Callable[[], Iterator[T]],
        *,
        stop: Callable[[], None] = lambda: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self.trouble = "nothing was said yet"
        self._stream = stream
        self._stop = stop
        self._now_ns = now_ns
        self._first_pause_s = first_pause_s
        self._last: tuple[T, int] | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def last(self) -> tuple[T, int] | None:
        """The last reading and the moment it was read; None before the first. Never waits."""
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._follow, daemon=True, name="memory source")
            self._thread.start()
        return self._last

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        self._stop()

    def _follow(self) -> None:
        pause_s = self._first_pause_s
        while not self._closed.is_set():
            before = self._last
            try:
                self._listen()
                self.trouble = "it has ended"
            except Exception as error:  # noqa: BLE001 - whatever ends it, it is begun again
                self.trouble = str(error) or type(error).__name__
            if self._last is not before:
                pause_s = self._first_pause_s
            self._closed.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _listen(self) -> None:
        for reading in self._stream():
            self._last = (reading, self._now_ns())
            self.trouble = ""
            if self._closed.is_set():
                return
