"""Six times as much as a node can do: what it holds is bounded, and everybody is told."""

from __future__ import annotations

import json
import time

import anyio

MIB = 1024 * 1024
FRAME = "x" * 100_000
REQUESTS = 400
TOLD = {"busy", "queue_full", "queue_bytes", "deadline_passed", "deadline_unreachable"}


def slowly(_payload):
    time.sleep(0.02)
    return "done"


async def test_what_is_held_is_bounded_and_everybody_is_answered(make_node, make_robot, eventually):
    robot, held = make_robot("reply/me"), []
    limits = {"in_flight": 4, "limit": 1000, "bytes": "3MiB"}
    node = make_node("other", inbox=limits)
    node.add("echo").answer = slowly
    user = [("deadline-ms", "500")]
    async with node.running():
        inbox = node.transport.request_desk.inbox
        for number in range(REQUESTS):
            key = str(number).encode()
            said = {"CorrelationData": key, "ResponseTopic": "reply/me", "user": user}
            robot.send(node.infer(), {"payload": FRAME}, **said)
            held.append(inbox.held_bytes)
            await anyio.sleep(0.003)
        await eventually(lambda: len(robot.answers) == REQUESTS, "all answers")
        assert inbox.held_bytes == 0
        assert node.runtime.snapshot().waiting == ()
    assert 2 * MIB < max(held) <= 3 * MIB
    told = [json.loads(answer.payload) for answer in robot.answers.values()]
    codes = [one["error"]["code"] for one in told if "error" in one]
    assert set(codes) <= TOLD
    assert "busy" in codes
    assert len(told) - len(codes) >= 20
    assert set(robot.counts.values()) == {1}
