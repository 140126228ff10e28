"""Several nodes share one stream of requests.

The broker gives each request to one of them (`$share`, MQTT 5 4.8.2) without knowing who has room.
So a node that has more than it can handle hands what waits to a member that has said it has room,
and what it cannot do at all to one that perhaps can, never to the same twice. A request is
acknowledged when its answer is at the broker, or another member's: until then it is in the session
of one member, and when that is gone, of its heir.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from scheduler.core.engine import EngineState
from scheduler.core.model import SECOND_NS
from scheduler.transport.connection import Connection
from scheduler.transport.fleet_topics import FleetTopics
from scheduler.transport.frames import Frames
from scheduler.transport.heir import NOBODY, Heir
from scheduler.transport.journey import HAD_NO_ROOM, HOPS_MAX, handed_on, not_again, path_of
from scheduler.transport.link import Link
from scheduler.transport.member import GONE, Members, Record, read_record
from scheduler.transport.message import Message
from scheduler.transport.outbox import REFUSED
from scheduler.transport.payload import JSON
from scheduler.transport.replies import Replies
from scheduler.transport.requests import RequestDesk
from scheduler.transport.topics import ReplyRule

if TYPE_CHECKING:
    from scheduler.config.mqtt import Fleet as FleetConfig
    from scheduler.config.mqtt import Mqtt
    from scheduler.runtime.clock import Clock
    from scheduler.runtime.lease import Lease
    from scheduler.runtime.runtime import Runtime
    from scheduler.transport.hands import Hands

PERIOD_S = 0.05
"""How old what the others know of our room may be."""

BEAT_NS = 2 * SECOND_NS
"""How often to say that we are there although nothing has changed."""

WINDOW = 2
"""The broker sends so many times what is handled at a time: what waits here can be handed on, what
waits at the broker cannot."""

TRY_AGAIN_S = 1.0

GONE_FOR_S = 10
"""So much longer than the session is it remembered that a member is gone."""


class Fleet:
    """This node as a member: a connection and a desk of its own, and what it knows of the others.

    `link` is how the node's other connections are made. Records of members come in by `take_record`
    over another connection than requests do, for these may be held up.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: Mqtt,
        fleet: FleetConfig,
        *,
        member: str,
        link: Link,
        clock: Clock,
        hands: Hands,
        lease_of: Callable[[int], Lease],
    ) -> None:
        self.name = fleet.name
        self.handed_over = 0
        self.topics = FleetTopics(config.prefix, fleet.name, member)
        self.members = Members(member)
        self._runtime = runtime
        self._link = replace(link, window=WINDOW * fleet.in_hand)
        self._hands = hands
        self._now_ns = clock.now_ns
        self._is_leaving = False
        self._taken = 0
        self._models: dict[str, bool] = {}
        self._said = b""
        self._said_ns = 0
        self._inherits: set[str] = set()
        self.connection = Connection(
            self._link,
            filters=self._filters(),
            on_message=self._take,
            clock=clock,
            on_up=self._came_up,
            will=self._gone,
        )
        self.desk = self._open_desk(config, fleet, clock, lease_of)

    def _open_desk(
        self,
        config: Mqtt,
        fleet: FleetConfig,
        clock: Clock,
        lease_of: Callable[[int], Lease],
    ) -> RequestDesk:
        inbox = config.inbox.model_copy(update={"in_flight": fleet.in_hand})
        replies = Replies(
            self.connection,
            self.topics,
            ReplyRule(config.prefix, config.response_topics),
            max_bytes=config.max_response,
            ids_start=self.topics.member,
        )
        return RequestDesk(
            self._runtime,
            config.model_copy(update={"inbox": inbox}),
            topics=self.topics,
            replies=replies,
            clock=clock,
            hands=self._hands,
            lease_of=lease_of,
            frames=Frames(None, clock),
            hand_over=self._hand_over,
        )

    async def run(self) -> None:
        """Keep the others told, and what is held in motion, until cancelled."""
        while True:
            await self._look_at_models()
            now_ns = self._now_ns()
            self.desk.inbox.drop_stale(now_ns)
            self.desk.share_out()
            self._say(now_ns)
            self._inherit(now_ns)
            await anyio.sleep(PERIOD_S)

    def take_record(self, message: Message) -> None:
        """Take in what a member says of itself. Never raises."""
        member = self.topics.member_of(message.topic)
        if member is None:
            return
        record = read_record(member, message.payload)
        self.members.take(member, record, self._now_ns())
        if member != self.topics.member:
            self.desk.share_out()
        elif record is None or record.state == GONE:
            self._said = b""  # an old will of ours has come late

    async def stop_taking(self) -> None:
        """End the subscriptions; what is handed over from now on goes to others."""
        self._is_leaving = True
        await self._look_at_models()

    def leave(self) -> None:
        """Say that we are gone: an heir looks after what may have come meanwhile."""
        self.connection.send(self._gone(), keeps=False)

    # -- requests ---------------------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if self.topics.read(message.topic) is None or (message.retain and not message.payload):
            message.acknowledge()
            return
        self._taken += 1
        self.desk.take(message)
        self.desk.share_out()

    def _hand_over(self, message: Message, *, is_refused: bool) -> bool:
        address, path = self.topics.read(message.topic), path_of(message)
        if address is None or len(path) >= HOPS_MAX or not self.connection.is_up:
            return False
        member = self.members.choose(
            address.name,
            not_again(path, is_refused=is_refused),
            self._now_ns(),
            needs_room=not is_refused,
        )
        if member is None:
            return False
        self.members.gave(member)
        self.handed_over += 1
        me = self.topics.member if is_refused else self.topics.member + HAD_NO_ROOM
        self.connection.send(
            handed_on(message, self.topics.handed_to(member, address), me),
            keeps=message.receipt is None,  # the broker keeps the others
            on_told=lambda code: self._was_handed(message, member, code),
        )
        return True

    def _was_handed(self, message: Message, member: str, code: int) -> None:
        if code == NOBODY or code >= REFUSED:
            self.members.shut(member)
            self._take(message)
        else:
            message.acknowledge()

    # -- what is known of us ----------------------------------------------------------------

    async def _look_at_models(self) -> None:
        snapshot = self._runtime.snapshot()
        able = {
            engine.model: engine.state is EngineState.READY
            for engine in snapshot.engines
            if engine.condemned is None and not engine.disabled
        }
        if self._is_leaving or snapshot.draining:
            able = {}
        self._models = able
        await self.connection.refilter(self._filters())

    def _filters(self) -> tuple[str, ...]:
        own = () if self._is_leaving else self.topics.own(self.topics.member)
        return (*own, *self.topics.shared(self._models))

    def _came_up(self) -> None:
        self._said = b""
        self._say(self._now_ns())

    def _say(self, now_ns: int) -> None:
        if self._is_leaving or not self.connection.is_up:
            return
        record = Record(
            self.topics.member,
            self._link.client_id,
            room=self.desk.inbox.room if self._models else 0,
            taken=self._taken,
            models=self._models,
        ).to_bytes()
        if record != self._said or now_ns - self._said_ns >= BEAT_NS:
            self._said, self._said_ns = record, now_ns
            self.connection.send(self._record(self.topics.member, record), keeps=False)

    def _gone(self) -> Message:
        member = self.topics.member
        record = Record(member, self._link.client_id, GONE, models=self._models)
        expiry_s = self._link.session_expiry_s + GONE_FOR_S
        return replace(self._record(member, record.to_bytes()), expiry_s=expiry_s)

    def _record(self, member: str, payload: bytes) -> Message:
        return Message(
            topic=self.topics.record(member),
            payload=payload,
            qos=1,
            retain=True,
            content_type=JSON if payload else None,
        )

    # -- what others have left --------------------------------------------------------------

    def _inherit(self, now_ns: int) -> None:
        if not self.connection.is_up or not self._hands.is_open:
            return
        for gone in self.members.to_inherit(now_ns):
            if gone.member not in self._inherits:
                self._inherits.add(gone.member)
                self._hands.start(self._inherit_from, gone)

    async def _inherit_from(self, gone: Record) -> None:
        try:
            heir = Heir(self._link, gone, self.topics, self._take)
            if await heir.run():
                self.connection.send(self._record(gone.member, b""), keeps=False)
                self.members.take(gone.member, None, self._now_ns())
            else:
                await anyio.sleep(TRY_AGAIN_S)
        finally:
            self._inherits.discard(gone.member)
