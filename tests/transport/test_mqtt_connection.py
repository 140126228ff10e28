"""What becomes of connections: brokers that go and come, rivals, silence, poison."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import to_thread

from scheduler.transport import backoff

POISON = "\ufeffvalue"


async def test_subscriptions_are_back_before_the_status_says_online(make_node, broker, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        for _ in range(2):
            broker.restart()
            said = await broker.call("sub", "-t", "rota/n1/status", "-C", "1", "-W", "8")
            while json.loads(said)["state"] != "online":
                said = await broker.call("sub", "-t", "rota/n1/status", "-C", "1", "-W", "8")
            told = await broker.ask(node.infer(), {"payload": "after"})
            assert told["result"] == "after"
        assert node.transport.requests.losses >= 2
    robot.client.disconnect()


async def test_an_answer_that_could_not_go_is_sent_after_reconnecting(
    broker, make_node, make_robot, eventually
):
    robot = make_robot("reply/me")
    async with Tunnel(broker.port).open() as tunnel:
        node = make_node(url=f"mqtt://127.0.0.1:{tunnel.port}")
        node.scripts["echo"].close_gate()
        async with node.running():
            for qos in (0, 1):
                robot.send(node.infer(), {"payload": qos}, qos=qos, ResponseTopic="reply/me")
            await eventually(lambda: node.scripts["echo"].runs, "a run")
            await eventually(lambda: node.runtime.snapshot().waiting, "one that waits")
            tunnel.is_shut = True
            tunnel.cut()
            await eventually(lambda: not node.transport.requests.is_up, "the loss")
            node.scripts["echo"].open_gate()
            await eventually(lambda: len(node.transport.requests.outbox) == 2, "answers kept")
            tunnel.is_shut = False
            assert [(await robot.next_json())["result"] for _ in range(2)] == [0, 1]
            assert len(node.transport.requests.outbox) == 0


@pytest.mark.parametrize("qos", [0, 1])
async def test_texts_that_libraries_choke_on_do_not_cut_the_connection(
    make_node, broker, make_robot, qos
):
    """paho raises on U+FEFF: each such message would end every connection, one after the other."""
    node, robot = make_node(), make_robot("reply/me", "rota/n1/models/echo/result/+")
    async with node.running():
        for topic in (node.infer(), "rota/n1/control/status"):
            for where in (["user-property", "k", POISON], ["content-type", POISON]):
                flags = ["-q", str(qos), "-D", "publish", *where]
                await broker.call("pub", "-t", topic, "-m", '{"payload": 5}', *flags)
        await broker.call("pub", "-t", node.infer(POISON), "-m", "x")
        robot.send(node.infer(), {"payload": "good"}, ResponseTopic="reply/me")
        told = [json.loads((await robot.next()).payload) for _ in range(3)]
        assert sorted(str(one.get("result")) for one in told) == ["5", "None", "good"]
        assert [o["error"]["code"] for o in told if "error" in o] == ["unsupported"]
        assert node.transport.requests.losses == node.transport.orders.losses == 0


async def test_more_such_messages_than_a_broker_sends_unacknowledged(make_node, broker, make_robot):
    node, robot = make_node("other"), make_robot("rota/n1/models/echo/result/+")
    node.add("echo", queue={"limit": 100})
    async with node.running():
        poison = ["-D", "publish", "user-property", "k", POISON]
        lines = '{"payload": 1}\n' * 60
        await broker.call("pub", "-t", node.infer(), "-q", "1", "-l", *poison, said=lines)
        for _ in range(60):
            assert (await robot.next_json())["result"] == 1


def raw_publish(port, response_topic):
    """A PUBLISH at QoS 0 by hand, with what no library would send; True if the broker stays."""

    def text(data):
        return len(data).to_bytes(2, "big") + data

    with socket.create_connection(("127.0.0.1", port), 5) as line:
        body = text(b"MQTT") + b"\x05\x02\x00\x0a\x00" + text(b"raw")
        line.sendall(b"\x10" + bytes([len(body)]) + body)
        line.recv(100)
        properties = b"\x08" + text(response_topic)
        body = text(b"rota/n1/models/echo/infer") + bytes([len(properties)]) + properties
        body += b'{"payload": 1}'
        try:
            line.sendall(b"\x30" + bytes([len(body)]) + body + b"\xc0\x00")
            return line.recv(100) != b""
        except ConnectionError:
            return False


async def test_a_nul_in_a_response_topic_costs_nobody_but_its_sender(make_node, broker, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        for topic in (b"a\0b", b"\0", b"a\x01", b"\xff", b"a\xed\xa0\x80", b"\xef\xbb\xbf", b"#"):
            await to_thread.run_sync(raw_publish, broker.port, topic)
        robot.send(node.infer(), {"payload": "good"}, ResponseTopic="reply/me")
        assert (await robot.next_json())["result"] == "good"
        assert node.transport.requests.losses == 0


async def test_two_with_one_client_id_give_way_to_each_other_ever_longer(
    make_node, eventually, caplog
):
    first, second = (make_node(client_id="rover", node=name) for name in ("n1", "n2"))
    async with first.running():
        async with second.running():
            await eventually(lambda: caplog.text.count("give each node its own") >= 2)
            lines = [n.transport.requests for n in (first, second)]
            losses = [line.losses for line in lines]
            assert max(losses) <= 4
            await anyio.sleep(1)
            assert [line.losses for line in lines] == losses
        assert first.scripts["echo"].loads == first.scripts["echo"].unloads == 0


async def test_two_of_one_configuration_do_not_throw_each_other_out(make_node, caplog, eventually):
    first, second = make_node(), make_node()
    async with first.running(), second.running():
        await eventually(lambda: "another node calls itself rota/n1" in caplog.text)
        assert first.transport.requests.losses == second.transport.requests.losses == 0


async def fake_broker(reader, writer):
    """Takes a client in, then says that its session was taken over, as MQTT 5 wants it said."""
    await reader.read(4096)
    writer.write(b"\x20\x03\0\0\0")
    subscribe = await reader.read(4096)
    number, filters = subscribe[2:4], subscribe.count(b"rota/")
    writer.write(bytes([0x90, 3 + filters]) + number + bytes(1 + filters))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.write(b"\xe0\x01\x8e")
    writer.close()


async def test_a_broker_that_says_session_taken_over_is_believed(make_node, eventually, caplog):
    server = await asyncio.start_server(fake_broker, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        node = make_node(url=f"mqtt://127.0.0.1:{port}")
        async with node.running():
            await eventually(lambda: caplog.text.count("give each node its own") == 2)
            await anyio.sleep(0.3)
            assert node.transport.requests.losses == node.transport.orders.losses == 1


async def test_small_packets_do_not_wait_for_each_other(make_node):
    node = make_node()
    async with node.running():
        for connection in (node.transport.requests, node.transport.orders):
            line = connection._wire._client.socket()
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


class Tunnel:
    """A stretch of network between a node and a broker, which can go silent or break."""

    def __init__(self, port):
        self.port = None
        self._to = port
        self.is_silent = False
        self.is_shut = False
        self._writers = []

    @asynccontextmanager
    async def open(self):
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader, writer):
        if self.is_shut:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, there_writer]
        await asyncio.gather(self._pipe(reader, there_writer), self._pipe(there_reader, writer))

    async def _pipe(self, reader, writer):
        try:
            while data := await reader.read(65536):
                if not self.is_silent:
                    writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()


async def test_silence_is_noticed_without_any_traffic(broker, make_node, eventually):
    async with Tunnel(broker.port).open() as tunnel:
        node = make_node(url=f"mqtt://127.0.0.1:{tunnel.port}", keepalive="1s")
        async with node.running():
            tunnel.is_silent = True
            await eventually(lambda: not node.transport.requests.is_up, "noticing", 6)
            tunnel.is_silent = False
            await eventually(lambda: node.is_up, "coming back")


async def test_an_old_will_does_not_hide_that_the_node_is_back(broker, make_node, eventually):
    """The broker publishes the will of a half-open connection long after the node is back."""
    async with Tunnel(broker.port).open() as tunnel:
        ghost = make_node(url=f"mqtt://127.0.0.1:{tunnel.port}")
        node = make_node()
        async with ghost.running(), node.running():
            tunnel.cut()  # the broker sees both connections of the ghost break: will
            await eventually(lambda: ghost.transport.orders.losses == 1, "the cut")
            tunnel.is_silent = True
            await anyio.sleep(0.2)
            said = await broker.call("sub", "-t", "rota/n1/status", "-C", "1", "-W", "5")
            assert json.loads(said)["session"] == node.transport.session
            assert json.loads(said)["state"] == "online"


async def test_a_broker_that_is_not_there_yet_is_waited_for(
    make_broker, make_node, eventually, caplog
):
    broker = make_broker(name="own")
    broker.kill()
    node = make_node(on=broker)
    async with node.runtime, anyio.create_task_group() as beside:
        beside.start_soon(node.transport.run)
        await eventually(lambda: "no connection to the broker" in caplog.text)
        assert not node.is_up
        broker.start()
        await eventually(lambda: node.is_up)
        beside.cancel_scope.cancel()


async def test_stopping_does_not_wait_for_a_broker_that_is_away(make_broker, make_node, eventually):
    broker = make_broker(name="own")
    node = make_node(on=broker)
    async with node.running():
        broker.kill()
        await eventually(lambda: not node.is_up, "the loss")
        started = anyio.current_time()
    assert anyio.current_time() - started < 2


async def test_what_a_session_kept_is_stale_and_costs_nothing_but_orders_come_through(
    broker, make_node, make_robot, eventually, monkeypatch
):
    monkeypatch.setattr(backoff, "MOST_S", 0.1)
    robot = make_robot("reply/me")
    async with Tunnel(broker.port).open() as tunnel:
        node = make_node("a", "b", "c", "d", "spare", url=f"mqtt://127.0.0.1:{tunnel.port}")
        async with node.running():
            tunnel.is_shut = True
            tunnel.cut()
            await eventually(lambda: not node.is_up, "the loss")
            said = {"ResponseTopic": "reply/me", "MessageExpiryInterval": 1}
            for number in range(50):
                robot.send(node.infer("abcd"[number % 4]), {"payload": number}, **said)
            robot.send("rota/n1/control/load", b"spare", ResponseTopic="reply/me")
            robot.send(node.infer("a"), {"payload": "fresh"}, ResponseTopic="reply/me")
            await anyio.sleep(2.1)  # a broker counts expiry in whole seconds
            tunnel.is_shut = False
            await eventually(lambda: node.is_up, "coming back", 15)
            # mosquitto 2.0 keeps what stands behind 20 expired messages until another one comes.
            robot.send(node.infer("a"), {"payload": "next"}, ResponseTopic="reply/me")
            told = [await robot.next_json() for _ in range(3)]
            assert {"model": "spare", "loaded": True} in told
            assert {one.get("result") for one in told} == {None, "fresh", "next"}
        assert [len(node.scripts[name].runs) for name in "abcd"] == [2, 0, 0, 0]
        assert [node.scripts[name].loads for name in "abcd"] == [1, 0, 0, 0]
    assert robot.messages.empty()
