"""The PUBLISH packet: what paho writes is read, what we write paho reads, nothing else raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scheduler.transport.message import Message
from scheduler.transport.packet import (
    MalformedPacketError,
    decode_publish,
    encode_properties,
    packet_number,
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=300)
messages = st.builds(
    Message,
    topic=texts,
    payload=st.binary(max_size=300),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    content_type=st.none() | texts,
    response_topic=st.none() | texts,
    correlation=st.none() | st.binary(max_size=300),
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    user=st.lists(st.tuples(texts, texts), max_size=4).map(tuple),
)


def properties_of_paho(message):
    properties = Properties(PacketTypes.PUBLISH)
    said = {
        "ContentType": message.content_type,
        "ResponseTopic": message.response_topic,
        "CorrelationData": message.correlation,
        "MessageExpiryInterval": message.expiry_s,
    }
    for name, value in said.items():
        if value is not None:
            setattr(properties, name, value)
    if message.user:
        properties.UserProperty = list(message.user)
    return properties


def packed(message, properties, number=7):
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    body += number.to_bytes(2, "big") if message.qos else b""
    return 0x30 | message.qos << 1 | message.retain, body + properties + message.payload


@given(messages)
def test_what_paho_packs_is_read(message):
    command, body = packed(message, properties_of_paho(message).pack())
    assert decode_publish(command, body) == message
    assert decode_publish(command, bytearray(body)) == message
    assert packet_number(command, body) == (7 if message.qos else None)


@given(messages)
def test_what_is_packed_paho_reads(message):
    read, size = Properties(PacketTypes.PUBLISH).unpack(encode_properties(message))
    assert size == len(encode_properties(message))
    wanted = properties_of_paho(message)
    for name in ("ContentType", "ResponseTopic", "CorrelationData", "MessageExpiryInterval"):
        assert getattr(read, name, None) == getattr(wanted, name, None)
    assert tuple(getattr(read, "UserProperty", ())) == message.user


def test_numbers_that_are_of_no_interest_are_passed_over():
    properties = b"\x01\x01" + b"\x0b\xff\x7f" + b"\x0b\x01" + b"\x23\x00\x05"
    _, body = packed(Message(topic="t", payload=b"x"), bytes([len(properties)]) + properties)
    assert decode_publish(0x30, body) == Message(topic="t", payload=b"x")


WRONG = {
    "empty": b"",
    "topic beyond its end": b"\0\x09t",
    "topic not UTF-8": b"\0\x01\xff\0",
    "surrogate": b"\0\x03\xed\xa0\x80\0",
    "no properties": b"\0\x01t",
    "properties beyond the end": b"\0\x01t\x05\x01",
    "length of five bytes": b"\0\x01t\x80\x80\x80\x80\x00",
    "unknown property": b"\0\x01t\x02\x7f\x00",
    "twice": b"\0\x01t\x08\x03\0\x01a\x03\0\x01b",
    "number beyond its end": b"\0\x01t\x02\x02\x00xxxx",
    "user property of one text": b"\0\x01t\x04\x26\0\x01k",
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_malformed_packet_is_told(body):
    with pytest.raises(MalformedPacketError):
        decode_publish(0x30, body)


@given(
    st.integers(0x30, 0x3F),
    st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"\0\x01t" + rest),
)
def test_any_bytes_are_read_or_told_to_be_malformed(command, body):
    packet_number(command, body)
    try:
        message = decode_publish(command, body)
    except MalformedPacketError:
        return
    assert message.held_bytes <= len(body)
