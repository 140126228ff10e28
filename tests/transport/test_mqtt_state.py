"""What everybody can see: status, states, memory, events, and one's place in line."""

from __future__ import annotations

import json
import socket

import anyio
import pytest

from scheduler.plugin import lost
from scheduler.transport import counts


class Watch:
    """The last message of each topic below a node, and all events."""

    def __init__(self, robot):
        self.robot = robot
        self.last = {}
        self.events = []
        self.seen = []

    def look(self):
        while not self.robot.messages.empty():
            message = self.robot.messages.get()
            told = json.loads(message.payload)
            if message.topic.endswith("/events"):
                self.events.append(told)
            else:
                self.last[message.topic.removeprefix("rota/n1/")] = told
                self.seen.append((message.topic, told))
        return self

    def pool(self):
        return self.last["memory"]["pools"]["unified"]

    def states(self):
        return [told["state"] for topic, told in self.look().seen if topic == "rota/n1/status"]

    def event(self, name):
        return [e for e in self.look().events if e["event"] == name]


@pytest.fixture
def watch(make_robot):
    return Watch(make_robot("rota/n1/#"))


async def test_status_is_online_while_it_is_and_offline_after(make_node, broker, watch, eventually):
    node = make_node()
    async with node.running():
        await eventually(lambda: watch.look().last.get("status", {}).get("state") == "online")
    said = json.loads(await broker.call("sub", "-t", "rota/n1/status", "-C", "1", "-W", "5"))
    assert (said["state"], said["why"]) == ("offline", ["the node was stopped"])


async def test_a_node_that_dies_is_offline_by_its_will(make_node, watch, eventually):
    node = make_node()
    async with node.running():
        await eventually(lambda: watch.look().last.get("status", {}).get("state") == "online")
        line = node.transport.orders._wire._client.socket()
        line.shutdown(socket.SHUT_RDWR)  # as it ends when a process dies
        await eventually(lambda: "offline" in watch.states(), "the will")
        await eventually(lambda: watch.states()[-1] == "online", "coming back")


async def test_the_status_counts_what_went_otherwise_than_well(
    make_node, make_robot, watch, eventually
):
    node, robot = make_node(inbox={"in_flight": 1, "limit": 1}), make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():

        def count(key):
            return watch.look().last.get("status", {}).get("counts", {}).get(key)

        await eventually(lambda: count("requests_refused") == 0)
        robot.send(node.infer("nobody"), ResponseTopic="reply/me")
        await eventually(lambda: count("requests_refused") == 1)
        said = {"ResponseTopic": "reply/me", "CorrelationData": b"1"}
        for _ in range(3):
            robot.send(node.infer(), **said)
        await eventually(lambda: count("requests_repeated") == 2)
        for _ in range(4):
            robot.send(node.infer(), user=[("deadline-ms", "200")])
        await eventually(lambda: count("requests_busy") == 3)
        node.transport.requests._wire._client.socket().shutdown(socket.SHUT_RDWR)
        await eventually(lambda: count("connections_lost") == 1)
        await anyio.sleep(0.2)
        node.scripts["echo"].open_gate()
        await eventually(lambda: count("requests_expired") == 1)
        assert count("requests_refused") == 5
        assert count("requests_handed_over") is None


async def test_each_count_is_of_what_it_says_of_all_connections(make_node):
    node = make_node(fleet={"name": "rovers"})
    async with node.running():
        transport, news = node.transport, node.news
        for desk, unit in ((transport.request_desk, 1), (transport.fleet.desk, 10)):
            desk.replies.refused, desk.inbox.busy = 1 * unit, 2 * unit
            desk.inbox.stale, desk.remembered.duplicates = 3 * unit, 4 * unit
        for line, unit in zip(transport._connections, (1, 10, 100), strict=True):
            line._unreadable, line.outbox.lost, line.losses = 5 * unit, 6 * unit, 7 * unit
        transport.requests._wire.unreadable = 2
        news.lost_events, transport.fleet.handed_over = 8, 9
        _, facts = transport._presence._says()
    assert facts["counts"] == {
        "requests_refused": 11,
        "requests_busy": 22,
        "requests_expired": 33,
        "requests_repeated": 44,
        "requests_handed_over": 9,
        "messages_unreadable": 557,
        "answers_lost": 666,
        "events_lost": 8,
        "connections_lost": 777,
    }
    for name in facts["counts"]:
        assert f"    {name} " in counts.__doc__


async def test_models_and_memory_are_retained_and_follow(make_node, broker, watch, eventually):
    node = make_node()
    async with node.running():
        await eventually(lambda: "models/echo/state" in watch.look().last)
        assert watch.last["models/echo/state"]["state"] == "unloaded"
        await broker.ask(node.infer(), {"payload": 1})
        await eventually(lambda: watch.look().last["models/echo/state"]["state"] == "ready")
        await eventually(lambda: watch.look().pool()["reserved_bytes"] == 100 << 20)
        assert watch.pool()["budget_bytes"] == 1000 << 20
        said = await broker.call("sub", "-t", "rota/n1/models/echo/state", "-C", "1", "-W", "5")
        assert json.loads(said)["reserved_bytes"] == {"unified": 100 << 20}


async def test_a_model_that_is_removed_leaves_nothing_retained(make_node, make_robot, eventually):
    node = make_node("echo", "spare")
    async with node.running():
        await eventually(lambda: "rota/n1/models/spare/state" in node.transport._board._published)
        await node.runtime.unregister("spare")
        await eventually(
            lambda: "rota/n1/models/spare/state" not in node.transport._board._published
        )
    late = make_robot("rota/n1/models/+/state")
    assert (await late.next()).topic == "rota/n1/models/echo/state"
    assert late.messages.empty()


async def test_events_say_what_was_loaded_and_evicted_and_why(make_node, broker, watch, eventually):
    node = make_node("a", budget_mib=150)
    node.add("b")
    async with node.running():
        for model in ("a", "b"):
            await broker.ask(node.infer(model), {"payload": 1})
        await eventually(lambda: len(watch.event("loaded")) == 2)
        assert [e["model"] for e in watch.event("loaded")] == ["a", "b"]
        [evicted] = watch.event("evicted")
        assert (evicted["model"], evicted["code"]) == ("a", "make_room")
        assert "b" in evicted["message"]


async def test_missed_deadlines_are_counted_together(make_node, make_robot, watch, eventually):
    node, robot = make_node(), make_robot("reply/me")
    node.scripts["echo"].close_gate()
    async with node.running():
        robot.send(node.infer(), ResponseTopic="reply/me")
        await eventually(lambda: node.scripts["echo"].runs)
        for _ in range(5):
            robot.send(node.infer(), ResponseTopic="reply/me", user=[("deadline-ms", "60")])
        await eventually(lambda: sum(e["count"] for e in watch.event("missed")) == 5)
        assert watch.events[-1]["model"] == "echo"


async def test_state_is_published_some_times_a_second_at_most(
    make_node, make_robot, watch, eventually
):
    node, robot = make_node(), make_robot("reply/me")
    async with node.running():
        await anyio.sleep(0.3)
        watch.look().seen.clear()
        started = anyio.current_time()
        for number in range(200):
            robot.send(node.infer(), {"payload": number}, ResponseTopic="reply/me")
            await anyio.sleep(0.004)
        await eventually(lambda: robot.messages.qsize() >= 200)
        lasted_s = anyio.current_time() - started
        states = [topic for topic, _ in watch.look().seen if topic.endswith("echo/state")]
    assert len(states) <= 6 * lasted_s + 2


async def test_who_asks_is_told_where_it_stands_in_line(
    make_node, make_robot, properties_of, eventually
):
    node = make_node("busy", budget_mib=150)
    node.add("other")
    first, robot = make_robot("reply/first"), make_robot("reply/me")
    node.scripts["busy"].close_gate()
    async with node.running():
        first.send(node.infer("busy"), ResponseTopic="reply/first")
        await eventually(lambda: node.scripts["busy"].runs, "a run")
        for number in range(3):
            said = {"CorrelationData": str(number).encode(), "ResponseTopic": "reply/me"}
            user = [("notify", "position")] if number == 2 else []
            robot.send(node.infer("other"), {"payload": number}, user=user, **said)
        notice = await robot.next()
        assert properties_of(notice)["notice"] == "position"
        assert notice.properties.CorrelationData == b"2"
        told = json.loads(notice.payload)
        assert told["position"] == 3
        assert told["message"].startswith("3rd in line")
        node.scripts["busy"].open_gate()
        answers = []
        while len(answers) < 3:
            message = await robot.next()
            if "notice" not in properties_of(message):
                answers.append(json.loads(message.payload)["result"])
        assert answers == [0, 1, 2]


async def test_the_first_in_line_is_told_who_holds_the_memory(make_node, make_robot, eventually):
    node = make_node("busy", budget_mib=150)
    node.add("other")
    first, robot = make_robot("reply/first"), make_robot("reply/me")
    node.scripts["busy"].close_gate()
    async with node.running():
        first.send(node.infer("busy"), ResponseTopic="reply/first")
        await eventually(lambda: node.scripts["busy"].runs, "a run")
        user = [("notify", "position")]
        robot.send(node.infer("other"), ResponseTopic="reply/me", user=user)
        told = await robot.next_json()
        assert told["code"] == "waits_for_memory"
        assert "busy" in told["message"]


async def test_a_scheduler_that_does_not_get_on_is_degraded(
    make_node, watch, eventually, monkeypatch
):
    node = make_node()
    async with node.running():
        await eventually(lambda: watch.look().last.get("status", {}).get("state") == "online")
        monkeypatch.setattr(node.runtime, "oldest_runnable_ns", lambda: 3_000_000_000)
        await eventually(lambda: watch.look().last["status"]["state"] == "degraded")
        monkeypatch.undo()
        await eventually(lambda: watch.look().last["status"]["state"] == "online")


async def test_a_device_that_is_lost_degrades_the_node_until_it_is_restarted(
    make_node, watch, eventually, monkeypatch
):
    monkeypatch.setattr(lost, "_lost", {})
    node = make_node()
    async with node.running():
        await eventually(lambda: watch.look().last.get("status", {}).get("state") == "online")
        lost.lose("cuda:0", "an illegal memory access")
        await eventually(lambda: watch.look().last["status"]["state"] == "degraded")
        assert watch.last["status"]["why"] == [
            "cuda:0 is lost until the node is restarted: an illegal memory access"
        ]


async def test_what_the_broker_forgot_is_said_again(make_broker, make_node, eventually):
    broker = make_broker(name="own")
    node = make_node(on=broker)
    async with node.running():
        await broker.call("sub", "-t", "rota/n1/memory", "-C", "1", "-W", "5")
        broker.restart()
        await eventually(lambda: node.is_up and node.transport.orders.losses, "coming back")
        topics = ("status", "memory", "models/echo/state")
        for topic in topics:
            said = await broker.call("sub", "-t", f"rota/n1/{topic}", "-C", "1", "-W", "5")
            assert json.loads(said)
