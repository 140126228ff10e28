"""Frames out of a file: once, or again and again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from anyio import to_thread

from scheduler.source.source import Frame, Source, SourceError

Pass = Generator[Frame, None, None]
"""One run through a recording: opens it, yields its frames, closes it."""


class Recording(Source):
    """Plays what `play` yields; `loop` starts it again at its end, with stamps that go on growing.

    `marked` says how a frame is sent when something is missing before it; as it is without one.
    Reading and decoding happen in a worker thread, one frame at a time.
    """

    def __init__(
        self,
        play: Callable[[], Pass],
        *,
        name: str,
        loop: bool = False,
        marked: Callable[[Any], Any] | None = None,
    ) -> None:
        self._play = play
        self._marked = marked
        self._name = name
        self._loop = loop
        self._pass = play()
        self._limiter = anyio.CapacityLimiter(1)
        self._offset_ns = 0
        self._last_ns: int | None = None
        self._step_ns = 0
        self._yielded = False

    async def next_frame(self) -> Frame | None:
        """The next frame, stamped with the time since the first pass began."""
        frame = await self._read()
        if frame is None and self._loop and self._yielded:
            self._rewind()
            frame = await self._read()
        if frame is None and not self._yielded:
            raise SourceError(f"{self._name} has no frames")
        return None if frame is None else self._shifted(frame)

    def marked(self, payload: Any) -> Any:
        """The payload, marked if the recording is of a kind that can be."""
        return payload if self._marked is None else self._marked(payload)

    async def aclose(self) -> None:
        """Close the file, in the thread that may be reading it."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._pass.close, limiter=self._limiter)

    async def _read(self) -> Frame | None:
        step: Callable[[], Frame | None] = partial(next, self._pass, None)
        frame = await to_thread.run_sync(step, limiter=self._limiter)
        self._yielded = self._yielded or frame is not None
        return frame

    def _rewind(self) -> None:
        if self._last_ns is not None:
            self._offset_ns = self._last_ns + self._step_ns
        self._pass = self._play()

    def _shifted(self, frame: Frame) -> Frame:
        if frame.stamp_ns is None:
            return frame
        stamp_ns = frame.stamp_ns + self._offset_ns
        if self._last_ns is not None:
            self._step_ns = stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        return replace(frame, stamp_ns=stamp_ns)
