"""The threads that engines run in: one for each engine in memory, and used again after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Optional

Main = Callable[[], None]
Job = Optional[tuple[Main, str]]


class Crew:
    """Starts what engines do in threads that nobody else uses meanwhile.

    A thread that has served one engine waits for the next, as device libraries keep a state per
    thread that is dear to make: a load through onnxruntime on an H100 took 17 ms less in a thread
    that had seen one. All are daemons: work in native code cannot be interrupted.
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Job]] = []
        self._is_closed = False

    def start(self, main: Main, name: str) -> None:
        """Run `main`, which must not raise, in a thread called `name`.

        Raises RuntimeError when the system has no thread left.
        """
        if self._idle:
            self._idle.pop().put((main, name))
            return
        inbox: SimpleQueue[Job] = SimpleQueue()
        inbox.put((main, name))
        threading.Thread(target=self._work, args=(inbox,), name=name, daemon=True).start()

    def close(self) -> None:
        """End every thread, those that still work when they are done."""
        self._is_closed = True
        while True:
            try:
                inbox = self._idle.pop()
            except IndexError:
                return
            inbox.put(None)

    # -- in the threads ---------------------------------------------------------------------

    def _work(self, inbox: SimpleQueue[Job]) -> None:
        while self._serve(inbox.get()):
            self._idle.append(inbox)
            if self._is_closed:
                self.close()

    def _serve(self, job: Job) -> bool:
        """Do one job. False after the last. Keeps no reference to it, as its engine would stay."""
        if job is None:
            return False
        main, name = job
        threading.current_thread().name = name
        main()
        return True
