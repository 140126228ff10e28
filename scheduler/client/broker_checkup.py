"""What a broker can do, and how long it takes: measured, not read off a data sheet."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import aiomqtt

from scheduler.transport.security import Credentials
from scheduler.transport.socket_options import NO_DELAY, acknowledge_at_once

if TYPE_CHECKING:
    from paho.mqtt.client import Client as Paho
    from paho.mqtt.client import ConnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

TRIPS = 20
"""Of each kind; the median is told."""

NO_MQTT5 = (
    "the broker speaks no MQTT 5: no deadlines, priorities or response topics by property; use "
    "mosquitto 2.0 or newer, or another broker with MQTT 5"
)

TRIP_S = 3.0
"""How long one message may take there and back."""

RETAINED_S = 1.0

SLOW_MS = 20.0
"""From here on a round trip on a local network waits for something: delayed acknowledgements take
40 ms each."""

_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)

PLAIN = "plain"
PROMPT = "with TCP_NODELAY"
OURS = "as Rota does"
"""With TCP_NODELAY, and what was read is acknowledged at once as well (TCP_QUICKACK)."""

Trip = tuple[int, str]
"""The quality of service, and in which way both clients use their sockets."""


@dataclass(slots=True, kw_only=True)
class BrokerCheckup:
    """What was found. Times are milliseconds; `trip_ms` is None for what did not come back."""

    host: str
    port: int
    connect_ms: float
    is_mqtt5: bool = True
    version: str | None = None
    packet_max_bytes: int | None = None
    trip_ms: dict[Trip, float | None] = field(default_factory=dict)
    retains: bool = False
    shares: bool = False

    def findings(self) -> list[str]:
        """What is wrong and what would mend it, each as a sentence; none when all is well."""
        found = []
        if not self.is_mqtt5:
            return [NO_MQTT5]
        missing = [f"QoS {qos}" for (qos, _), ms in self.trip_ms.items() if ms is None]
        if missing:
            found.append(
                f"messages of {', '.join(sorted(set(missing)))} do not come back; may this user "
                "publish and subscribe to rota-doctor/#?"
            )
        if (delay := self._delay()) is not None:
            found.append(delay)
        if not self.retains:
            found.append(
                "retained messages are not kept: the states of nodes and models are seen only as "
                "they change; allow them (mosquitto: retain_available true)"
            )
        if not self.shares:
            found.append(
                "shared subscriptions ($share) are refused: a fleet cannot share one stream of "
                "requests; allow them"
            )
        return found

    def _delay(self) -> str | None:
        basis_ms = max(SLOW_MS, 4 * self.connect_ms)
        plain, prompt, ours = (self.trip_ms.get((1, way)) or 0.0 for way in (PLAIN, PROMPT, OURS))
        if ours > basis_ms:
            return f"a QoS 1 round trip takes {ours:.1f} ms: the network or the broker is busy"
        if prompt > basis_ms:
            return (
                f"the broker holds small packets back: clients of others wait {prompt:.1f} ms for "
                f"what takes ours {ours:.1f} ms; for mosquitto write `set_tcp_nodelay true`"
            )
        if plain > basis_ms:
            return (
                f"clients without TCP_NODELAY wait {plain:.1f} ms for what takes {prompt:.1f} ms "
                "with it: set it in clients of your own (RotaClient and nodes do)"
            )
        return None


class _Caller(aiomqtt.Client):
    """A client that keeps what the broker said of itself."""

    said: Any = None

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.said = properties
        super()._on_connect(client, userdata, flags, reason_code, properties)


async def examine(
    host: str, port: int, *, username: str | None = None, login: Credentials | None = None
) -> BrokerCheckup:
    """Examine the broker at `host`. Raises OSError and aiomqtt.MqttError when there is none."""
    began = time.perf_counter()
    _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), TRIP_S)
    found = BrokerCheckup(host=host, port=port, connect_ms=(time.perf_counter() - began) * 1e3)
    writer.close()
    await writer.wait_closed()
    patient = _Patient(found, username, login or Credentials())
    client = patient.client(OURS)
    try:
        await client.__aenter__()
    except aiomqtt.MqttError:
        if not await patient.speaks_3():
            raise
        found.is_mqtt5 = False
        return found
    async with AsyncExitStack() as stack:
        stack.push_async_exit(client)
        found.packet_max_bytes = getattr(client.said, "MaximumPacketSize", None)
        await patient.look_round(client)
    for qos in (0, 1):
        for way in (PLAIN, PROMPT, OURS):
            found.trip_ms[qos, way] = await patient.trip_ms(qos, way)
    return found


class _Patient:
    """One broker under examination."""

    def __init__(self, found: BrokerCheckup, username: str | None, login: Credentials) -> None:
        self._found = found
        self._username = username
        self._login = login
        self._root = f"rota-doctor/{os.urandom(6).hex()}"

    def client(
        self, way: str, version: aiomqtt.ProtocolVersion = aiomqtt.ProtocolVersion.V5
    ) -> _Caller:
        """A connection of its own."""
        caller = _Caller(
            self._found.host,
            self._found.port,
            protocol=version,
            timeout=TRIP_S,
            logger=_log,
            socket_options=() if way == PLAIN else NO_DELAY,
            username=self._username,
            password=self._login.password,
            tls_context=self._login.tls,
        )
        if way == OURS:
            acknowledge_at_once(caller._client)  # noqa: SLF001 - as in `wire`
        return caller

    async def speaks_3(self) -> bool:
        """Whether the broker takes MQTT 3.1.1."""
        try:
            async with self.client(OURS, aiomqtt.ProtocolVersion.V311):
                return True
        except aiomqtt.MqttError:
            return False

    async def look_round(self, client: _Caller) -> None:
        """Find out what it can do by having it done."""
        found = self._found
        shared = await client.subscribe(f"$share/rota-doctor/{self._root}/shared", qos=1)
        found.shares = not _is_refused(shared)
        if getattr(client.said, "RetainAvailable", 1):  # else the broker hangs up on one
            found.retains = await self._retains(client)
        await client.subscribe("$SYS/broker/version")
        while (message := await _next(client, RETAINED_S)) is not None:
            if str(message.topic) == "$SYS/broker/version":
                found.version = bytes(message.payload).decode("utf-8", "replace")[:200]
                return

    async def _retains(self, client: _Caller) -> bool:
        topic = f"{self._root}/kept"
        await client.publish(topic, b"x", qos=1, retain=True)
        await client.subscribe(topic)
        came = await _next(client, RETAINED_S)
        await client.publish(topic, b"", qos=1, retain=True)
        await client.unsubscribe(topic)
        return came is not None

    async def trip_ms(self, qos: int, way: str) -> float | None:
        """The median time from one client to another and back; None when nothing comes back."""
        there, back = (f"{self._root}/{way}/{qos}" for way in ("there", "back"))
        async with self.client(way) as asker, self.client(way) as echo:
            await asker.subscribe(back, qos=qos)
            await echo.subscribe(there, qos=qos)
            answering = asyncio.create_task(_answer(echo, back, qos))
            try:
                return await _median_ms(asker, there, qos)
            finally:
                answering.cancel()
                await asyncio.wait([answering])


async def _answer(echo: aiomqtt.Client, topic: str, qos: int) -> None:
    async for message in echo.messages:
        await echo.publish(topic, message.payload, qos)


async def _median_ms(asker: aiomqtt.Client, topic: str, qos: int) -> float | None:
    spent_ms = []
    for _ in range(TRIPS):
        began = time.perf_counter()
        await asker.publish(topic, b"x" * 64, qos)
        if await _next(asker, TRIP_S) is None:
            return None
        spent_ms.append((time.perf_counter() - began) * 1e3)
    return median(spent_ms)


async def _next(client: aiomqtt.Client, limit_s: float) -> aiomqtt.Message | None:
    try:
        return await asyncio.wait_for(anext(aiter(client.messages)), limit_s)
    except asyncio.TimeoutError:
        return None


def _is_refused(granted: Any) -> bool:
    return any(getattr(code, "is_failure", False) for code in granted)
