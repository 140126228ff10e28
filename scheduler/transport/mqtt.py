"""The MQTT edge: requests, orders and leases come in from a broker, answers and state go out.

    broker ── requests ──► RequestDesk ── infer ──► Runtime
       ▲ ▲                     │                      │ records
       │ └──────  answers ─────┘                    News
       │                                              │
       ├── status, state, memory, events ◄── Presence, Board
       └── control, leases ──► OrderDesk ──► Control, Leases ──► Runtime

Two connections, so that a flood of requests never stands before an order. asyncio only.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.plugin.lost import lost_devices
from scheduler.runtime.clock import Clock, MonotonicClock
from scheduler.transport.board import Board
from scheduler.transport.connection import Connection
from scheduler.transport.control import Control
from scheduler.transport.counts import counts
from scheduler.transport.fleet import Fleet
from scheduler.transport.fleet_topics import records
from scheduler.transport.frames import Frames
from scheduler.transport.hands import Hands
from scheduler.transport.leases import RUNS_PER_SECOND, Leases
from scheduler.transport.link import Link
from scheduler.transport.member import CLIENT_ID_END
from scheduler.transport.orders import OrderDesk
from scheduler.transport.presence import STALLED_NS, Presence
from scheduler.transport.replies import ENVELOPE_BYTES, Replies
from scheduler.transport.requests import RequestDesk
from scheduler.transport.security import Credentials, read_credentials
from scheduler.transport.topics import ReplyRule, Topics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.config.mqtt import Mqtt
    from scheduler.core.snapshot import Snapshot
    from scheduler.runtime.runtime import Runtime
    from scheduler.trace.flight import FlightRecorder
    from scheduler.transport.message import Message
    from scheduler.transport.news import News

SECOND_NS = 1_000_000_000

OVERSIZE = 4
"""Packets of up to so many times `max_request` are read, to be refused with a reason. The broker
drops larger ones."""

PACKET_MAX_BYTES = 2**28 - 1
"""MQTT's own limit."""

FLUSH_S = 1.0
"""How long the last answers may take to go out."""


class MqttTransport:
    """Serves a runtime over MQTT: `async with runtime:`, then `await transport.run()`.

    `news` and `flight` must be among the runtime's observers. `credentials` are those read before;
    ConfigError is raised when they cannot be read.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: Mqtt,
        *,
        node: str,
        news: News,
        flight: FlightRecorder,
        credentials: Credentials | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.session = os.urandom(4).hex()
        clock = clock or MonotonicClock()
        self._runtime, self._news, self._hands = runtime, news, Hands()
        self._topics = Topics(config.prefix, node)
        self._frames = Frames(config.frames, clock)
        self._presence = Presence(
            self._topics.status,
            self.session,
            says=lambda: self._says(config, node),
        )
        link = _link(config, node, self.session, credentials or read_credentials(config))
        self._connect(config, link, clock)
        leases = Leases(
            runtime,
            news,
            ttl_max_ns=config.lease_ttl,
            started_at=int(time.time() * RUNS_PER_SECOND),
            clock=clock,
        )
        request_replies = self._replies(config, self.requests, "")
        control = Control(runtime, flight, cancel=self._cancel)
        self._open_desks(config, leases, control, request_replies, clock)
        self.fleet = self._join(config, f"{node}-{self.session}", link, leases, clock)
        self._board = Board(
            runtime,
            news,
            topics=self._topics,
            connection=self.orders,
            replies=request_replies,
            positions=self.request_desk.positions,
            beat=self._beat,
        )

    def _join(
        self, config: Mqtt, member: str, link: Link, leases: Leases, clock: Clock
    ) -> Fleet | None:
        """A third connection, for what is shared: it is acknowledged later than it is read."""
        if config.fleet is None:
            return None
        return Fleet(
            self._runtime,
            config,
            config.fleet,
            member=member,
            link=replace(link, client_id=link.client_id + CLIENT_ID_END),
            clock=clock,
            hands=self._hands,
            lease_of=leases.lease_of,
        )

    def _connect(self, config: Mqtt, link: Link, clock: Clock) -> None:
        """Two connections: orders must not stand in line behind frames."""
        self.requests = Connection(
            link,
            filters=self._topics.of_requests,
            on_message=self._take_request,
            clock=clock,
            on_up=self._presence.refresh,
        )
        self.orders = Connection(
            replace(link, client_id=f"{link.client_id}-control"),
            filters=(*self._topics.of_orders, self._topics.status, *_records(config)),
            on_message=self._take_order,
            clock=clock,
            on_up=self._came_up,
            will=self._presence.will,
        )
        self._presence.speak_through(self.orders)

    def _open_desks(
        self,
        config: Mqtt,
        leases: Leases,
        control: Control,
        request_replies: Replies,
        clock: Clock,
    ) -> None:
        """One desk answers requests, the other orders, each through its own connection."""
        self.request_desk = RequestDesk(
            self._runtime,
            config,
            topics=self._topics,
            replies=request_replies,
            clock=clock,
            hands=self._hands,
            lease_of=leases.lease_of,
            frames=self._frames,
        )
        self.order_desk = OrderDesk(
            {"control": control.verbs, "leases": leases.verbs},
            topics=self._topics,
            replies=self._replies(config, self.orders, "c"),
            clock=clock,
            hands=self._hands,
        )
        leases.answer_through(self.order_desk)

    def _replies(self, config: Mqtt, connection: Connection, kind: str) -> Replies:
        return Replies(
            connection,
            self._topics,
            ReplyRule(config.prefix, config.response_topics),
            max_bytes=config.max_response,
            ids_start=f"{self.session}{kind}",
        )

    async def run(self) -> None:
        """Serve until cancelled. Then everything under way is answered, and we say goodbye."""
        async with anyio.create_task_group() as lines:
            scopes = []
            try:
                self._frames.open()
                self._hands.open()
                for connection in self._connections:
                    scopes.append(anyio.CancelScope(shield=True))
                    lines.start_soon(_stay, connection, scopes[-1])
                if self.fleet is not None:
                    lines.start_soon(self.fleet.run)
                await self._board.run()
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(FLUSH_S):
                    await self._say_goodbye()
                self._frames.close()
                for scope in scopes:
                    scope.cancel()

    @property
    def _connections(self) -> tuple[Connection, ...]:
        fleet = () if self.fleet is None else (self.fleet.connection,)
        return (self.requests, self.orders, *fleet)

    @property
    def _desks(self) -> tuple[RequestDesk, ...]:
        fleet = () if self.fleet is None else (self.fleet.desk,)
        return (self.request_desk, *fleet)

    def _cancel(self, request_id: str, response_topic: str | None) -> bool:
        return any(desk.cancel(request_id, response_topic) for desk in self._desks)

    async def _say_goodbye(self) -> None:
        self.request_desk.close()
        if self.fleet is not None:
            await self.fleet.stop_taking()
            self.fleet.desk.close()
        await self._hands.close()
        self._presence.leave()
        if self.fleet is not None:
            self.fleet.leave()
        while self._has_unsent() or self._frames.has_untaken():  # noqa: ASYNC110 - once, at the end
            await anyio.sleep(0.005)

    def _has_unsent(self) -> bool:
        return any(len(line.outbox) and line.is_up for line in self._connections)

    def _beat(self) -> None:
        self._presence.refresh()
        self._frames.sweep()

    def _take_request(self, message: Message) -> None:
        self.request_desk.take(message)

    def _take_order(self, message: Message) -> None:
        if message.topic == self._topics.status:
            self._presence.take(message)
        elif self.fleet is not None and self.fleet.topics.member_of(message.topic):
            self.fleet.take_record(message)
        else:
            self.order_desk.take(message)

    def _came_up(self) -> None:
        self._presence.came_up()
        self._board.came_up()

    def _says(self, config: Mqtt, node: str) -> tuple[list[str], Mapping[str, Any]]:
        """What keeps the node from serving, and what its status says beside that."""
        snapshot = self._runtime.snapshot()
        told = counts(self._desks, self._connections, self._news, self.fleet)
        facts = {**_facts(config, node, snapshot.mode), "counts": told}
        frames = self._frames.facts()
        return self._faults(snapshot), facts if frames is None else {**facts, "frames": frames}

    def _faults(self, snapshot: Snapshot) -> list[str]:
        """What keeps the node from serving, each as a sentence."""
        faults = []
        if not self.requests.is_up:
            faults.append("requests are not subscribed to yet")
        if self.fleet is not None and not self.fleet.connection.is_up:
            faults.append(f"requests to the fleet {self.fleet.name} are not subscribed to yet")
        if snapshot.draining:
            faults.append("it drains: nothing new is taken on")
        elif self._runtime.oldest_runnable_ns() > STALLED_NS:
            faults.append("the scheduler does not get on; see the node's log")
        lost = lost_devices().items()
        told = [f"{device} is lost until the node is restarted: {why}" for device, why in lost]
        return faults + told


async def _stay(connection: Connection, scope: anyio.CancelScope) -> None:
    with scope:
        await connection.run()


def _facts(config: Mqtt, node: str, mode: str | None) -> dict[str, str | int | None]:
    """What the status says beside the state."""
    fleet = {} if config.fleet is None else {"fleet": config.fleet.name}
    return {"node": node, "mode": mode, "max_request_bytes": config.max_request, **fleet}


def _records(config: Mqtt) -> tuple[str, ...]:
    """What the members of a fleet say of themselves comes over the connection of orders."""
    return () if config.fleet is None else (records(config.prefix, config.fleet.name),)


def _link(config: Mqtt, node: str, session: str, credentials: Credentials) -> Link:
    client_id = config.client_id or f"rota-{node}-{session}"
    return Link(
        host=config.url.host,
        port=config.url.port,
        client_id=client_id,
        keepalive_s=config.keepalive // SECOND_NS,
        session_expiry_s=config.session_expiry // SECOND_NS,
        packet_max_bytes=min(OVERSIZE * config.max_request + ENVELOPE_BYTES, PACKET_MAX_BYTES),
        tls=credentials.tls,
        username=config.username,
        password=credentials.password,
    )
