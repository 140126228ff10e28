"""MQTT 5's PUBLISH packet, as bytes and back (OASIS MQTT 5.0, 2.2.2 and 3.3).

paho has its own, which copies the payload for every property, and raises on texts that MQTT allows
(U+FEFF): the connection is then cut, and again after every reconnect, for the broker sends the
message anew.
"""

from __future__ import annotations

from typing import Any, Union

from scheduler.transport.message import Message

Buffer = Union[bytes, bytearray]

CONTENT_TYPE = 3
RESPONSE_TOPIC = 8
CORRELATION_DATA = 9
EXPIRY = 2
USER_PROPERTY = 38

_WIDTHS = {1: 1, EXPIRY: 4, 35: 2}
"""Bytes of the properties that are numbers: payload format, message expiry, topic alias."""

_SUBSCRIPTION = 11
"""A number of one to four bytes."""

_TEXTS = {CONTENT_TYPE, RESPONSE_TOPIC}

_LENGTH_BYTES_MAX = 4


class MalformedPacketError(ValueError):
    """Raised when a packet cannot be read."""


def decode_publish(command: int, body: Buffer) -> Message:
    """Read a PUBLISH: `command` is its first byte, `body` all that follows its length.

    Raises MalformedPacketError, and nothing else.
    """
    qos = (command >> 1) & 3
    try:
        topic, at = _text(body, 0)
        at += 2 if qos else 0
        size, at = _varint(body, at)
        end = at + size
        if end > len(body):
            raise MalformedPacketError("its properties are longer than it is")
        found, user = _properties(body, at, end)
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedPacketError(str(error)) from None
    return Message(
        topic=topic,
        payload=bytes(memoryview(body)[end:]),
        qos=qos,
        retain=bool(command & 1),
        content_type=found.get(CONTENT_TYPE),
        response_topic=found.get(RESPONSE_TOPIC),
        correlation=found.get(CORRELATION_DATA),
        expiry_s=found.get(EXPIRY),
        user=tuple(user),
    )


def packet_number(command: int, body: Buffer) -> int | None:
    """The number under which a PUBLISH is to be acknowledged; None at QoS 0."""
    if not (command >> 1) & 3:
        return None
    at = 2 + int.from_bytes(body[:2], "big")
    return int.from_bytes(body[at : at + 2], "big")


def encode_properties(message: Message) -> bytes:
    """The properties of a PUBLISH, with their length in front."""
    parts = []
    if message.expiry_s is not None:
        parts.append(bytes([EXPIRY]) + message.expiry_s.to_bytes(4, "big"))
    if message.content_type is not None:
        parts.append(bytes([CONTENT_TYPE]) + _sized(message.content_type))
    if message.response_topic is not None:
        parts.append(bytes([RESPONSE_TOPIC]) + _sized(message.response_topic))
    if message.correlation is not None:
        length = len(message.correlation).to_bytes(2, "big")
        parts.append(bytes([CORRELATION_DATA]) + length + message.correlation)
    for key, value in message.user:
        parts.append(bytes([USER_PROPERTY]) + _sized(key) + _sized(value))
    packed = b"".join(parts)
    return _varint_bytes(len(packed)) + packed


def _properties(body: Buffer, at: int, end: int) -> tuple[dict[int, Any], list[tuple[str, str]]]:
    found: dict[int, Any] = {}
    user: list[tuple[str, str]] = []
    while at < end:
        kind, at = body[at], at + 1
        if kind == USER_PROPERTY:
            key, at = _text(body, at)
            value, at = _text(body, at)
            user.append((key, value))
            continue
        if kind in found and kind != _SUBSCRIPTION:
            raise MalformedPacketError(f"the property {kind} stands twice")
        found[kind], at = _value(kind, body, at)
    if at != end:
        raise MalformedPacketError("a property goes beyond the end of them all")
    return found, user


def _value(kind: int, body: Buffer, at: int) -> tuple[Any, int]:
    if kind in _TEXTS:
        return _text(body, at)
    if kind == CORRELATION_DATA:
        return _data(body, at)
    if kind in _WIDTHS:
        end = at + _WIDTHS[kind]
        return int.from_bytes(body[at:end], "big"), end
    if kind == _SUBSCRIPTION:
        return _varint(body, at)
    raise MalformedPacketError(f"there is no property {kind}")


def _data(body: Buffer, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + ((body[at] << 8) | body[at + 1])
    if end > len(body):
        raise MalformedPacketError("a text or data goes beyond its end")
    return bytes(body[start:end]), end


def _text(body: Buffer, at: int) -> tuple[str, int]:
    data, end = _data(body, at)
    return data.decode("utf-8"), end


def _varint(body: Buffer, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LENGTH_BYTES_MAX):
        byte = body[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at + place + 1
    raise MalformedPacketError("a length of more than four bytes")


def _varint_bytes(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        packed.append((value & 0x7F) | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


def _sized(text: str) -> bytes:
    data = text.encode("utf-8")
    return len(data).to_bytes(2, "big") + data
