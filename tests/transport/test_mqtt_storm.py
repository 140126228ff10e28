"""Anything at all, from a client that means no good: nothing breaks, the next is served.

ROTA_STORM says how many messages.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random

import numpy as np
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from scheduler.transport.payload import FRAME
from scheduler.transport.shelf import Shelf

SEED = 20
PLACE = Shelf().place.encode()
MESSAGES = int(os.environ.get("ROTA_STORM", "5000"))

TOPICS = [
    "models/echo/infer",
    "models/echo/infer/7",
    "models/echo/infer/\ufeff",
    "models/🤖/infer",
    "models//infer",
    "models/echo/infer//",
    "control/status",
    "control/lo\u0308ad",
    "control/dump/x",
    "leases/acquire",
    "leases/renew",
    "leases/release/9",
    "status",
]
FLEET_TOPICS = [
    "models/echo/infer",
    "models/echo/infer/7",
    "models/echo/infer//",
    "models/🤖/infer",
    "nodes/ghost",
    "nodes/ghost/models/echo/infer",
    "nodes/ghost/end",
    "nodes//",
]
ALL_TOPICS = [
    *(f"rota/n1/{topic}" for topic in TOPICS),
    *(f"rota/fleet/rovers/{topic}" for topic in FLEET_TOPICS),
]
TEXTS = ["", "a", "\ufeff", "é", "x" * 300, "rota/n1/control/drain", "reply/me", "a/#", "$SYS/x"]
USERS = [
    "priority",
    "deadline-ms",
    "stream",
    "accept",
    "notify",
    "request-id",
    "lease",
    "fleet-path",
    "prioritty",
]


def payload_of(draw):
    file = io.BytesIO()
    np.save(file, np.zeros(draw.randrange(5), draw.choice(["<f4", ">f4", "<U2", "|b1"])))
    made = [
        b"",
        draw.randbytes(draw.randrange(200)),
        file.getvalue()[: draw.randrange(200)],
        b"\xff\xd8\xff" + draw.randbytes(50),
        b"\x89PNG\r\n\x1a\n" + draw.randbytes(50),
        b"RIFF\0\0\0\0WAVE" + draw.randbytes(50),
        b"[" * draw.randrange(5000),
        b'{"payload": %d}' % draw.randrange(9),
        b'{"models": ["echo"], "ttl_ms": 50}',
        b'{"lease": %d}' % draw.randrange(2**53),
        b'{"state": "offline"}',
        b'{"place": "here:1", "name": "rota-a", "size_bytes": 9, "content_type": "image/png"}',
        b'{"place": "%s", "name": "rota-%d", "size_bytes": %d, "content_type": "audio/wav"}'
        % (PLACE, draw.randrange(9), draw.randrange(2**40)),
        b'{"state": "gone", "client_id": "ghost-fleet", "models": {"echo": 1, "#": []}}',
        b'{"state": "here", "client_id": "ghost-fleet", "room": 9, "models": {"echo": true}}',
    ]
    return draw.choice(made)


def properties_of(draw):
    properties = Properties(PacketTypes.PUBLISH)
    if draw.random() < 0.5:
        kinds = ["application/json", "application/x-npy", "image/png", "audio/wav", FRAME, *TEXTS]
        properties.ContentType = draw.choice(kinds)
    if draw.random() < 0.5:
        # paho, at the other end, refuses to send wildcards here; the broker would pass them.
        properties.ResponseTopic = draw.choice([t for t in TEXTS if t])
    if draw.random() < 0.3:
        properties.CorrelationData = draw.randbytes(draw.choice([0, 1, 8, 2000]))
    if draw.random() < 0.2:
        properties.MessageExpiryInterval = draw.choice([0, 1, 2**32 - 1])
    for _ in range(draw.randrange(3)):
        values = [*TEXTS, FRAME, "5", "-1", "NaN", "1e999", "position", "high"]
        properties.UserProperty = (draw.choice(USERS), draw.choice(values))
    return properties


async def test_a_storm_of_nonsense(make_node, make_robot, caplog):
    draw = random.Random(SEED)  # noqa: S311 - a test that can be run again
    node, robot = make_node(fleet={"name": "rovers"}, frames={}), make_robot("reply/good")
    async with node.running():
        for number in range(MESSAGES):
            topic = draw.choice(ALL_TOPICS)
            qos, retain = draw.randrange(2), draw.random() < 0.05
            robot.client.publish(topic, payload_of(draw), qos, retain, properties_of(draw))
            if number % 50 == 49:
                robot.send(node.infer(), {"payload": number}, ResponseTopic="reply/good")
                assert json.loads((await robot.next()).payload)["result"] == number
        assert [line.losses for line in node.transport._connections] == [0, 0, 0]
        assert node.transport.requests._wire.unreadable == 0
        snapshot = node.runtime.snapshot()
    assert not snapshot.draining
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
