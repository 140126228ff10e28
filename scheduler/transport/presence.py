"""Whether the node is there: its retained status, which no old will may overwrite.

The broker publishes a will when it notices that a connection is gone, which may be long after the
node is back: over a new connection, or as a new process with another client id. So each status
says which `session` (process) and `incarnation` (connection) it is of, the node reads its own
status topic, and answers any "offline" by saying again that it is there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from scheduler.transport.answer import to_bytes
from scheduler.transport.message import Message
from scheduler.transport.payload import JSON

if TYPE_CHECKING:
    from scheduler.transport.connection import Connection

STALLED_NS = 2_000_000_000
"""From here on the scheduler's pulse counts as gone; it is some milliseconds while all is well."""

STATUS_MAX_BYTES = 16 * 1024

_log = logging.getLogger(__name__)


class Presence:
    """Publishes the status.

    `says` returns what keeps the node from serving, each as a sentence, and what else is told.
    """

    def __init__(
        self,
        topic: str,
        session: str,
        *,
        says: Callable[[], tuple[list[str], Mapping[str, Any]]],
    ) -> None:
        self._topic = topic
        self._session = session
        self._says = says
        self._incarnation = 0
        self._connection: Connection | None = None
        self._published: bytes | None = None
        self._rivals: set[str] = set()

    def speak_through(self, connection: Connection) -> None:
        """Where statuses go."""
        self._connection = connection

    def will(self) -> Message:
        """The will of the next connection."""
        self._incarnation += 1
        return self._message("offline", ["the connection broke"], self._says()[1])

    def came_up(self) -> None:
        """There is a connection again: say so, whatever was said before."""
        self._published = None
        self.refresh()

    def refresh(self) -> None:
        """Publish the status if it has changed."""
        faults, facts = self._says()
        message = self._message("degraded" if faults else "online", faults, facts)
        if message.payload != self._published:
            self._published = message.payload
            self._send(message)

    def leave(self) -> None:
        """Say that we go."""
        self._send(self._message("offline", ["the node was stopped"], self._says()[1]))

    def take(self, message: Message) -> None:
        """Read what stands on the status topic, which others may write as well. Never raises."""
        told = read_status(message.payload)
        if told is None or self._connection is None or not self._connection.is_up:
            return
        is_own = told.get("session") == self._session
        if is_own and told.get("incarnation") == self._incarnation:
            return
        if told.get("state") == "offline":
            self.came_up()
        elif not is_own and told.get("state") in ("online", "degraded"):
            self._meet_rival(str(told.get("session"))[:64])

    def _meet_rival(self, session: str) -> None:
        if session not in self._rivals and len(self._rivals) < 64:  # noqa: PLR2004 - a bound on a log
            self._rivals.add(session)
            _log.error(
                "another node calls itself %s and answers the same requests; give each its own "
                "`node:` in the configuration",
                self._topic.rpartition("/")[0],
            )

    def _message(self, state: str, why: list[str], facts: Mapping[str, Any]) -> Message:
        told = {"state": state, "session": self._session, "incarnation": self._incarnation}
        if why:
            told["why"] = why
        return Message(
            topic=self._topic,
            payload=to_bytes({**told, **facts}),
            qos=1,
            retain=True,
            content_type=JSON,
        )

    def _send(self, message: Message) -> None:
        if self._connection is not None:
            self._connection.send(message, keeps=False)


def read_status(payload: bytes) -> dict[str, Any] | None:
    """What a status says; one that was taken away is offline. None for what is no status."""
    if len(payload) > STATUS_MAX_BYTES:
        return None
    try:
        told = json.loads(payload) if payload else {"state": "offline"}
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
