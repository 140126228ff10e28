"""Answers on their way back to who asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from scheduler.core.outcome import Outcome
from scheduler.transport.answer import Answer, encode_refusal, to_bytes
from scheduler.transport.message import Message
from scheduler.transport.outbox import REFUSED
from scheduler.transport.payload import JSON
from scheduler.transport.receipt import Receipt
from scheduler.transport.refusal import Refusal, too_large
from scheduler.transport.topics import Address, ReplyRule, Tree, read_id

if TYPE_CHECKING:
    from scheduler.transport.connection import Connection

ENVELOPE_BYTES = 1024
"""Of a packet, at most: its header, properties and user properties beside topic and payload."""

CORRELATION_MAX_BYTES = 1024

LARGE_BYTES = 64 * 1024
"""Larger answers go at QoS 1 whatever was asked: only then a broker says that it refuses one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """Where an answer goes. `id` names it, on our own topics and in its user properties."""

    topic: str
    id: str
    correlation: bytes | None = None
    qos: int = 0
    is_asked_for: bool = False
    """The client named a response topic, so it can be told more than the answer."""
    receipt: Receipt | None = field(default=None, compare=False)
    """Given when the broker has the answer."""

    def is_done(self) -> None:
        """The broker need not keep the request any longer."""
        if self.receipt is not None:
            self.receipt.give()

    def reaches_the_same(self, other: Reply) -> bool:
        """Whether one answer does for both; our own result topics differ by id alone."""
        same_topic = self.topic == other.topic or not (self.is_asked_for or other.is_asked_for)
        return same_topic and self.correlation == other.correlation


class Replies:
    """Finds out where answers go, and sends them.

    `ids_start` makes the ids of answers whose request had none different in every run.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Tree,
        rule: ReplyRule,
        *,
        max_bytes: int,
        ids_start: str,
    ) -> None:
        self.refused = 0
        self._connection = connection
        self._topics = topics
        self._rule = rule
        self._max_bytes = max_bytes
        self._ids = (f"{ids_start}-{number}" for number in count(1))

    def address(self, message: Message, address: Address) -> tuple[Reply, Refusal | None]:
        """Where the answer to `message` goes; with a refusal where what it names cannot be used.

        The refusal then goes to the node's own result topic.
        """
        said = address.id or dict(message.user).get("request-id")
        correlation, topic = message.correlation, message.response_topic
        refusal = None
        try:
            reply_id = next(self._ids) if said is None else read_id(said, "the id")
            if topic is not None:
                self._rule.check(topic)
            if correlation is not None and len(correlation) > CORRELATION_MAX_BYTES:
                correlation = None
                raise too_large(f"correlation data of more than {CORRELATION_MAX_BYTES} bytes")
        except Refusal as refused:
            refusal, topic, reply_id = refused, None, next(self._ids)
        reply = Reply(
            self._topics.result(address, reply_id) if topic is None else topic,
            reply_id,
            correlation,
            min(message.qos, 1),
            is_asked_for=topic is not None,
            receipt=message.receipt,
        )
        return reply, refusal

    def send(self, reply: Reply, answer: Answer) -> None:
        """Send an answer, or in its place that it is too large."""
        limit = min(self._max_bytes, self._connection.packet_max_bytes - ENVELOPE_BYTES)
        if len(answer.payload) > limit:
            self._refuse_size(reply, f"the answer has {len(answer.payload)} bytes, at most {limit}")
            return
        self._connection.send(
            _message(reply, answer),
            on_told=lambda code: self._told(reply, answer, code),
        )

    def refuse(self, reply: Reply, refusal: Refusal) -> None:
        """Send a refusal."""
        self.refused += 1
        self.send(reply, encode_refusal(refusal, answer_id=reply.id))

    def note(self, reply: Reply, kind: str, told: Mapping[str, Any]) -> None:
        """Tell something before or beside the answer, if there is a response topic for it.

        The user property `notice` says what it is; an answer has none.
        """
        if reply.is_asked_for:
            user = (("notice", kind), ("id", reply.id))
            self._connection.send(_message(reply, Answer(to_bytes(told), JSON, user)), keeps=False)

    def _refuse_size(self, reply: Reply, text: str) -> None:
        text += "; ask for application/x-npy, or for less"
        refusal = too_large(text)
        refusal.outcome = Outcome.FAILED
        self.refused += 1
        answer = encode_refusal(refusal, answer_id=reply.id)
        self._connection.send(_message(reply, answer), on_told=lambda _: reply.is_done())

    def _told(self, reply: Reply, answer: Answer, code: int) -> None:
        if code >= REFUSED:
            self._refused_by_broker(reply, answer, code)
        else:
            reply.is_done()

    def _refused_by_broker(self, reply: Reply, answer: Answer, code: int) -> None:
        """A small answer may still pass where a large one did not."""
        _log.warning("the broker refuses an answer to %.100r: %#x", reply.topic, code)
        if len(answer.payload) > ENVELOPE_BYTES:
            text = f"the broker refuses the answer of {len(answer.payload)} bytes ({code:#x})"
            self._refuse_size(reply, text)
        else:
            reply.is_done()


def _message(reply: Reply, answer: Answer) -> Message:
    return Message(
        topic=reply.topic,
        payload=answer.payload,
        qos=1 if len(answer.payload) > LARGE_BYTES else reply.qos,
        content_type=answer.content_type,
        correlation=reply.correlation,
        user=answer.user,
    )
