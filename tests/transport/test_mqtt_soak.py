"""Fifty clients that come and go, for SOAK_SECONDS: memory stays flat, everybody is answered."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter

import aiomqtt
import anyio
import numpy as np
import psutil
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
CLIENTS = 50
BAD, CUT, LEFT_UNREAD = 0.05, 0.5, 0.2
SIZES = [8, 8, 8, 200, 2_000, 20_000, 75_000]
"""Numbers of four bytes: up to 300 kB."""

MIB = 1024**2
GROWTH_MAX_BYTES = 16 * MIB
ANSWER_S = 20.0

ENGINE = """
from scheduler.plugin.engine import EnginePlugin

class Echo(EnginePlugin):
    def load(self): pass
    def infer(self, batch): return list(batch)
    def unload(self): pass
"""
CONFIG = """
node: n1
memory: {{budget: 300MiB}}
models:
  echo: {{engine: "soaked:Echo", footprint: 2MiB, queue: {{limit: 200}}}}
mqtt: {{url: "mqtt://127.0.0.1:{port}"}}
"""
MALFORMED = [
    b"",
    b"\x80abc",
    b"[" * 5000,
    b'{"payload": ',
    b'{"payload": 1, "payload": 2}',
    b"\x93NUMPY\x01\x00garbage",
    b"\x89PNG\r\n\x1a\nno picture",
    b'{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1]}]}',
]


@pytest.fixture
def node(tmp_path, broker):
    (tmp_path / "soaked.py").write_text(ENGINE)
    config = tmp_path / "soak.yaml"
    config.write_text(CONFIG.format(port=broker.port))
    with (tmp_path / "soak.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "run", str(config)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait(10)


class Tally:
    """What all clients have met. `longest_gap_s` is the longest time without any answer."""

    def __init__(self):
        self.counts = Counter()
        self.refused = Counter()
        self.longest_gap_s = 0.0
        self._last_s = None

    def heard(self, now_s, code=None):
        """An answer has come; `code` says why it is a refusal."""
        if self._last_s is not None:
            self.longest_gap_s = max(self.longest_gap_s, now_s - self._last_s)
        self._last_s = now_s
        if code is None:
            self.counts["answered"] += 1
        else:
            self.refused[code] += 1

    def told(self, sizes):
        """For a person to read."""
        counts, at = self.counts, (sizes[0], sizes[len(sizes) // 2], sizes[-1])
        reasons = ", ".join(f"{code} {n}" for code, n in self.refused.most_common())
        lines = {
            "ran for": f"{SECONDS:g} s, {CLIENTS} clients",
            "answered": f"{counts['answered']}",
            "refused": f"{self.refused.total()} ({reasons or 'nothing'})",
            "malformed": f"{counts['malformed']} sent",
            "reconnects": f"{counts['connections'] - CLIENTS}, {counts['cut']} after a cut",
            "resident": " / ".join(f"{n / MIB:.0f}" for n in at) + " MiB at start / middle / end",
            "longest gap": f"{self.longest_gap_s * 1000:.0f} ms without any answer",
        }
        return "\n".join(f"{name:<12} {text}" for name, text in lines.items())


class Client:
    """Asks one thing after the other, over connections that do not last."""

    def __init__(self, number, port, tally):
        self._draw = random.Random(number)  # noqa: S311 - a test that can be run again
        self._number = number
        self._port = port
        self._tally = tally
        self._asked = 0
        self._topic = f"reply/{number}"

    async def run(self, until):
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            try:
                await self._connected(until)
            except aiomqtt.MqttError:  # noqa: PERF203 - that is how it ends
                self._tally.counts["cut"] += 1

    async def _connected(self, until):
        loop, draw = asyncio.get_running_loop(), self._draw
        client = aiomqtt.Client(
            "127.0.0.1",
            self._port,
            protocol=aiomqtt.ProtocolVersion.V5,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        async with client:
            self._tally.counts["connections"] += 1
            await client.subscribe(self._topic, qos=1)
            for _ in range(draw.randrange(5, 40)):
                if loop.time() >= until:
                    return
                await self._ask(client)
            if draw.random() < LEFT_UNREAD:
                await self._publish(client, b'{"payload": "nobody waits for this"}', None)
            if draw.random() < CUT:
                client._client.socket().shutdown(socket.SHUT_RDWR)
                await client._disconnected

    async def _ask(self, client):
        draw = self._draw
        is_bad = draw.random() < BAD
        array = np.arange(draw.choice(SIZES), dtype="<f4")
        file = io.BytesIO()
        np.save(file, array)
        payload = draw.choice(MALFORMED) if is_bad else file.getvalue()
        self._tally.counts["malformed"] += is_bad
        key = await self._publish(client, payload, None if is_bad else "application/x-npy")
        with anyio.fail_after(ANSWER_S):
            async for message in client.messages:
                if message.properties.CorrelationData == key:
                    break
        now_s = asyncio.get_running_loop().time()
        if is_bad:
            error = json.loads(message.payload)["error"]
            assert error["code"], error
            assert error["message"], error
            self._tally.heard(now_s, error["code"])
        else:
            assert message.payload == payload, message.payload[:300]
            self._tally.heard(now_s)

    async def _publish(self, client, payload, content_type):
        self._asked += 1
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self._topic
        properties.CorrelationData = f"{self._number}-{self._asked}".encode()
        properties.UserProperty = ("accept", "application/x-npy")
        if content_type is not None:
            properties.ContentType = content_type
        qos = self._draw.randrange(2)
        await client.publish("rota/n1/models/echo/infer", payload, qos, properties=properties)
        return properties.CorrelationData


async def measure(process, until, sizes):
    """Append the resident set, as time goes by."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        sizes.append(process.memory_info().rss)
        await asyncio.sleep(max(0.2, SECONDS / 1000))


async def test_memory_stays_flat_and_everybody_is_answered(node, broker):
    await broker.call("sub", "-t", "rota/n1/status", "-C", "1", "-W", "10")
    tally, sizes = Tally(), []
    until = asyncio.get_running_loop().time() + SECONDS
    clients = [Client(number, broker.port, tally).run(until) for number in range(CLIENTS)]
    try:
        await asyncio.gather(measure(node, until, sizes), *clients)
    finally:
        print(f"\n{tally.told(sizes)}")
    third = max(1, len(sizes) // 3)
    early, late = max(sizes[third : 2 * third]), max(sizes[2 * third :])
    assert tally.counts["answered"] > min(10, SECONDS) * CLIENTS
    assert 0 < tally.refused.total() <= tally.counts["malformed"]
    assert late <= early + GROWTH_MAX_BYTES
