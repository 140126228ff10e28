"""On which terms a request is made: its user properties, read and checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from scheduler.config.priority import PRIORITY_WORDS, read_priority
from scheduler.config.units import DURATION_MAX_NS, quoted
from scheduler.transport.refusal import bad_request
from scheduler.transport.topics import read_id

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000

USER_MAX = 32
"""User properties beyond this many are not read: the message is refused."""

TEXT_MAX = 256

KNOWN = ("priority", "deadline-ms", "stream", "accept", "notify", "request-id", "lease")
"""The user properties of a request. Others pass unread, unless one looks like a slip of these."""

_DECIMAL = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`deadline_ns` counts from when the message came in; None of these was said.

    `accept` is the content type wanted for the result, `tells_position` whether to tell who waits
    where the request stands, `lease` the fencing token of the lease it runs under.
    """

    priority: int | None = None
    deadline_ns: int | None = None
    stream: str | None = None
    accept: str | None = None
    tells_position: bool = False
    request_id: str | None = None
    lease: int | None = None


def read_terms(user: Iterable[tuple[str, str]], expiry_s: int | None = None) -> Terms:
    """Read user properties and a message expiry; the earlier of the two deadlines holds.

    Raises:
        Refusal: one is malformed, stands twice, or looks like a slip of one that is known.
    """
    said = _said(user)
    deadline_ns = None if expiry_s is None else expiry_s * SECOND_NS
    if "deadline-ms" in said:
        own_ns = _read_deadline(said["deadline-ms"])
        deadline_ns = own_ns if deadline_ns is None else min(own_ns, deadline_ns)
    return Terms(
        priority=_read_priority_text(said["priority"]) if "priority" in said else None,
        deadline_ns=deadline_ns,
        stream=_read_text(said, "stream"),
        accept=_read_text(said, "accept"),
        tells_position=_read_notify(said.get("notify")),
        request_id=read_id(said["request-id"], "request-id") if "request-id" in said else None,
        lease=_read_lease(said["lease"]) if "lease" in said else None,
    )


def read_parameters(parameters: Any, terms: Terms) -> Terms:
    """Add the `parameters` of a JSON request: priority, deadline_ms, stream.

    For clients of MQTT 3.1.1, which have no user properties; what a property says comes first.
    Raises Refusal.
    """
    if not isinstance(parameters, dict):
        raise bad_request('"parameters" is no object')
    unknown = sorted(set(parameters) - {"priority", "deadline_ms", "stream"})
    if unknown:
        known = "priority, deadline_ms, stream"
        raise bad_request(f"parameters has {quoted(unknown[0])}; known: {known}")
    user = [(_as_property(key), _as_text(key, value)) for key, value in parameters.items()]
    own = read_terms(user)
    deadlines_ns = [ns for ns in (terms.deadline_ns, own.deadline_ns) if ns is not None]
    return Terms(
        priority=own.priority if terms.priority is None else terms.priority,
        deadline_ns=min(deadlines_ns, default=None),
        stream=own.stream if terms.stream is None else terms.stream,
        accept=terms.accept,
        tells_position=terms.tells_position,
        request_id=terms.request_id,
        lease=terms.lease,
    )


def _said(user: Iterable[tuple[str, str]]) -> dict[str, str]:
    said: dict[str, str] = {}
    for count, (key, value) in enumerate(user):
        if count >= USER_MAX:
            raise bad_request(f"more than {USER_MAX} user properties; send fewer")
        if key in KNOWN:
            if key in said:
                raise bad_request(f"the user property {key} stands twice; send it once")
            said[key] = value
        elif close := get_close_matches(key[:TEXT_MAX].lower(), KNOWN, n=1, cutoff=0.85):
            raise bad_request(f"no user property is called {quoted(key)}; is it {close[0]}?")
    return said


def _as_property(key: str) -> str:
    return key.replace("_", "-")


def _as_text(key: str, value: Any) -> str:
    if key == "stream" and isinstance(value, str):
        return value
    if key == "priority" and isinstance(value, str) and value in PRIORITY_WORDS:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or key == "stream":
        raise bad_request(f"parameters.{key}: {quoted(value)} is not of the right kind")
    if isinstance(value, float) and not math.isfinite(value):
        raise bad_request(f"parameters.{key} is not a finite number")
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else "out of range"
    return f"{value:.6f}" if key == "deadline_ms" and abs(value) < 10**15 else repr(value)


def _read_deadline(text: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise bad_request(
            f"deadline-ms is {quoted(text)}; send milliseconds from now, as 100 or 2.5"
        )
    whole, _, part = text.partition(".")
    deadline_ns = int(whole) * MS_NS + int(part[:6].ljust(6, "0"))
    if deadline_ns > DURATION_MAX_NS:
        raise bad_request(f"deadline-ms is {quoted(text)}, more than a year; leave it out")
    return deadline_ns


def _read_priority_text(text: str) -> int:
    try:
        return read_priority(int(text) if _WHOLE.fullmatch(text) else text)
    except ValueError as error:
        raise bad_request(f"priority: {error}") from None


def _read_text(said: dict[str, str], key: str) -> str | None:
    text = said.get(key)
    if text is not None and not 0 < len(text) <= TEXT_MAX:
        raise bad_request(f"{key} must be 1 to {TEXT_MAX} characters")
    return text


def _read_notify(text: str | None) -> bool:
    if text not in (None, "position"):
        raise bad_request(f"notify is {quoted(text)}; the only thing to be told is: position")
    return text is not None


def _read_lease(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise bad_request(f"lease is {quoted(text)}; send the token that acquire answered")
    return int(text)
