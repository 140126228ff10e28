"""What becomes of a message before anybody looks at what it says."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from scheduler.transport.refusal import Refusal, RefusalCode

if TYPE_CHECKING:
    from scheduler.transport.message import Message
    from scheduler.transport.replies import Replies, Reply
    from scheduler.transport.topics import Address, Tree

WARNED_MAX = 256

_log = logging.getLogger(__name__)


class Desk(ABC):
    """Takes messages in from the topics of its tree, and answers each. `takes` names their kind."""

    def __init__(self, topics: Tree, replies: Replies, *, takes: str) -> None:
        self.replies = replies
        self._topics = topics
        self._takes = takes
        self._warned: set[str] = set()

    def take(self, message: Message) -> None:
        """Take in one message. Never raises, never waits."""
        address = self._topics.read(message.topic)
        if address is None or (message.retain and not message.payload):
            return
        reply, refusal = self.replies.address(message, address)
        try:
            if refusal is not None:
                raise refusal
            self._refuse_retained(message)
            self._admit(message, address, reply)
        except Refusal as refused:
            self._refuse(message, reply, refused)

    @abstractmethod
    def _admit(self, message: Message, address: Address, reply: Reply) -> None:
        """Take on what a message asks for. Raises Refusal."""

    def _refuse(self, message: Message, reply: Reply, refused: Refusal) -> None:  # noqa: ARG002 - for those that may pass it on
        self.replies.refuse(reply, refused)

    def _refuse_retained(self, message: Message) -> None:
        if not message.retain:
            return
        if message.topic not in self._warned and len(self._warned) < WARNED_MAX:
            self._warned.add(message.topic)
            _log.warning(
                "a retained %s on %.100r is refused: the broker would send it at every start; "
                "remove it with an empty retained message",
                self._takes,
                message.topic,
            )
        raise Refusal(
            RefusalCode.RETAINED,
            f"a retained {self._takes} would be sent again at every start; publish it without "
            "retain",
        )
