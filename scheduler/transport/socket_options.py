"""How the sockets of MQTT connections are set, so that nothing waits for an acknowledgement."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paho.mqtt.enums import MQTTErrorCode

NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
"""Without it, small packets wait for the other side's delayed acknowledgement: 40 ms each."""

QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux alone has it (tcp(7))."""


def acknowledge_at_once(paho: Any) -> None:
    """Have what a paho client reads acknowledged at once, where the system can do that.

    A broker that holds back small packets until what went before is acknowledged (Nagle) would
    otherwise wait for the 40 ms by which Linux delays that. The system forgets the option by
    itself, so it is set at every read.
    """
    read = paho.loop_read

    def read_and_acknowledge() -> MQTTErrorCode:
        sock = paho.socket()
        if QUICK_ACK is not None and sock is not None:
            with suppress(OSError):  # what is wrong with the socket, the read will say
                sock.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
        code: MQTTErrorCode = read()
        return code

    paho.loop_read = read_and_acknowledge
