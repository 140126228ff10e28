"""Reads what a socket has in one go, where paho would ask it for each byte of a packet's head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paho.mqtt.client import MQTT_ERR_SUCCESS

if TYPE_CHECKING:
    from paho.mqtt.enums import MQTTErrorCode

AHEAD_BYTES = 64 * 1024
"""What is as large is read where it belongs."""


class ReadAhead:
    """Stands between a paho client and its socket.

    A read of the client takes from the socket once, and handles every packet that came whole: the
    event loop hears nothing of what is here already. What one read can take is bounded, so that a
    flood leaves time for other things.
    """

    def __init__(self, paho: Any) -> None:
        self._receive = paho._sock_recv  # noqa: SLF001 - see `wire`
        self._read = paho.loop_read
        self._ahead = memoryview(b"")
        self._has_received = False
        paho._sock_recv = self.receive  # noqa: SLF001
        paho.loop_read = self.read

    def read(self) -> MQTTErrorCode:
        """Handle what the socket has; what paho's `loop_read` does for one packet."""
        self._has_received = False
        code: MQTTErrorCode = self._read()
        while self._ahead and code == MQTT_ERR_SUCCESS:
            code = self._read()
        return code

    def receive(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end of the stream. Raises OSError, as a socket."""
        if not self._ahead:
            if size >= AHEAD_BYTES:
                large: bytes = self._receive(size)
                return large
            if self._has_received:
                raise BlockingIOError
            self._has_received = True
            self._ahead = memoryview(self._receive(AHEAD_BYTES))
        part, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(part)
