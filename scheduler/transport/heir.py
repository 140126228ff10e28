"""What a member that is gone has left at the broker goes to those that are there.

Brokers keep what a client has not acknowledged as long as its session lasts, and go on giving it
its share. mosquitto 2.0 gives that to nobody else when the session ends, though MQTT 5 (4.8.2) says
it should. So another member takes the session over by the client id, ends its subscriptions, sends
each request that is left in it to the fleet again, and ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import aiomqtt
import anyio

from scheduler.transport.link import Link, close, connect
from scheduler.transport.message import Message
from scheduler.transport.outbox import REFUSED

if TYPE_CHECKING:
    from scheduler.transport.fleet_topics import FleetTopics
    from scheduler.transport.member import Record
    from scheduler.transport.wire import Wire

NOBODY = 0x10
"""MQTT 5's reason code of a message that no subscription matches."""

ASK_AGAIN_S = 1.0
"""After so long the mark at the end is sent again: a full queue at the broker takes none."""

LIMIT_S = 20.0

_log = logging.getLogger(__name__)


class Heir:
    """Empties the session of one member that is gone.

    `take` is given, with its receipt, what nobody in the fleet is subscribed to.
    """

    def __init__(
        self, link: Link, gone: Record, topics: FleetTopics, take: Callable[[Message], None]
    ) -> None:
        self.passed_on = 0
        self._link = replace(link, client_id=gone.client_id)
        self._gone = gone
        self._topics = topics
        self._give = take
        self._sent: dict[int, Message] = {}
        self._given: list[Message] = []
        self._has_ended = False
        self._turn = anyio.Event()
        self._wire = self._make_wire(resumes=True)

    def _make_wire(self, *, resumes: bool) -> Wire:
        expiry_s = self._link.session_expiry_s if resumes else 0
        return replace(self._link, session_expiry_s=expiry_s).wire(
            on_message=self._take, on_published=self._published, will=None, resumes=resumes
        )

    async def run(self) -> bool:
        """Pass everything on, and end the session; False: it did not come to an end."""
        try:
            with anyio.fail_after(LIMIT_S):
                await self._empty()
                await self._end_session()
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            _log.warning("what %s has left was not all passed on: %s", self._gone.member, error)
            return False
        _log.info("%s is gone; it has left %d requests", self._gone.member, self.passed_on)
        return True

    async def _empty(self) -> None:
        wire, own = self._wire, self._topics.own(self._gone.member)
        await connect(wire)
        try:
            await wire.unlisten((*self._topics.shared(self._gone.models), *own[:-1]))
            await wire.listen(own[-1:])
            while not self._is_empty:
                wire.post(Message(topic=own[-1], qos=1))
                with anyio.move_on_after(ASK_AGAIN_S):
                    await self._turn.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await close(wire)

    @property
    def _is_empty(self) -> bool:
        answered = all(m.receipt is None or m.receipt.is_given for m in self._given)
        return self._has_ended and not self._sent and answered

    async def _end_session(self) -> None:
        """A session that begins anew and ends with its connection leaves nothing."""
        wire = self._make_wire(resumes=False)
        await connect(wire)
        await close(wire)

    def _take(self, message: Message) -> None:
        address = self._topics.read(message.topic)
        if address is None:
            message.acknowledge()
            if message.topic == self._topics.end(self._gone.member):
                self._has_ended = True
                self._look()
            return
        self.passed_on += 1
        if message.retain:
            self._keep(message)
            return
        again = replace(
            message, topic=self._topics.infer(address.name, address.id), retain=False, receipt=None
        )
        number = self._wire.post(again)
        if number is None:
            message.acknowledge()
        else:
            self._sent[number] = replace(again, receipt=message.receipt)

    def _published(self, number: int, code: int) -> None:
        message = self._sent.pop(number, None)
        if message is None:
            return
        if code == NOBODY or code >= REFUSED:
            self._keep(message)
        else:
            message.acknowledge()
        self._look()

    def _keep(self, message: Message) -> None:
        """Nobody else can take it: this node does, or says why it cannot."""
        self._given.append(message)
        self._give(message)

    def _look(self) -> None:
        if self._is_empty:
            self._turn.set()
