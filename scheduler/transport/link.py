"""Where the broker is, and the wires to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiomqtt
import anyio

from scheduler.transport.wire import Wire

if TYPE_CHECKING:
    from ssl import SSLContext

    from scheduler.transport.message import Message

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where the broker is and who we are to it.

    With a `window`, messages at QoS 1 are acknowledged by their receipts, and the broker sends so
    many before. Without, each is acknowledged as it is read.
    """

    host: str
    port: int
    client_id: str
    keepalive_s: int = 8
    session_expiry_s: int = 30
    packet_max_bytes: int = 2**28 - 1
    tls: SSLContext | None = None
    username: str | None = None
    password: str | None = None
    window: int | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port} as {self.client_id}"

    def wire(
        self,
        *,
        on_message: Callable[[Message], None],
        on_published: Callable[[int, int], None],
        will: Message | None,
        resumes: bool,
    ) -> Wire:
        """A wire that is not connected yet; see `Wire`."""
        return Wire(
            self.host,
            self.port,
            client_id=self.client_id,
            on_message=on_message,
            on_published=on_published,
            keepalive_s=self.keepalive_s,
            session_expiry_s=self.session_expiry_s,
            packet_max_bytes=self.packet_max_bytes,
            will=will,
            tls=self.tls,
            username=self.username,
            password=self.password,
            resumes=resumes,
            window=self.window,
        )


async def connect(wire: Wire) -> None:
    """Connect a wire. Raises aiomqtt.MqttError and OSError."""
    with anyio.CancelScope(shield=True):  # a cancelled connect would go on in its thread
        await wire.connect()


async def close(wire: Wire) -> None:
    """Take leave of the broker, which may be gone."""
    try:
        await wire.close()
    except (aiomqtt.MqttError, OSError, ValueError) as error:
        _log.debug("the broker was gone before we could take leave: %s", error)
