"""A node's frames: requests that lie in shared memory, and results that are laid there.

A result's frame is its client's to take away. Until then it is memory like any other, so all of
them together are bounded; what has no room goes by message, as does what is small.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import to_thread

from scheduler.core.model import SECOND_NS
from scheduler.transport.frame import Frame, read_frame
from scheduler.transport.frame_maker import FrameMaker, sweep
from scheduler.transport.outbox import KEEP_NS
from scheduler.transport.payload import FRAME
from scheduler.transport.refusal import unsupported
from scheduler.transport.shelf import Shelf

if TYPE_CHECKING:
    from scheduler.config.mqtt import Frames as Limits
    from scheduler.runtime.clock import Clock
    from scheduler.transport.answer import Answer
    from scheduler.transport.message import Message

LEAST_BYTES = 128 * 1024
"""What is smaller is as quick by message, on loopback."""

QUICK_BYTES = 1024 * 1024
"""Up to this a frame is laid in the event loop: a worker thread would cost as much."""

SWEEP_NS = 60 * SECOND_NS
"""How often to look for what others have left that are gone."""

_log = logging.getLogger(__name__)


class Frames:
    """Reads and lays frames between `open` and `close`, unless `limits` is None."""

    def __init__(self, limits: Limits | None, clock: Clock) -> None:
        self._limits = limits
        self._now_ns = clock.now_ns
        self._maker: FrameMaker | None = None
        self._laid: dict[str, tuple[int, int]] = {}
        """By name: the size, and until when it may lie there."""
        self._writing_bytes = 0
        self._swept_ns = 0

    def open(self) -> None:
        """Begin, after those that ended without clearing up. Without shared memory it says so."""
        if self._limits is None:
            return
        try:
            shelf = Shelf()
            sweep(shelf)
            self._maker = FrameMaker(shelf)
        except OSError as error:
            _log.error("mqtt.frames: %s; all goes by message", error)
        self._swept_ns = self._now_ns()

    def close(self) -> None:
        """Take away what nobody has taken."""
        if self._maker is not None:
            self._maker.close()
            self._maker = None

    def facts(self) -> Mapping[str, str | int] | None:
        """What a client has to know to lay frames for this node; None where none are read."""
        if self._maker is None or self._limits is None:
            return None
        place = self._maker.shelf.place
        return {"place": place, "uid": os.geteuid(), "max_bytes": self._limits.max}

    def fetch(self, message: Message, make_room: Callable[[int], None]) -> Message:
        """Copy out what a request says lies there; returns the request with it.

        `make_room` is asked for so many bytes before. Raises Refusal, as it does.
        """
        if self._maker is None or self._limits is None:
            raise unsupported(
                "no frames are read here: send the payload itself, or set mqtt.frames of the node, "
                "which does not hold for requests to a fleet"
            )
        frame = read_frame(message.payload)
        make_room(frame.size_bytes)
        payload = self._maker.shelf.read(frame, self._limits.max)
        return replace(message, payload=payload, content_type=frame.content_type)

    async def lay(self, answer: Answer) -> Answer:
        """Lay a result; returns it as it is where it is small or there is no room."""
        size_bytes = len(answer.payload)
        if self._maker is None or size_bytes < LEAST_BYTES or not self._has_room(size_bytes):
            return answer
        name, shelf = self._maker.name(), self._maker.shelf
        self._writing_bytes += size_bytes
        try:
            if size_bytes <= QUICK_BYTES:
                shelf.write(name, answer.payload)
            else:
                await to_thread.run_sync(shelf.write, name, answer.payload)
        except OSError as error:
            _log.warning("a result of %d bytes goes by message: %s", size_bytes, error)
            return answer
        finally:
            self._writing_bytes -= size_bytes
        self._laid[name] = (size_bytes, self._now_ns() + KEEP_NS)
        kind = answer.content_type
        frame = Frame(place=shelf.place, name=name, size_bytes=size_bytes, content_type=kind)
        return replace(answer, payload=frame.to_bytes(), content_type=FRAME)

    def has_untaken(self) -> bool:
        """Whether a result lies there that its client has not taken yet."""
        self._forget()
        return bool(self._laid)

    def sweep(self) -> None:
        """Take away results that nobody took in time, and what is left of processes now gone."""
        self._forget()
        if self._maker is not None and self._now_ns() - self._swept_ns >= SWEEP_NS:
            self._swept_ns = self._now_ns()
            sweep(self._maker.shelf)

    def _has_room(self, size_bytes: int) -> bool:
        limit_bytes = 0 if self._limits is None else self._limits.results
        if self._laid_bytes + size_bytes > limit_bytes:
            self._forget()
        return self._laid_bytes + size_bytes <= limit_bytes

    @property
    def _laid_bytes(self) -> int:
        return self._writing_bytes + sum(size_bytes for size_bytes, _ in self._laid.values())

    def _forget(self) -> None:
        """Book out what was taken; take away what nobody took in time."""
        if self._maker is None:
            return
        shelf, now_ns = self._maker.shelf, self._now_ns()
        for name, (_, until_ns) in list(self._laid.items()):
            if until_ns <= now_ns:
                shelf.remove(name)
            if not shelf.has(name):
                del self._laid[name]
