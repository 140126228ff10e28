"""Several nodes share one stream: who takes what, what is handed on, what the dead leave."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from paho.mqtt import client as paho

from scheduler.transport import backoff
from scheduler.transport.heir import NOBODY
from scheduler.transport.member import GONE, Record

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


def room_seen(node):
    """How much room it believes the others to have."""
    fleet = node.transport.fleet
    return sum(record.room for record in fleet.members.here(fleet._now_ns()))


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
        keys = set()
        while slow.transport.fleet.desk.inbox._handled < 2:
            keys.add(ask(robot, len(keys)))
            await anyio.sleep(0.02)
        # What the other hands over before it knows that there is no room would not go back.
        await eventually(lambda: room_seen(quick) == 0, "telling that it is full")
        keys |= {ask(robot, number) for number in range(len(keys), 40)}
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


def slowly(payload):
    time.sleep(0.25)
    return payload


async def test_what_one_cannot_do_in_time_another_does(make_fleet, make_robot, eventually):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2") as nodes:
        await met(nodes, eventually)
        slow, quick = nodes
        await quick.runtime.load("echo")
        slow.scripts["echo"].answer = slowly
        for number in range(10):  # it learns how long a run takes
            key = f"learn-{number}".encode()
            robot.send(slow.infer(), CorrelationData=key, ResponseTopic="reply/me")
            await eventually(lambda k=key: k in robot.answers)
        user = [("deadline-ms", "220")]
        keys = {ask(robot, number, user=user) for number in range(4)}
        await eventually(lambda: keys <= set(robot.answers))
        assert len(slow.scripts["echo"].runs) == 10
        assert sorted(quick.scripts["echo"].runs) == [0, 1, 2, 3]


async def test_what_nobody_can_do_is_answered_with_the_reason_and_goes_round_no_circles(
    make_fleet, make_robot, eventually, code_of
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", "n3", models=("other",)) as nodes:
        for node in nodes:
            node.add("echo", queue={"limit": 1}).close_gate()
        await eventually(lambda: all("echo" in n.transport.fleet._models for n in nodes), "adding")
        for number in range(30):
            ask(robot, number)
        await eventually(lambda: len(robot.answers) == 24, "all that is too much")
        assert {code_of(answer) for answer in robot.answers.values()} == {"queue_full"}
        handed_over = sum(node.transport.fleet.handed_over for node in nodes)
        assert 24 <= handed_over <= 30 * 3
        for node in nodes:
            node.scripts["echo"].open_gate()
        await eventually(lambda: len(robot.answers) == 30, "the rest")
    assert set(robot.counts.values()) == {1}


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


async def test_the_status_names_the_fleet_and_says_when_it_is_not_served(
    make_fleet, make_robot, eventually
):
    async with make_fleet("n1") as (node,):
        await eventually(lambda: node.transport.fleet.connection.is_up, "subscribing")
        robot = make_robot("rota/n1/status")
        cut_for_good(node)
        told = await robot.next_json()
        while told["state"] != "degraded":
            told = await robot.next_json()
    assert told["fleet"] == "rovers"
    assert told["why"] == ["requests to the fleet rovers are not subscribed to yet"]


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
            cut_for_good(dead)
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


async def test_a_node_that_starts_when_all_are_dead_finds_what_they_held(
    make_fleet, make_node, make_robot, eventually
):
    robot = make_robot("reply/me")
    dead = make_node(node="n0", fleet={"name": "rovers", "in_hand": 4})
    async with dead.running():
        await eventually(lambda: dead.transport.fleet._models, "subscribing")
        dead.scripts["echo"].close_gate()
        keys = {ask(robot, number) for number in range(20)}
        await eventually(lambda: dead.transport.fleet.desk.inbox._handled == 4, "taking")
        cut_for_good(dead)
        async with make_fleet("n1"):
            await eventually(lambda: set(robot.answers) == keys, "all answers", 5)
    assert set(robot.counts.values()) == {1}


def cut_for_good(node):
    """Its connection breaks, and it never comes back."""
    connection = node.transport.fleet.connection
    connection._backoff.delay_s = lambda *_, **__: 1000.0
    connection._wire._client.socket().shutdown(socket.SHUT_RDWR)


async def test_what_is_delivered_again_after_a_cut_is_run_once_and_acknowledged(
    make_fleet, make_robot, eventually, monkeypatch
):
    monkeypatch.setattr(backoff, "RIVAL_CLOSES", 100)  # the third cut would be waited for
    robot = make_robot("reply/me")
    async with make_fleet("n1") as (node,):
        fleet, seen = node.transport.fleet, node.transport.fleet.desk.remembered
        await eventually(lambda: fleet._models, "subscribing")
        node.scripts["echo"].close_gate()
        keys = {ask(robot, number) for number in range(6)}
        await eventually(lambda: fleet.desk.inbox._handled == 4, "taking")
        for losses in (1, 2):
            fleet.connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
            await eventually(lambda n=losses: fleet.connection.losses == n, "the loss")
            await eventually(lambda: fleet.connection.is_up, "coming back")
            await eventually(lambda n=losses: seen.duplicates >= 6 * n, "what comes again")
        node.scripts["echo"].open_gate()
        await eventually(lambda: set(robot.answers) == keys)
        await eventually(lambda: len(fleet.connection.outbox) == 0, "acknowledging")
        await fleet.connection._wire.unlisten(("nothing",))  # what was written before has arrived
        seen.duplicates = 0
        fleet.connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
        await eventually(lambda: fleet.connection.losses == 3, "the loss")
        await eventually(lambda: fleet.connection.is_up, "coming back")
        more = ask(robot, 7)
        await eventually(lambda: more in robot.answers)
        assert seen.duplicates == 0  # all had been acknowledged
        runs = Counter(node.scripts["echo"].runs)
    assert set(runs.values()) == {1}


async def test_what_is_handed_to_nobody_comes_back(make_fleet, make_robot, eventually):
    """Somebody says that it has room, and is not there."""
    robot = make_robot("reply/me")
    async with make_fleet("n1", in_hand=1) as (node,):
        await eventually(lambda: node.transport.fleet._models, "subscribing")
        ghost = Record("ghost-1", "ghost-fleet", room=50, models={"echo": True})
        robot.send("rota/fleet/rovers/nodes/ghost-1", ghost.to_bytes())
        await eventually(lambda: members_seen(node) == 1, "the ghost")
        node.scripts["echo"].close_gate()
        keys = {ask(robot, number) for number in range(20)}
        await eventually(lambda: node.transport.fleet.members._shut == {"ghost-1"}, "a refusal")
        node.scripts["echo"].open_gate()
        await eventually(lambda: set(robot.answers) == keys)
        assert node.transport.fleet.handed_over >= 1
    assert set(robot.counts.values()) == {1}


async def test_an_heir_that_is_thrown_out_tries_again(make_fleet, make_robot, eventually, broker):
    """The member that was thought gone is still there under its name at the broker."""
    gone = Record("ghost-1", "ghost-fleet", GONE, models={"echo": True})
    ghost = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id="ghost-fleet", protocol=paho.MQTTv5
    )
    ghost.reconnect_delay_set(1, 1)
    robot = make_robot("rota/fleet/rovers/nodes/ghost-1")
    async with make_fleet("n1") as (node,):
        await eventually(lambda: node.transport.fleet._models, "subscribing")
        ghost.connect("127.0.0.1", broker.port)
        ghost.loop_start()
        robot.send("rota/fleet/rovers/nodes/ghost-1", gone.to_bytes(), retain=True)
        told = await robot.next()
        while told.payload:
            told = await robot.next()
        ghost.loop_stop()
        assert list(node.transport.fleet.members.to_inherit(0)) == []


async def test_what_no_living_node_can_run_is_answered_with_the_reason_and_not_forgotten(
    make_fleet, make_node, make_robot, eventually, code_of
):
    robot = make_robot("reply/me")
    async with make_fleet("n1") as nodes:
        dead = make_node("rare", node="n0", fleet={"name": "rovers", "in_hand": 2})
        async with dead.running():
            await met([*nodes, dead], eventually)
            dead.scripts["rare"].close_gate()
            for number in range(5):
                key, topic = str(number).encode(), INFER.replace("echo", "rare")
                robot.send(topic, CorrelationData=key, ResponseTopic="reply/me")
            await eventually(lambda: len(dead.transport.fleet.desk.inbox) == 2, "taking")
            cut_for_good(dead)
            await eventually(lambda: len(robot.answers) == 5, "all answers", 5)
    assert {code_of(answer) for answer in robot.answers.values()} == {"unknown_model"}


async def test_a_model_that_goes_while_the_broker_is_away_is_not_subscribed_to_again(
    make_fleet, make_robot, eventually
):
    codes = {}
    robot = make_robot("reply/me")
    robot.client.on_publish = lambda _c, _u, mid, code, _p: codes.update({mid: code.value})
    async with make_fleet("n1", models=("echo", "other")) as (node,):
        connection = node.transport.fleet.connection
        await eventually(lambda: connection.is_up and len(connection._held) == 7, "subscribing")
        connection._backoff.delay_s = lambda *_, **__: 0.3
        connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
        await eventually(lambda: not connection.is_up, "the loss")
        await node.runtime.unregister("other")
        await eventually(lambda: len(connection._filters) == 5, "wanting less")
        assert not connection.is_up
        await eventually(lambda: connection.is_up, "coming back")
        sent = robot.send(INFER.replace("echo", "other"))
        await eventually(lambda: codes.get(sent.mid) == NOBODY, "nobody there")
        key = ask(robot, 1)
        await eventually(lambda: key in robot.answers)


async def test_a_fleet_is_together_again_when_the_broker_is_back(
    make_fleet, make_robot, eventually, broker
):
    robot = make_robot("reply/me")
    async with make_fleet("n1", "n2", "n3") as nodes:
        await met(nodes, eventually)
        lines = [node.transport.fleet.connection for node in nodes]
        for round_ in range(2):
            robot._subscribed.clear()
            broker.restart()
            await eventually(lambda n=round_: all(line.losses == n + 1 for line in lines), "loss")
            await eventually(lambda: all(line.is_up for line in lines), "coming back")
            await eventually(robot._subscribed.is_set, "the client")
            keys = {ask(robot, f"{round_}-{number}") for number in range(30)}
            await eventually(lambda k=keys: k <= set(robot.answers), "all answers")
        await met(nodes, eventually)
        told = await broker.ask(INFER, {"payload": "rr"}, "-q", "1")
        assert told["result"] == "rr"
        assert all(not node.transport.fleet._inherits for node in nodes)
