"""One message that is to be answered, for as long as somebody waits."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from scheduler.config.priority import read_priority
from scheduler.config.units import DURATION_MAX_NS
from scheduler.transport.message import Message
from scheduler.transport.strict_json import decode_json
from scheduler.transport.terms import MS_NS, SECOND_NS

OnNotice = Optional[Callable[[Mapping[str, Any]], None]]
"""Called with what the node tells before the answer."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class Question:
    """What is asked, and where its answer is put. `ends_ns` is its deadline, None for none."""

    id: str
    topic: str
    payload: bytes
    content_type: str
    user: tuple[tuple[str, str], ...]
    qos: int
    ends_ns: int | None
    answer: Future[Message]
    on_notice: OnNotice = None

    def message(self, response_topic: str, now_ns: int) -> Message:
        """It as a message that is sent now; what is left of its time counts from here."""
        user = (("request-id", self.id), *self.user)
        expiry_s = None
        if self.ends_ns is not None:
            rest_ns = min(max(self.ends_ns - now_ns, 0), DURATION_MAX_NS)
            user = (*user, ("deadline-ms", f"{rest_ns // MS_NS}.{rest_ns % MS_NS:06}"))
            expiry_s = -(-rest_ns // SECOND_NS)
        return Message(
            topic=self.topic,
            payload=self.payload,
            qos=self.qos,
            content_type=self.content_type,
            response_topic=response_topic,
            correlation=self.id.encode("ascii"),
            expiry_s=expiry_s,
            user=user,
        )

    def take(self, message: Message) -> None:
        """Take in the answer, or a notice before it."""
        if not _is_notice(message):
            if not self.answer.done():
                self.answer.set_result(message)
        elif self.on_notice is not None:
            tell(self.on_notice, message)

    def fail(self, error: Exception) -> None:
        """Have the wait end with `error`."""
        if not self.answer.done():
            self.answer.set_exception(error)


def terms_of(
    priority: int | str | None,
    stream: str | None,
    accept: str | None,
    lease: int | None,
    *,
    tells: bool,
) -> tuple[tuple[str, str], ...]:
    """The user properties that say these. Raises ValueError for what is no priority."""
    said = {
        "priority": None if priority is None else str(read_priority(priority)),
        "stream": stream,
        "accept": accept,
        "notify": "position" if tells else None,
        "lease": None if lease is None else str(lease),
    }
    return tuple((key, text) for key, text in said.items() if text is not None)


def tell(on_notice: Callable[[Mapping[str, Any]], None], message: Message) -> None:
    """Call back with what a notice says. A callback that raises must not end the connection."""
    try:
        said = decode_json(message.payload)
        if isinstance(said, dict):
            on_notice(said)
    except Exception:  # noqa: BLE001 - it is the caller's own, and may raise anything
        _log.exception("a callback for notices failed")


def _is_notice(message: Message) -> bool:
    return any(key == "notice" for key, _ in message.user)
