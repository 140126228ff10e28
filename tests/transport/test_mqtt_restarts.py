"""A broker that is killed and started again under load, as often as ROTA_RESTARTS says."""

from __future__ import annotations

import json
import os
import time
from collections import Counter

import anyio

RESTARTS = int(os.environ.get("ROTA_RESTARTS", "5"))
PER_RESTART = 40
HURRIED = 8
"""Every eighth request has a deadline that it may miss."""

SENDS_AGAIN = 40


def work(payload):
    time.sleep(0.002)
    return payload


async def test_every_request_is_answered_once_or_as_expired(
    make_broker, make_node, make_robot, eventually, code_of
):
    """The client sends again, under the same id, what was not answered when it is back."""
    broker = make_broker("max_queued_messages 10000", name="own")
    node, robot = make_node("other", on=broker), make_robot("reply/me", on=broker)
    node.add("echo", queue={"limit": 1000}).answer = work
    sent = {}

    def send(key):
        robot.send(node.infer(), {"payload": key.decode()}, ResponseTopic="reply/me", **sent[key])

    async with node.running():
        for round_ in range(RESTARTS):
            for number in range(PER_RESTART):
                key = f"{round_}-{number}".encode()
                user = [("request-id", key.decode())]
                if number % HURRIED == 0:
                    user.append(("deadline-ms", "20"))
                sent[key] = {"CorrelationData": key, "user": user}
                send(key)
                await anyio.sleep(0.002)
                if number == PER_RESTART // 2:
                    broker.kill()
                    await anyio.sleep(0.05)
                    broker.start()
            await eventually(lambda: node.is_up and robot.client.is_connected(), "coming back", 20)
        for _ in range(SENDS_AGAIN):
            missing = set(sent) - set(robot.answers)
            for key in missing:
                send(key)
            if not missing:
                break
            await anyio.sleep(0.5)
        told = await broker.ask(node.infer(), {"payload": "after"})
        assert told["result"] == "after"
        assert node.transport.requests.losses == RESTARTS
    assert set(robot.answers) == set(sent)
    expired = {key for key, answer in robot.answers.items() if code_of(answer) is not None}
    assert {code_of(robot.answers[key]) for key in expired} <= {
        "deadline_passed",
        "deadline_unreachable",
    }
    assert all(len(sent[key]["user"]) == 2 for key in expired)
    runs = Counter(node.scripts["echo"].runs)
    assert set(runs.values()) == {1}
    for key in set(sent) - expired:
        assert json.loads(robot.answers[key].payload)["result"] == key.decode()
    twice = sum(count > 1 for count in robot.counts.values())
    print(f"\n{RESTARTS} restarts: {len(sent)} requests, {len(expired)} answered as expired,")
    print(f"{twice} answers delivered twice, every other request run and answered once")
