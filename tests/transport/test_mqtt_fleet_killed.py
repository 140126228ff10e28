"""Three nodes in processes of their own, one of which is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise

import anyio

INFER = "rota/fleet/rovers/models/echo/infer"
RATE_PER_S = 80
BEFORE_S, AFTER_S = 2.0, 3.0
CONFIG = """
node: {name}
memory: {{budget: 300MiB}}
models:
  echo:
    engine: synthetic
    options: {{load: 10ms, infer: 12ms, memory: 1MiB}}
    footprint: 2MiB
    queue: {{limit: 100}}
mqtt:
  url: "mqtt://127.0.0.1:{port}"
  fleet: {{name: rovers}}
"""


@contextmanager
def started(folder, name, port):
    config = folder / f"{name}.yaml"
    config.write_text(CONFIG.format(name=name, port=port))
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run", str(config)], stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


async def test_the_rate_recovers_within_two_seconds_and_no_request_is_lost(
    tmp_path, make_robot, broker, eventually
):
    told, arrived = {}, {}
    watch, robot = make_robot("rota/fleet/rovers/nodes/+"), make_robot("reply/me")

    def read_records():
        while not watch.messages.empty():
            message = watch.messages.get()
            told[message.topic] = json.loads(message.payload) if message.payload else {}
        return sum(one.get("models", {}) != {} for one in told.values())

    def note(_client, _userdata, message):
        key = message.properties.CorrelationData
        arrived.setdefault(key, []).append((time.monotonic(), message.payload))

    robot.client.on_message = note
    with ExitStack() as stack:
        names = ("n1", "n2", "n3")
        nodes = [stack.enter_context(started(tmp_path, name, broker.port)) for name in names]
        await eventually(lambda: read_records() == 3, "three nodes", 30)
        start = time.monotonic()
        sent, killed_at = [], None
        while (passed := time.monotonic() - start) < BEFORE_S + AFTER_S:
            if killed_at is None and passed > BEFORE_S:
                nodes[0].kill()
                killed_at = time.monotonic()
            while len(sent) < passed * RATE_PER_S:
                key = str(len(sent)).encode()
                body = {"example": True}
                robot.send(INFER, body, CorrelationData=key, ResponseTopic="reply/me")
                sent.append(key)
            await anyio.sleep(0.005)
        await eventually(lambda: set(arrived) == set(sent), "the last answers")
    before, *after = rates(arrived, killed_at)
    twice = sum(len(answers) > 1 for answers in arrived.values())
    waited_ms = longest_gap_ms(arrived, killed_at)
    print(f"\n{len(sent)} requests, {twice} answered twice; answers in each half second,")
    print(f"before the kill {before}, after it {after};")
    print(f"longest time without an answer {waited_ms:.0f} ms")
    errors = [body for answers in arrived.values() for _, body in answers if b'"error"' in body]
    assert errors == []
    assert max(after[:4]) >= 0.8 * before
    left = [line for line in (tmp_path / "n2.log").read_text().splitlines() if "is gone" in line]
    print(*left)
    assert len(left) == 1


def rates(arrived, since):
    """First answers in each half second, from the one before `since` on."""
    times = [answers[0][0] - since for answers in arrived.values()]
    return [sum(n / 2 <= t < n / 2 + 0.5 for t in times) for n in range(-1, 6)]


def longest_gap_ms(arrived, since):
    times = sorted(answers[0][0] for answers in arrived.values() if answers[0][0] >= since)
    return 1000 * max(later - earlier for earlier, later in pairwise(times))
