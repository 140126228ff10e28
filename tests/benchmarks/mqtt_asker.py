"""A client that asks over MQTT and finds each answer by its correlation data, and does no more."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import aiomqtt
from echo_responder import NO_DELAY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ANSWERS = "answers/bench"


class Asker(aiomqtt.Client):
    """One connection; `ask` may be called from many tasks."""

    def __init__(self, port: int, *, in_flight: int) -> None:
        super().__init__(
            "127.0.0.1",
            port,
            protocol=aiomqtt.ProtocolVersion.V5,
            socket_options=NO_DELAY,
            max_inflight_messages=in_flight,
        )
        self._numbers = count(1)
        self._open: dict[bytes, asyncio.Future[bytes]] = {}

    async def listen(self, *topics: str) -> None:
        """Have answers come, and what is told on `topics`."""
        await self.subscribe([(topic, 1) for topic in (ANSWERS, *topics)])

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        """Hand over an answer in the call that read it: aiomqtt's own queue takes its time."""
        key = getattr(message.properties, "CorrelationData", None)
        if key is None:
            super()._on_message(client, userdata, message)
        else:
            self._open.pop(key).set_result(message.payload)

    async def ask(self, topic: str, payload: bytes, content_type: str, qos: int) -> bytes:
        """The answer's payload."""
        key = b"%d" % next(self._numbers)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = ANSWERS
        properties.CorrelationData = key
        properties.ContentType = content_type
        properties.UserProperty = ("accept", content_type)
        answer = self._open[key] = self._loop.create_future()
        self._client.publish(topic, payload, qos, properties=properties)
        return await answer
