"""aiomqtt's client, with what this project needs of the paho client inside it.

A message is handed over inside the very call that read it: there is no wait that could be
cancelled, and so no message that is acknowledged and then lost. paho's handling of PUBLISH packets
is replaced (see `packet`), and it raises on reason codes that MQTT has not foreseen for an
acknowledgement, with one of which mosquitto 2.0 refuses a message that is too large.

None of this is part of aiomqtt's interface, so the requirement is below 3, and tests against a
broker hold each.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import aiomqtt
from paho.mqtt import MQTTException
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from scheduler.transport.message import Message
from scheduler.transport.packet import (
    MalformedPacketError,
    decode_publish,
    encode_properties,
    packet_number,
)
from scheduler.transport.read_ahead import ReadAhead
from scheduler.transport.receipt import Receipt
from scheduler.transport.socket_options import NO_DELAY, acknowledge_at_once

if TYPE_CHECKING:
    from ssl import SSLContext

    from paho.mqtt.client import Client as Paho
    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.enums import MQTTErrorCode

CONNECT_TIMEOUT_S = 3.0

ANSWER_TIMEOUT_S = 3.0
"""How long a broker may take to answer CONNECT, SUBSCRIBE or DISCONNECT."""

TURNED_AWAY = (
    "it closed the connection without an answer; it may want a certificate, or not like ours: see "
    "its log"
)

PLAIN_ACK_BYTES = 2
"""An acknowledgement that has a packet's number and no more says that all is well."""

TAKEN = ReasonCode(PacketTypes.PUBACK, "Success")
UNSPECIFIED = ReasonCode(PacketTypes.PUBACK, "Unspecified error")
NOTHING_TOLD = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]

_log = logging.getLogger(__name__)
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.CRITICAL)

OnMessage = Callable[[Message], None]
OnPublished = Callable[[int, int], None]
"""Takes the packet's number and the broker's reason code; 128 and above is a refusal."""


class Wire(aiomqtt.Client):
    """One connection to a broker, MQTT 5. Enter it to connect; `lost` returns when it is gone."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        on_message: OnMessage,
        on_published: OnPublished,
        keepalive_s: int,
        session_expiry_s: int,
        packet_max_bytes: int,
        will: Message | None,
        tls: SSLContext | None,
        username: str | None,
        password: str | None,
        resumes: bool,
        window: int | None = None,
    ) -> None:
        super().__init__(
            host,
            port,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            keepalive=keepalive_s,
            clean_start=not resumes,
            properties=_connect_properties(session_expiry_s, packet_max_bytes, window),
            will=_will(will),
            tls_context=tls,
            username=username,
            password=password,
            socket_options=NO_DELAY,
            timeout=ANSWER_TIMEOUT_S,
            logger=_library_log,
        )
        self._override(self._client)
        self._thread = threading.get_ident()
        self.unreadable = 0
        self._gives_receipts = window is not None
        self._take = on_message
        self._published = on_published
        self.packet_max_bytes = 2**28
        """The largest packet that the broker says it takes."""

    def _override(self, paho: Any) -> None:
        paho.connect_timeout = CONNECT_TIMEOUT_S
        self._handle_ack: Callable[[Any], MQTTErrorCode] = paho._handle_pubackcomp  # noqa: SLF001 - see above
        paho._handle_publish = self._take_publish  # noqa: SLF001
        ReadAhead(paho)
        acknowledge_at_once(paho)
        paho._handle_pubackcomp = self._handle_ack_or_refusal  # noqa: SLF001

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        """Write once the loop gets to it, all that is to go out by then.

        Aiomqtt would wait until the socket can take something, which it nearly always can; and it
        names the socket by its number already now, which may be another's by then.
        """
        del client, userdata, sock
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._write_out)
        else:  # paho connects in a thread
            self._loop.call_soon_threadsafe(self._write_out)

    def _write_out(self) -> None:
        paho = self._client
        try:
            paho.loop_write()
        except Exception as error:  # noqa: BLE001 - as aiomqtt: the connection is broken
            _fail(self._disconnected, error)
            return
        sock = paho.socket()
        if sock is not None and paho.want_write():
            self._loop.add_writer(sock.fileno(), self._write_out)

    async def connect(self) -> None:
        """Connect. Raises MqttError, with the broker's or the TLS library's own words."""
        self._disconnected.add_done_callback(self._lost_while_connecting)
        try:
            await self.__aenter__()
        except BaseException as error:
            if isinstance(error, (aiomqtt.MqttError, OSError)):  # else paho's thread still has it
                self._client._sock_close()  # noqa: SLF001 - aiomqtt leaves it open
            # What is still to be heard of it is of no interest.
            _fail(self._connected, aiomqtt.MqttError(str(error)))
            raise

    def _lost_while_connecting(self, lost: asyncio.Future[None]) -> None:
        """Aiomqtt itself would wait for an answer until its time is up."""
        error = None if lost.cancelled() else lost.exception()
        _fail(self._connected, aiomqtt.MqttError(str(error or TURNED_AWAY)))

    async def listen(self, filters: tuple[str, ...]) -> None:
        """Subscribe at QoS 1, with the retain flag as it was published.

        Raises MqttError, also when the broker refuses a filter.
        """
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        if not filters:
            return
        granted = await self.subscribe([(topic, options) for topic in filters])
        for topic, code in zip(filters, granted, strict=True):
            if getattr(code, "is_failure", False):
                raise aiomqtt.MqttError(f"the broker refuses the subscription {topic}: {code}")

    async def unlisten(self, filters: tuple[str, ...]) -> None:
        """Unsubscribe. Raises MqttError."""
        if filters:
            await self.unsubscribe(list(filters))

    def post(self, message: Message) -> int | None:
        """Send; returns the packet's number, or None where it has gone out already.

        `on_published` is called with that number when the broker has it (QoS 1), or when it is
        written (QoS 0). Raises MqttError when there is no connection.
        """
        sent = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, _packed(message)
        )
        if sent.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(sent.rc, "could not publish")
        if not self._client._in_callback_mutex.locked():  # noqa: SLF001 - it is paho's own, no RLock
            self._write_out()
        return None if sent.is_published() else sent.mid

    async def lost(self) -> None:
        """Wait until the connection is gone, then raise MqttError."""
        async for _ in self.messages:
            raise AssertionError("messages are handed over, never queued")

    async def close(self) -> None:
        """Disconnect, if there is still somebody to tell, and let the socket go."""
        try:
            await self.__aexit__(None, None, None)
        finally:
            self._client._sock_close()  # noqa: SLF001 - aiomqtt leaves it open after some errors
            _hear(self._disconnected)

    def _take_publish(self) -> MQTTErrorCode:
        """Hand over the packet that was just read, and acknowledge it unless it has a receipt."""
        packet = self._client._in_packet  # noqa: SLF001 - see above
        command, body = packet["command"], packet["packet"]
        number = packet_number(command, body)
        try:
            message = decode_publish(command, body)
            if number is not None and self._gives_receipts:
                receipt = Receipt(partial(self._acknowledge, number))
                self._take(replace(message, receipt=receipt))
                return MQTT_ERR_SUCCESS
            self._take(message)
        except MalformedPacketError as error:
            self.unreadable += 1
            _log.warning("a malformed message was dropped: %s", error)
        except Exception:  # noqa: BLE001 - raising here would cut the connection
            _log.exception("a message could not be taken in; it is dropped")
        return MQTT_ERR_SUCCESS if number is None else self._client._send_puback(number)  # noqa: SLF001

    def _acknowledge(self, number: int) -> None:
        """Acknowledge a packet of this connection, unless that is gone."""
        if self._client.is_connected():
            self._client._send_puback(number)  # noqa: SLF001 - see above

    def _handle_ack_or_refusal(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        """Take an acknowledgement; one whose reason paho does not know for a refusal."""
        packet = self._client._in_packet["packet"]  # noqa: SLF001 - see above
        if len(packet) == PLAIN_ACK_BYTES:
            return self._acknowledged(packet, TAKEN)
        try:
            return self._handle_ack(cmd)
        except MQTTException:
            return self._acknowledged(packet, UNSPECIFIED)

    def _acknowledged(self, packet: bytes | bytearray, reason: ReasonCode) -> MQTTErrorCode:
        paho, mid = self._client, int.from_bytes(packet[:2], "big")
        with paho._out_message_mutex:  # noqa: SLF001 - see above
            if mid not in paho._out_messages:  # noqa: SLF001
                return MQTT_ERR_SUCCESS
            return paho._do_on_publish(mid, reason, NOTHING_TOLD)  # noqa: SLF001

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        said = getattr(properties, "MaximumPacketSize", None)
        if said is not None:
            self.packet_max_bytes = said
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            _fail(self._connected, aiomqtt.MqttError(TURNED_AWAY))
        elif not self._connected.cancelled():
            super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self,
        client: Paho,  # noqa: ARG002
        userdata: Any,  # noqa: ARG002
        mid: int,
        reason_code: ReasonCode,
        properties: Properties,  # noqa: ARG002
    ) -> None:
        self._published(mid, reason_code.value)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    """Tell whoever waits, if it is open. Aiomqtt makes new ones, for which nobody may wait."""
    if not future.done():
        future.set_exception(error)
    _hear(future)


def _hear(future: asyncio.Future[None]) -> None:
    """Asyncio complains of an exception that nobody has asked for."""
    if future.done() and not future.cancelled():
        future.exception()


def _packed(message: Message) -> Any:
    return _Packed(encode_properties(message))


class _Packed:
    """What paho wants of a packet's properties: their bytes."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        self._packed = packed

    def pack(self) -> bytes:
        """The bytes."""
        return self._packed


def _connect_properties(
    session_expiry_s: int, packet_max_bytes: int, window: int | None
) -> Properties:
    connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    connect.SessionExpiryInterval = session_expiry_s
    connect.MaximumPacketSize = packet_max_bytes
    if window is not None:
        connect.ReceiveMaximum = window
    return connect


def _will(message: Message | None) -> aiomqtt.Will | None:
    if message is None:
        return None
    properties = None
    if message.expiry_s is not None:
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = message.expiry_s
    return aiomqtt.Will(message.topic, message.payload, message.qos, message.retain, properties)
