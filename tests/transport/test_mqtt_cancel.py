"""A request that nobody waits for any more is called off at the node, wherever it is."""

from __future__ import annotations

import asyncio
import socket

import anyio
import pytest

from scheduler.client import RotaClient
from scheduler.client.question import Question
from scheduler.core.events import RequestCancelled
from scheduler.errors import DeadlineMissed
from scheduler.transport.message import Message

ME = "reply/me"


@pytest.fixture
def make_client(broker):
    def make(**options):
        return RotaClient(f"mqtt://127.0.0.1:{broker.port}", node="n1", **options)

    return make


def ask(robot, node, name, *, topic=ME, key=None, to=None):
    said = {} if topic is None else {"ResponseTopic": topic}
    user = [("request-id", name)]
    payload = {"payload": name}
    key = key or name.encode()
    robot.send(to or node.infer(), payload, user=user, CorrelationData=key, **said)


async def cancel(robot, name, *, topic=ME, node="n1"):
    """Whether it was, by the node's answer."""
    key = f"cancel {name}".encode()
    robot.answers.pop(key, None)
    said = {} if topic is None else {"ResponseTopic": topic}
    robot.send(
        f"rota/{node}/control/cancel", {"request_id": name}, CorrelationData=key, qos=0, **said
    )
    with anyio.fail_after(5):
        while key not in robot.answers:  # noqa: ASYNC110 - paho sets no event of ours
            await anyio.sleep(0.005)
    return {b'{"cancelled":true}': True, b'{"cancelled":false}': False}[robot.answers[key].payload]


def cancelled(node):
    return [r for r in node.flight.records() if isinstance(r.event, RequestCancelled)]


def ran(node):
    return node.scripts["echo"].runs


async def test_one_that_runs_is_answered_at_once_and_the_next_goes_on(
    make_node, make_robot, eventually, code_of, properties_of
):
    node, robot = make_node(), make_robot(ME)
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running():
        ask(robot, node, "first")
        await eventually(lambda: ran(node) == ["first"], "the run")
        ask(robot, node, "next")
        assert await cancel(robot, "first")
        await eventually(lambda: b"first" in robot.answers, "the answer")
        assert code_of(robot.answers[b"first"]) == "caller_cancelled"
        assert properties_of(robot.answers[b"first"]) == {"outcome": "cancelled", "id": "first"}
        await eventually(lambda: script.cancels == 1, "the engine's cancel")
        assert len(cancelled(node)) == 1
        assert not await cancel(robot, "first")
        script.open_gate()
        await eventually(lambda: b"next" in robot.answers, "the next")
        assert code_of(robot.answers[b"next"]) is None
        inbox = node.transport.request_desk.inbox
        await eventually(lambda: inbox.held_bytes == 0, "letting go of both")
        assert inbox.room == node_room(node)
    assert robot.counts[b"first"] == robot.counts[b"next"] == 1


def node_room(node):
    return node.transport.request_desk.inbox._in_flight


async def test_one_that_waits_in_line_never_runs(make_node, make_robot, eventually, code_of):
    node, robot = make_node(), make_robot(ME)
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running():
        for name in ("first", "second", "third"):
            ask(robot, node, name)
        await eventually(lambda: len(node.runtime.snapshot().waiting) == 2, "the line")
        assert await cancel(robot, "second")
        await eventually(lambda: b"second" in robot.answers, "the answer")
        assert code_of(robot.answers[b"second"]) == "caller_cancelled"
        await eventually(lambda: len(node.runtime.snapshot().waiting) == 1, "leaving the line")
        script.open_gate()
        await eventually(lambda: {b"first", b"third"} <= set(robot.answers), "the others")
    assert ran(node) == ["first", "third"]
    assert script.cancels == 0
    assert set(robot.counts.values()) == {1}


async def test_one_that_waits_for_a_hand_is_taken_out(make_node, make_robot, eventually, code_of):
    node, robot = make_node(inbox={"in_flight": 1, "limit": 2}), make_robot(ME)
    node.scripts["echo"].close_gate()
    async with node.running():
        inbox = node.transport.request_desk.inbox
        for name in ("first", "second", "third"):
            ask(robot, node, name)
        await eventually(lambda: len(inbox) == 2, "waiting for a hand")
        assert await cancel(robot, "second")
        await eventually(lambda: b"second" in robot.answers, "the answer")
        assert code_of(robot.answers[b"second"]) == "caller_cancelled"
        assert len(inbox) == 1
        ask(robot, node, "fourth")  # in the place of the second
        await eventually(lambda: len(inbox) == 2, "waiting for a hand")
        node.scripts["echo"].open_gate()
        await eventually(lambda: b"fourth" in robot.answers, "the last")
        await eventually(lambda: inbox.held_bytes == 0, "letting go of all")
    assert ran(node) == ["first", "third", "fourth"]
    assert cancelled(node) == []


async def test_one_that_was_started_but_has_not_begun_never_does(make_node, make_robot, eventually):
    node, robot = make_node(), make_robot(ME)
    async with node.running():
        desk = node.transport.request_desk
        user = (("request-id", "7"),)
        message = Message(
            topic=node.infer(), payload=b'{"payload": 7}', user=user, response_topic=ME
        )
        desk.take(message)
        assert desk.cancel("7", ME)
        assert (await robot.next_json())["error"]["code"] == "caller_cancelled"
        await eventually(lambda: desk.inbox.room == node_room(node), "letting go")
        assert desk.inbox.held_bytes == 0
    assert ran(node) == []


async def test_one_that_was_overtaken_by_its_cancel_is_called_off_when_it_comes(
    make_node, make_robot, eventually, code_of
):
    node, robot = make_node(), make_robot(ME)
    async with node.running():
        assert not await cancel(robot, "7")
        for key in (b"once", b"twice"):
            ask(robot, node, "7", key=key)
        await eventually(lambda: {b"once", b"twice"} <= set(robot.answers), "both answers")
        assert code_of(robot.answers[b"once"]) == "caller_cancelled"
        assert code_of(robot.answers[b"twice"]) == "caller_cancelled"
        assert node.transport.request_desk.remembered.duplicates == 0
    assert ran(node) == []


async def test_one_that_is_answered_keeps_its_answer(make_node, make_robot, eventually, code_of):
    node, robot = make_node(), make_robot(ME)
    async with node.running():
        ask(robot, node, "7")
        await eventually(lambda: b"7" in robot.answers, "the answer")
        assert not await cancel(robot, "7")
        ask(robot, node, "7", key=b"again")
        await eventually(lambda: b"again" in robot.answers, "the answer once more")
        assert code_of(robot.answers[b"again"]) is None
    assert ran(node) == ["7"]


async def test_sent_again_it_stays_cancelled(make_node, make_robot, eventually, code_of):
    """As by a broker that delivers QoS 1 twice."""
    node, robot = make_node(), make_robot(ME)
    node.scripts["echo"].close_gate()
    async with node.running():
        ask(robot, node, "7")
        await eventually(lambda: ran(node), "the run")
        ask(robot, node, "7", key=b"also")
        await eventually(lambda: node.transport.request_desk.remembered.duplicates, "a second")
        assert await cancel(robot, "7")
        await eventually(lambda: {b"7", b"also"} <= set(robot.answers), "telling both")
        ask(robot, node, "7", key=b"again")
        await eventually(lambda: b"again" in robot.answers, "the same answer")
        assert code_of(robot.answers[b"again"]) == "caller_cancelled"
    assert ran(node) == ["7"]


@pytest.mark.parametrize(("mine", "other"), [(ME, "reply/you"), (ME, None), (None, ME)])
async def test_nobody_cancels_what_is_answered_elsewhere(
    make_node, make_robot, eventually, mine, other
):
    node, robot = (
        make_node(),
        make_robot("reply/#", "rota/n1/models/+/result/+", "rota/n1/results/#"),
    )
    node.scripts["echo"].close_gate()
    async with node.running():
        ask(robot, node, "7", topic=mine)
        await eventually(lambda: ran(node), "the run")
        assert not await cancel(robot, "7", topic=other)
        assert b"7" not in robot.answers
        assert await cancel(robot, "7", topic=mine)
        await eventually(lambda: b"7" in robot.answers, "the answer")
        assert b"caller_cancelled" in robot.answers[b"7"].payload


async def test_in_a_fleet_the_node_that_has_it_can_cancel_it(make_node, make_robot, eventually):
    robot = make_robot(ME)
    first, second = (make_node(node=name, fleet={"name": "rovers"}) for name in ("n1", "n2"))
    async with first.running(), second.running():
        await eventually(lambda: first.transport.fleet._models, "subscribing")
        for node in (first, second):
            node.scripts["echo"].close_gate()
        ask(robot, first, "7", to="rota/fleet/rovers/models/echo/infer")
        await eventually(lambda: ran(first) or ran(second), "the run")
        has, has_not = ("n1", "n2") if ran(first) else ("n2", "n1")
        assert not await cancel(robot, "7", node=has_not)
        assert b"7" not in robot.answers
        assert await cancel(robot, "7", node=has)
        await eventually(lambda: b"7" in robot.answers, "the answer")


# -- by the client ----------------------------------------------------------------------------


async def give_up(waiting):
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_cancelled_wait_cancels_at_the_node(make_node, make_client, eventually, qos):
    node = make_node()
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client(qos=qos) as rota:
        waiting = asyncio.ensure_future(rota.infer("echo", "never mind", deadline=30))
        await eventually(lambda: ran(node), "the run")
        await give_up(waiting)
        await eventually(lambda: cancelled(node), "cancelling")
        await eventually(lambda: script.cancels == 1, "the engine's cancel")
        script.open_gate()
        assert await rota.infer("echo", "wanted") == "wanted"
    assert len(cancelled(node)) == 1


async def test_so_does_a_client_that_is_left(make_node, make_client, eventually):
    """What it has to say goes out before it has closed."""
    node = make_node()
    node.scripts["echo"].close_gate()
    async with node.running():

        async def use_it():
            async with make_client() as rota:
                await rota.infer("echo", "never mind")

        waiting = asyncio.ensure_future(use_it())
        await eventually(lambda: ran(node), "the run")
        await give_up(waiting)
        await eventually(lambda: cancelled(node), "cancelling")


async def test_so_does_one_that_has_lost_patience(make_node, make_client, eventually):
    node = make_node()
    node.scripts["echo"].close_gate()
    async with node.running(), make_client(patience=0.2) as rota:
        with pytest.raises(DeadlineMissed, match="no answer"):
            await rota.infer("echo", "never mind")
        await eventually(lambda: cancelled(node), "cancelling")


async def test_many_at_once_are_all_called_off(make_node, make_client, eventually):
    node = make_node(inbox={"in_flight": 10, "limit": 300})
    script = node.scripts["echo"]
    script.close_gate()
    async with node.running(), make_client(in_flight=300) as rota:
        desk = node.transport.request_desk
        asked = [asyncio.ensure_future(rota.infer("echo", number)) for number in range(300)]
        await eventually(lambda: len(desk.inbox) == 290, "all to be there")
        for waiting in asked:
            waiting.cancel()
        await asyncio.wait(asked)
        await eventually(lambda: len(desk.inbox) == 0, "emptying the inbox")
        await eventually(lambda: desk.inbox.room == 10, "freeing every hand")
        assert node.runtime.snapshot().waiting == ()
        script.open_gate()
        assert await rota.infer("echo", "wanted") == "wanted"
        assert len(ran(node)) == 2


async def test_without_a_connection_it_is_sent_when_there_is_another(
    make_node, make_client, eventually
):
    node = make_node()
    node.scripts["echo"].close_gate()
    async with node.running(), make_client() as rota:
        waiting = asyncio.ensure_future(rota.infer("echo", "never mind"))
        await eventually(lambda: ran(node), "the run")
        rota._exchange._connection._wire._client.socket().shutdown(socket.SHUT_RDWR)
        await eventually(lambda: not rota.is_connected, "losing the connection")
        await give_up(waiting)
        await eventually(lambda: cancelled(node), "cancelling")


async def test_an_answer_that_is_there_and_an_order_are_not_called_off(
    make_node, make_client, make_robot, eventually, monkeypatch
):
    node, robot = make_node(), make_robot("rota/n1/control/cancel")
    script, asked = node.scripts["echo"], []
    async with node.running(), make_client() as rota:

        def take_and_cancel(question, message):
            take(question, message)
            asked[0].cancel()

        take = Question.take
        monkeypatch.setattr(Question, "take", take_and_cancel)
        asked.append(asyncio.ensure_future(rota.infer("echo", "answered")))
        await asyncio.wait(asked)
        assert asked[0].cancelled()
        script.close_gate()
        running = asyncio.ensure_future(rota.infer("echo", "marks the end"))
        await eventually(lambda: len(ran(node)) == 2, "the run")
        unloading = asyncio.ensure_future(rota.unload("echo"))
        await eventually(lambda: node.transport.order_desk._under_way, "the order")
        await give_up(unloading)
        await give_up(running)
        await eventually(lambda: cancelled(node), "cancelling")
        assert (await robot.next()).payload.endswith(b'-2"}')
    assert robot.messages.empty()
