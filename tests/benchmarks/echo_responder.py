"""A bare aiomqtt program that answers each message with itself: `python echo_responder.py PORT`."""

from __future__ import annotations

import asyncio
import socket
import sys

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TOPIC = "echo"
NO_DELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


async def respond(port: int) -> None:
    """Answer on the response topic, with the correlation data and the quality of the question.

    It does not wait until the broker has one answer before it gives the next.
    """
    answering: set[asyncio.Task[None]] = set()
    async with aiomqtt.Client(
        "127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=NO_DELAY
    ) as client:
        await client.subscribe(TOPIC, qos=1)
        await client.publish(f"{TOPIC}/status", b"here", qos=1, retain=True)
        async for message in client.messages:
            asked = message.properties
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.CorrelationData = asked.CorrelationData  # type: ignore[union-attr]
            topic: str = asked.ResponseTopic  # type: ignore[union-attr]
            answer = client.publish(topic, message.payload, message.qos, properties=properties)
            if message.qos:
                task = asyncio.create_task(answer)
                answering.add(task)
                task.add_done_callback(answering.discard)
            else:
                await answer


if __name__ == "__main__":
    asyncio.run(respond(int(sys.argv[1])))
