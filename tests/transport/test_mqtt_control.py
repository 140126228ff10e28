"""Orders: answered like requests, and never behind them."""

from __future__ import annotations

import asyncio
import json

import pytest

from scheduler.core.mode import Mode
from scheduler.trace.line import decode_header, decode_record


async def order(node, verb, said="", **options):
    return await node.broker.ask(f"rota/n1/control/{verb}", said, **options)


async def test_load_unload_pin_and_unpin(make_node):
    node = make_node()
    script = node.scripts["echo"]
    async with node.running():
        assert await order(node, "load", {"model": "echo"}) == {"model": "echo", "loaded": True}
        assert script.loads == 1
        assert (await order(node, "pin", "echo"))["pinned"] is True
        refused = (await order(node, "unload", "echo"))["error"]
        assert (refused["code"], refused["outcome"]) == ("model_pinned", "rejected")
        assert (await order(node, "unpin", "echo"))["pinned"] is False
        assert (await order(node, "unload", "echo"))["loaded"] is False
        assert script.unloads == 1


async def test_a_priority_is_given_and_taken_back(make_node):
    quiet = Mode(name="quiet", priority={"echo": 10})
    node = make_node(modes=[quiet])
    async with node.running():
        for said, in_force in (
            ({"model": "echo", "priority": 80}, 80),
            ({"model": "echo", "priority": "high"}, 75),
            ({"model": "echo"}, 50),
            ({"model": "echo", "priority": 0}, 0),
            ("echo", 50),
            ({"model": "echo", "priority": "critical"}, 100),
            ({"model": "echo", "priority": "default"}, 50),
        ):
            told = await order(node, "priority", said)
            assert told == {"model": "echo", "priority": in_force}
        [engine] = (await order(node, "status"))["engines"]
        assert engine["priority"] == 50
        await order(node, "mode", {"mode": "quiet"})
        told = await order(node, "priority", {"model": "echo", "priority": 80})
        assert told["priority"] == 10
        await order(node, "mode", {"mode": None})
        assert node.runtime.snapshot().engines[0].priority == 80
    set_by = [r.event.priority for r in node.flight.records() if hasattr(r.event, "priority")]
    assert set_by == [80, 75, None, 0, None, 100, None, 80]


async def test_status_is_the_whole_state(make_node):
    node = make_node()
    async with node.running():
        told = await order(node, "status")
    assert told["engines"][0]["model"] == "echo"
    assert told["pools"][0]["budget_bytes"] == 1000 << 20


async def test_a_dump_reads_like_a_trace(make_node, broker):
    node = make_node()
    async with node.running():
        await broker.ask(node.infer(), {"payload": 1})
        lines = await broker.call("rr", "-t", "rota/n1/control/dump", "-e", "r", "-n", "-W", "5")
    header, *records = lines.rstrip(b"\n").split(b"\n")
    assert decode_header(header).node == "n1"
    kinds = [type(decode_record(line).event).__name__ for line in records]
    assert "RequestArrived" in kinds
    assert "EngineLoaded" in kinds


async def test_a_mode_is_switched_to_and_stands_in_the_status(make_node, make_robot, code_of):
    docking = Mode(name="docking", pin=("spare",), disable=("echo",))
    node, robot = make_node(modes=[docking]), make_robot("rota/n1/status", "reply/me")
    node.add("spare")
    async with node.running():
        told = await order(node, "mode", {"mode": "docking"})
        assert (told["mode"], told["loads"]) == ("docking", ["spare"])
        seen = {}
        robot.send(node.infer(), ResponseTopic="reply/me")
        while "reply/me" not in seen or b'"docking"' not in seen["rota/n1/status"].payload:
            message = await robot.next()
            seen[message.topic] = message
        assert code_of(seen["reply/me"]) == "model_disabled"
        assert (await order(node, "mode", {"mode": "dcking"}))["error"]["code"] == "unknown_mode"
        assert (await order(node, "mode", {"mode": None}))["mode"] is None
        assert node.runtime.snapshot().mode is None


async def test_a_drain_is_answered_and_the_status_says_so(make_node, broker, make_robot, code_of):
    node, robot = make_node(), make_robot("rota/n1/status", "reply/me")
    async with node.running():
        await broker.ask(node.infer(), {"payload": 1})
        assert await order(node, "drain", {"limit_s": 3}) == {"drained": True}
        assert node.scripts["echo"].unloads == 1
        robot.send(node.infer(), ResponseTopic="reply/me")
        seen = {}
        while "reply/me" not in seen or b"drains" not in seen["rota/n1/status"].payload:
            message = await robot.next()
            seen[message.topic] = message
    assert code_of(seen["reply/me"]) == "shutting_down"


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("lod", "echo"),
        ("load", ""),
        ("load", {"model": 5}),
        ("load", {"modle": "echo"}),
        ("load", [1]),
        ("mode", {}),
        ("mode", {"mode": 5}),
        ("drain", {"limit_s": "5"}),
        ("drain", {"limit_s": -1}),
        ("drain", {"limit_s": True}),
        ("status", {"x": 1}),
        ("cancel", {}),
        ("cancel", {"request_id": 7}),
        ("cancel", {"request_id": "a/b"}),
        ("cancel", {"request_id": "7", "model": "echo"}),
        ("priority", ""),
        ("priority", {"model": "echo", "priority": 101}),
        ("priority", {"model": "echo", "priority": "urgent"}),
        ("priority", {"model": "echo", "priority": [1]}),
    ],
    ids=str,
)
async def test_a_wrong_order_is_refused(make_node, verb, said):
    node = make_node()
    async with node.running():
        assert (await order(node, verb, said))["error"]["code"] == "bad_request"
        assert (await order(node, "load", "nobody"))["error"]["code"] == "unknown_model"


async def test_orders_without_a_response_topic_are_answered_below_results(make_node, make_robot):
    node, robot = make_node(), make_robot("rota/n1/results/#")
    async with node.running():
        robot.send("rota/n1/control/load/7", b"echo")
        answer = await robot.next()
    assert answer.topic == "rota/n1/results/control/load/7"


async def test_an_order_delivered_twice_is_carried_out_once(make_node, make_robot):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        said = {"ResponseTopic": "reply/me", "CorrelationData": b"7"}
        robot.send("rota/n1/control/load", b"echo", **said)
        await robot.next()
        node.runtime.unpin("echo")
        await node.runtime.unload("echo")
        robot.send("rota/n1/control/load", b"echo", **said)
        assert (await robot.next_json())["loaded"] is True
        assert node.scripts["echo"].loads == 1


async def test_an_order_passes_all_requests_that_wait(make_node, broker, make_robot, eventually):
    """In the node, and on the way to it, where its requests are not even read."""
    node, robot = make_node(inbox={"in_flight": 2, "limit": 10_000}), make_robot("reply/me")
    node.add("spare")
    node.scripts["echo"].close_gate()
    taken = []
    take = node.transport.request_desk.take
    node.transport.request_desk.take = lambda message: (taken.append(1), take(message))
    frames = ["-t", node.infer(), "-m", json.dumps({"payload": "x" * 6000}), "--repeat", "300"]
    async with node.running():
        await broker.call("pub", *frames)
        await eventually(lambda: len(taken) == 300)
        loop, sock = asyncio.get_running_loop(), node.transport.requests._wire._client.socket()
        loop.remove_reader(sock)
        await broker.call("pub", *frames)
        for verb in ("status", "load", "pin", "unpin", "unload"):
            said = b"" if verb == "status" else b"spare"
            robot.send(f"rota/n1/control/{verb}", said, ResponseTopic="reply/me")
            assert "error" not in await robot.next_json()
        assert len(taken) == 300
        loop.add_reader(sock, node.transport.requests._wire._client.loop_read)
        await eventually(lambda: len(taken) == 600)
        assert node.transport.requests.losses == 0
