"""A client's frames: large payloads and results that pass through shared memory.

Only where the node says, in its status, that it reads them in the same place as the same user;
everything else goes by message, as without.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scheduler.core.outcome import Outcome
from scheduler.transport.frame import Frame, read_frame
from scheduler.transport.frame_maker import FrameMaker, sweep
from scheduler.transport.frames import LEAST_BYTES
from scheduler.transport.payload import FRAME, NPY
from scheduler.transport.refusal import Refusal, RefusalCode
from scheduler.transport.shelf import Shelf

if TYPE_CHECKING:
    from scheduler.client.encoding import Encoded
    from scheduler.client.exchange import Exchange
    from scheduler.transport.message import Message

MEET_S = 1.0
"""How long the node's retained status may take to come."""

RESULT_MAX_BYTES = 2**28
"""What MQTT allows a message to be."""


class ClientFrames:
    """Lays a client's frames, and takes those of its node away, between `open` and `close`."""

    def __init__(self) -> None:
        self._maker: FrameMaker | None = None
        self._why_not = "this client was not made with frames=True"

    def open(self) -> None:
        """Begin. Without shared memory all goes by message."""
        try:
            shelf = Shelf()
            sweep(shelf)
            self._maker = FrameMaker(shelf)
        except OSError as error:
            self._why_not = f"there is no shared memory here: {error}"

    def close(self) -> None:
        """Take away what is left."""
        if self._maker is not None:
            self._maker.close()
            self._maker = None

    def fault(self, status: Mapping[str, Any]) -> str | None:
        """Why frames do not reach a node with this status; None where they do."""
        if self._maker is None:
            return self._why_not
        said = status.get("frames")
        if not isinstance(said, dict) or not isinstance(said.get("max_bytes"), int):
            return "the node reads no frames; set mqtt.frames in its configuration"
        if said.get("place") != self._maker.shelf.place:
            return "the node is on another machine, or in a container with a /dev/shm of its own"
        if said.get("uid") != os.geteuid():
            return "the node runs as another user"
        return None

    async def wanted(self, accept: str | None, exchange: Exchange) -> str | None:
        """The content type to ask for where `accept` is wanted.

        The first time, the node is given a moment to say what it is.
        """
        if self._maker is not None:
            await exchange.meet(MEET_S)
        return FRAME if accept == NPY and self.fault(exchange.status) is None else accept

    @contextmanager
    def laid(self, encoded: Encoded, status: Mapping[str, Any]) -> Iterator[Encoded]:
        """What to send for a payload; its frame, if it needs one, lies there while this lasts."""
        payload, kind = encoded
        maker = self._maker if self._takes(len(payload), status) else None
        name = None if maker is None else _write(maker, payload)
        if maker is None or name is None:
            yield encoded
            return
        place = maker.shelf.place
        frame = Frame(place=place, name=name, size_bytes=len(payload), content_type=kind)
        try:
            yield frame.to_bytes(), FRAME
        finally:
            maker.shelf.remove(name)

    def _takes(self, size_bytes: int, status: Mapping[str, Any]) -> bool:
        if size_bytes < LEAST_BYTES or self.fault(status) is not None:
            return False
        limit_bytes: int = status["frames"]["max_bytes"]
        return size_bytes <= limit_bytes

    def taken(self, answer: Message) -> Message:
        """The answer with what lies in its frame, which is taken away.

        Raises Refusal when it is not there any more, or is not what the answer says.
        """
        if answer.content_type != FRAME or self._maker is None:
            return answer
        try:
            frame = read_frame(answer.payload)
            payload = self._maker.shelf.read(frame, RESULT_MAX_BYTES)
        except Refusal as refusal:
            text = f"the result cannot be fetched: {refusal}"
            raise Refusal(RefusalCode.INTERNAL, text, outcome=Outcome.FAILED) from None
        finally:
            self.leave(answer)
        return replace(answer, payload=payload, content_type=frame.content_type)

    def leave(self, answer: Message) -> None:
        """Take the frame away of an answer that nobody waits for any more."""
        if answer.content_type == FRAME and self._maker is not None:
            with suppress(Refusal):
                self._maker.shelf.remove(read_frame(answer.payload).name)


def _write(maker: FrameMaker, payload: bytes) -> str | None:
    """The name of a new frame; None where there is no room for it."""
    name = maker.name()
    try:
        maker.shelf.write(name, payload)
    except OSError:
        return None
    return name
