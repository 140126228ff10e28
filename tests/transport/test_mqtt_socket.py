"""What the event loop is told of a socket, and when."""

import socket

import pytest

from scheduler.transport.wire import QUICK_ACK, Wire, acknowledge_at_once


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


async def test_a_socket_that_closes_before_the_loop_gets_to_it_is_left_alone(wire):
    a_wire = wire()
    sock = socket.socket()
    a_wire._on_socket_register_write(None, None, sock)
    number = sock.fileno()
    sock.close()
    successor = socket.socket()  # It gets the number that has become free.
    assert successor.fileno() == number
    watched = []
    a_wire._loop.add_writer = lambda *call: watched.append(call)
    try:
        await _a_turn_of_the_loop()
    finally:
        del a_wire._loop.add_writer
        successor.close()
    assert watched == []


async def test_an_open_socket_is_watched(wire):
    a_wire = wire()
    with socket.socket() as sock:
        watched = []
        a_wire._loop.add_writer = lambda *call: watched.append(call[0])
        try:
            a_wire._on_socket_register_write(None, None, sock)
            await _a_turn_of_the_loop()
        finally:
            del a_wire._loop.add_writer
        assert watched == [sock.fileno()]


async def _a_turn_of_the_loop():
    import asyncio

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
