"""The state of the node, on retained topics, at most some times a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio

from scheduler.transport.answer import to_bytes
from scheduler.transport.message import Message
from scheduler.transport.payload import JSON

if TYPE_CHECKING:
    from scheduler.core.snapshot import EngineSnapshot, PoolSnapshot, Snapshot, WaitSnapshot
    from scheduler.runtime.runtime import Runtime
    from scheduler.transport.connection import Connection
    from scheduler.transport.news import News, Ticket
    from scheduler.transport.replies import Replies, Reply
    from scheduler.transport.topics import Topics

PERIOD_S = 0.2
"""States that pass faster than this are not seen; events are not lost."""

BEAT_S = 1.0
"""How often to look although nothing has happened."""


class Board:
    """Publishes what has changed of models and memory, events, and who stands where in line.

    `beat` is called each time, at least once a second.
    """

    def __init__(
        self,
        runtime: Runtime,
        news: News,
        *,
        topics: Topics,
        connection: Connection,
        replies: Replies,
        positions: Mapping[Ticket, Reply],
        beat: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._news = news
        self._topics = topics
        self._connection = connection
        self._replies = replies
        self._positions = positions
        self._beat = beat
        self._published: dict[str, bytes] = {}
        self._told: dict[Ticket, tuple[int, str]] = {}

    def came_up(self) -> None:
        """A broker that was away may have lost what it retained: say everything again, now."""
        self._published.clear()
        self.publish()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            self.publish()
            await anyio.sleep(PERIOD_S)
            with anyio.move_on_after(BEAT_S):
                await self._news.change()

    def publish(self) -> None:
        """Publish what has changed since the last time."""
        self._beat()
        if not self._connection.is_up:
            return
        snapshot = self._runtime.snapshot()
        pools = {pool.name: pool_state(pool) for pool in snapshot.pools}
        states = {self._topics.state(e.model): model_state(e) for e in snapshot.engines}
        self._retain({**states, self._topics.memory: {"pools": pools}})
        for event in self._news.take_events():
            self._connection.send(
                Message(
                    topic=self._topics.events, payload=to_bytes(event), qos=1, content_type=JSON
                )
            )
        self._tell_positions(snapshot)

    def _retain(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Publish what has changed; what is retained of a removed model is taken away."""
        payloads = {topic: to_bytes(told) for topic, told in states.items()}
        gone = {topic: b"" for topic in self._published if topic not in payloads}
        for topic, payload in {**payloads, **gone}.items():
            if self._published.get(topic) != payload:
                kind = JSON if payload else None
                self._connection.send(
                    Message(topic=topic, payload=payload, qos=1, retain=True, content_type=kind),
                    keeps=False,
                )
        self._published = payloads

    def _tell_positions(self, snapshot: Snapshot) -> None:
        if not self._positions:
            self._told.clear()
            return
        places = {wait.request_id: n for n, wait in enumerate(snapshot.waiting, 1)}
        self._told = {t: told for t, told in self._told.items() if t in self._positions}
        for ticket, reply in self._positions.items():
            place = places.get(ticket.request_id or 0)
            if place is not None:
                self._tell(ticket, reply, place, snapshot.waiting[place - 1])

    def _tell(self, ticket: Ticket, reply: Reply, place: int, wait: WaitSnapshot) -> None:
        reason = wait.waits_for
        text = f"{ordinal(place)} in line" + (f", waiting: {reason}" if reason else "")
        if self._told.get(ticket) == (place, text):
            return
        self._told[ticket] = (place, text)
        code = None if reason is None else reason.code.value
        self._replies.note(reply, "position", {"position": place, "code": code, "message": text})


def model_state(engine: EngineSnapshot) -> dict[str, Any]:
    """What is told of a model: whether it is in memory, and how much waits and runs."""
    condemned = engine.condemned
    return {
        "model": engine.model,
        "state": engine.state.value,
        "variant": engine.variant or None,
        "device": engine.device or None,
        "pinned": engine.pinned,
        "priority": engine.priority,
        "waiting": engine.waiting,
        "running": len(engine.running),
        "is_held": engine.held_by is not None,
        "reserved_bytes": dict(engine.reserved_bytes),
        "why": None if condemned is None else str(condemned),
    }


def pool_state(pool: PoolSnapshot) -> dict[str, Any]:
    """What is told of a pool, in bytes; null is unknown."""
    return {
        "budget_bytes": pool.budget_bytes,
        "reserved_bytes": pool.reserved_bytes,
        "high_water_bytes": pool.high_water_bytes,
        "measured_bytes": pool.used_bytes,
        "available_bytes": pool.available_bytes,
        "residue_bytes": pool.residue_bytes,
    }


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
