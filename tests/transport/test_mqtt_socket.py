"""What the event loop is told of a socket, and when."""

import asyncio
import gc
import socket

import pytest
from anyio import to_thread
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from scheduler.transport.message import Message
from scheduler.transport.packet import _varint_bytes
from scheduler.transport.read_ahead import AHEAD_BYTES
from scheduler.transport.socket_options import QUICK_ACK, acknowledge_at_once
from scheduler.transport.wire import Wire


def ignore(*_):
    pass


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def wire():
    def make():
        return Wire(
            "127.0.0.1",
            1,
            client_id="a",
            on_message=ignore,
            on_published=ignore,
            keepalive_s=10,
            session_expiry_s=0,
            packet_max_bytes=1000,
            will=None,
            tls=None,
            username=None,
            password=None,
            resumes=False,
        )

    return make


@pytest.fixture
async def joined(wire):
    """A wire whose socket ends here."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    a_wire, taken = wire(), []
    a_wire._client._sock = ours
    a_wire._take = taken.append
    yield a_wire, theirs, taken
    ours.close()
    theirs.close()


# -- what goes out ----------------------------------------------------------------------------


async def test_a_message_is_written_in_the_call_that_posts_it(joined):
    wire, theirs, _ = joined
    assert wire.post(Message(topic="t", payload=b"now")) is None
    assert theirs.recv(100) == packet("t", b"now")


async def test_a_message_may_be_posted_while_another_is_acknowledged(joined):
    wire, theirs, _ = joined
    codes, second = [], Message(topic="t", payload=b"second")

    def published(_number, code):
        codes.append(code)
        if len(codes) == 1:
            wire.post(second)

    wire._published = published
    wire.post(Message(topic="t", payload=b"first", qos=1))
    assert theirs.recv(100) == packet("t", b"first", number=1)
    theirs.sendall(b"\x40\x02\x00\x01")
    wire._client.loop_read()
    assert codes == [0]
    await _a_turn_of_the_loop()
    assert theirs.recv(100) == packet("t", b"second")
    assert codes == [0, 0]


async def test_what_the_socket_does_not_take_at_once_goes_out_when_it_does(joined):
    wire, theirs, _ = joined
    told = []
    wire._published = lambda *what: told.append(what)
    large = Message(topic="t", payload=bytes(8_000_000))
    number = wire.post(large)
    assert number is not None
    assert told == []
    came = await to_thread.run_sync(lambda: read(theirs, len(packet("t", large.payload))))
    assert came == packet("t", large.payload)
    await _a_turn_of_the_loop()
    assert told == [(number, 0)]
    assert not wire._loop.remove_writer(wire._client._sock)


async def test_a_socket_that_closes_before_the_loop_gets_to_it_is_left_alone(joined):
    wire, _, _ = joined
    wire._client._send_puback(7)
    wire._client._sock = None
    watched = []
    wire._loop.add_writer = lambda *call: watched.append(call)
    try:
        await _a_turn_of_the_loop()
    finally:
        del wire._loop.add_writer
    assert watched == []


# -- what comes in ----------------------------------------------------------------------------


async def test_all_that_came_is_handed_over_at_once_and_acknowledged_together(joined):
    wire, theirs, taken = joined
    theirs.sendall(b"".join(packet("t", b"%d" % n, number=n) for n in range(1, 6)))
    wire._client.loop_read()
    assert [message.payload for message in taken] == [b"1", b"2", b"3", b"4", b"5"]
    await _a_turn_of_the_loop()
    assert theirs.recv(100) == b"".join(b"\x40\x02\x00%c" % n for n in range(1, 6))


@pytest.mark.parametrize("size", [3, 300, 70_000, 200_000])
async def test_a_message_may_come_in_any_pieces(joined, size):
    wire, theirs, taken = joined
    whole = packet("t", bytes(size)) + packet("t", b"next")
    for cut in {1, 2, 3, 5, size // 2, size, size + 8, size + 9, len(whole) - 1}:
        for piece in (whole[:cut], whole[cut:]):
            theirs.sendall(piece)
            for _ in range(3):
                wire._client.loop_read()
        assert [len(message.payload) for message in taken] == [size, 4], cut
        taken.clear()


async def test_one_read_takes_a_bounded_part_of_a_flood(joined):
    wire, theirs, taken = joined
    frame = packet("t", bytes(1000))
    theirs.sendall(frame * 100)
    wire._client.loop_read()
    assert len(taken) == AHEAD_BYTES // len(frame)
    wire._client.loop_read()
    assert len(taken) == 100


async def test_what_came_before_the_end_is_handed_over(joined):
    wire, theirs, taken = joined
    theirs.sendall(packet("t", b"last"))
    theirs.shutdown(socket.SHUT_WR)
    wire._client.loop_read()
    assert [message.payload for message in taken] == [b"last"]
    assert wire._client.socket() is not None
    wire._client.loop_read()
    assert wire._client.socket() is None


def packet(topic, payload, number=None):
    """A PUBLISH without properties, at QoS 1 where it has a number."""
    name = len(topic).to_bytes(2, "big") + topic.encode()
    told = b"" if number is None else number.to_bytes(2, "big")
    body = name + told + b"\0" + payload
    return bytes([0x30 if number is None else 0x32]) + _varint_bytes(len(body)) + body


def read(sock, size):
    data = bytearray()
    while len(data) < size:
        data += sock.recv(size - len(data))
    return bytes(data)


async def _a_turn_of_the_loop():
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.skipif(QUICK_ACK is None, reason="TCP_QUICKACK is Linux's")
async def test_what_is_read_is_acknowledged_at_once_each_time():
    class Paho:
        options = ()
        reads = 0

        def socket(self):
            return self

        def setsockopt(self, *option):
            self.options += (option,)

        def loop_read(self):
            self.reads += 1
            return self.reads

    paho = Paho()
    acknowledge_at_once(paho)
    for times in (1, 2):
        assert paho.loop_read() == times
        assert paho.options == ((socket.IPPROTO_TCP, QUICK_ACK, 1),) * times


async def test_a_wire_acknowledges_at_once(wire):
    assert "loop_read" in vars(wire()._client)


# -- connecting -------------------------------------------------------------------------------


async def test_nothing_is_left_of_a_connection_that_was_cancelled_on_its_way(wire):
    """Asyncio complains, once they are gone, of failures that nobody has asked for."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    a_wire = wire()
    a_wire.__aenter__ = asyncio.Event().wait
    connecting = asyncio.ensure_future(a_wire.connect())
    await _a_turn_of_the_loop()
    connecting.cancel()
    await asyncio.wait([connecting])
    a_wire._on_disconnect(a_wire._client, None, None, ReasonCode(PacketTypes.DISCONNECT))
    del a_wire, connecting
    gc.collect()
    assert told == []


async def test_nothing_is_left_of_a_connection_that_is_lost_after_it_was_closed(wire):
    """Once closed, aiomqtt has a new future for the next time, for which nobody waits."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    a_wire = wire()
    a_wire._on_disconnect(a_wire._client, None, None, ReasonCode(PacketTypes.DISCONNECT))
    assert a_wire._connected.done()
    del a_wire
    gc.collect()
    assert told == []
