"""Several nodes share one stream: who takes what, what is handed on, what the dead leave."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest

INFER = "rota/fleet/rovers/models/echo/infer"
RECORDS = "rota/fleet/rovers/nodes/+"


@pytest.fixture
def make_fleet(make_node):
    @asynccontextmanager
    async def make(*names, in_hand=4, models=("echo",), **mqtt):
        async with AsyncExitStack() as stack:
            nodes = []
            for name in names:
                fleet = {"name": "rovers", "in_hand": in_hand}
                node = make_node(*models, node=name, fleet=fleet, **mqtt)
                nodes.append(node)
                await stack.enter_async_context(node.running())
            yield nodes

    return make


def members_seen(node):
    fleet = node.transport.fleet
    return len(fleet.members.here(fleet._now_ns()))


async def met(nodes, eventually):
    """Every node is subscribed, and knows of every other."""
    await eventually(lambda: all(n.transport.fleet._models for n in nodes), "subscribing")
    await eventually(lambda: all(members_seen(n) == len(nodes) - 1 for n in nodes), "meeting")


def ask(robot, number, **said):
    key = str(number).encode()
    robot.send(INFER, {"payload": number}, CorrelationData=key, ResponseTopic="reply/me", **said)
    return key


async def test_each_request_is_run_by_one_node_and_all_take_part(
    make_fleet, make_robot, eventually
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", "n3") as nodes:
        await met(nodes, eventually)
        keys = {ask(robot, number) for number in range(60)}
        await eventually(lambda: set(robot.answers) == keys)
        runs = [node.scripts["echo"].runs for node in nodes]
    assert sorted(number for ran in runs for number in ran) == list(range(60))
    assert all(len(ran) >= 10 for ran in runs)
    assert set(robot.counts.values()) == {1}


async def test_what_a_slow_node_cannot_handle_at_once_goes_to_one_with_room(
    make_fleet, make_robot, eventually
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", in_hand=2) as nodes:
        await met(nodes, eventually)
        slow, quick = nodes
        slow.scripts["echo"].close_gate()
        keys = {ask(robot, number) for number in range(40)}
        # What the other had handed over before it knew does not go back.
        await eventually(lambda: len(robot.answers) >= 30, "most")
        assert slow.transport.fleet.handed_over >= 10
        assert slow.transport.fleet.desk.inbox._handled == 2
        slow.scripts["echo"].open_gate()
        await eventually(lambda: set(robot.answers) == keys)
        runs = Counter([*slow.scripts["echo"].runs, *quick.scripts["echo"].runs])
    assert set(runs.values()) == {1}
    assert set(robot.counts.values()) == {1}


async def test_when_nobody_has_room_requests_wait(make_fleet, make_robot, eventually):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", in_hand=2) as nodes:
        await met(nodes, eventually)
        for node in nodes:
            node.scripts["echo"].close_gate()
        keys = {ask(robot, number) for number in range(100)}
        inboxes = [node.transport.fleet.desk.inbox for node in nodes]
        await eventually(lambda: all(len(inbox) >= 2 for inbox in inboxes), "full windows")
        assert [inbox._handled for inbox in inboxes] == [2, 2]
        for node in nodes:
            node.scripts["echo"].open_gate()
        await eventually(lambda: set(robot.answers) == keys)
    assert set(robot.counts.values()) == {1}


async def test_a_refusal_that_is_one_nodes_own_is_asked_of_the_next(
    make_fleet, make_robot, eventually
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", "n3") as nodes:
        await met(nodes, eventually)
        for node in nodes[:2]:
            await node.runtime.unregister("echo")
        keys = {ask(robot, number) for number in range(12)}
        await eventually(lambda: set(robot.answers) == keys)
        assert len(nodes[2].scripts["echo"].runs) == 12


async def test_what_nobody_can_do_in_time_is_answered_with_the_reason_and_goes_round_no_circles(
    make_fleet, make_robot, eventually, code_of
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", "n3") as nodes:
        await met(nodes, eventually)
        for node in nodes:
            node.scripts["echo"].answer = slowly
        for number in range(30):  # each node learns how long a run takes
            ask(robot, number)
        await eventually(lambda: len(robot.answers) == 30, "learning")
        before = sum(node.transport.fleet.handed_over for node in nodes)
        key = ask(robot, "late", user=[("deadline-ms", "25")])
        await eventually(lambda: key in robot.answers)
        assert code_of(robot.answers[key]) in {"deadline_unreachable", "deadline_passed"}
        assert 1 <= sum(node.transport.fleet.handed_over for node in nodes) - before <= 2
    assert robot.counts[key] == 1


def slowly(payload):
    time.sleep(0.03)
    return payload


async def test_a_record_says_what_a_node_can_run_and_how_much_room_it_has(
    make_fleet, make_robot, eventually
):
    async with make_fleet("n1", in_hand=4) as nodes:
        await eventually(lambda: nodes[0].transport.fleet._models, "subscribing")
        robot = make_robot(RECORDS)
        told = await robot.next_json()
        assert told["state"] == "here"
        assert (told["room"], told["models"]) == (4, {"echo": False})
        robot.send(INFER, {"payload": 1})
        while not told["models"].get("echo"):
            told = await robot.next_json()
    while told["state"] != "gone":
        told = await robot.next_json()
    assert told["client_id"].startswith("rota-n1-")


async def test_a_node_that_stops_hands_on_what_it_holds(make_fleet, make_robot, eventually):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2") as nodes:
        await met(nodes, eventually)
        gated = nodes[1].scripts["echo"]
        gated.close_gate()
        async with make_fleet("n3", in_hand=2) as (leaving,):
            await met([*nodes, leaving], eventually)
            leaving.scripts["echo"].close_gate()
            keys = {ask(robot, number) for number in range(60)}
            await anyio.sleep(0.3)
        gated.open_gate()
        await eventually(lambda: set(robot.answers) == keys, "all answers")
    assert {json.loads(a.payload).get("result") for a in robot.answers.values()} == set(range(60))


async def test_what_a_dead_node_held_is_answered_by_the_others_and_its_session_ended(
    make_fleet, make_node, make_robot, eventually
):
    robot, watch = make_robot("reply/me"), make_robot(RECORDS)
    async with make_fleet("n1", "n2") as nodes:
        await met(nodes, eventually)
        dead = make_node(node="n0", fleet={"name": "rovers", "in_hand": 4})
        async with dead.running():
            await met([*nodes, dead], eventually)
            dead.scripts["echo"].close_gate()
            keys = {ask(robot, number) for number in range(60)}
            await eventually(lambda: len(robot.answers) >= 36, "what the living do")
            connection = dead.transport.fleet.connection
            connection._backoff.delay_s = lambda *_, **__: 1000.0  # it never comes back
            connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
            await eventually(lambda: set(robot.answers) == keys, "the rest", 5)
            assert dead.scripts["echo"].runs[1:] == []
            gone = await last_record(watch, "n0")
            assert gone == b""
    assert {json.loads(a.payload).get("result") for a in robot.answers.values()} == set(range(60))


async def last_record(watch, node):
    """The last that stands on a node's record, once it is taken away."""
    while True:
        message = await watch.next()
        if f"/{node}-" in message.topic and not message.payload:
            return message.payload
