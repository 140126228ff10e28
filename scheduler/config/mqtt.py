"""The broker, and what is taken from it, as it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator

from scheduler.config.name import Name
from scheduler.config.resource import ResourcePath
from scheduler.config.section import Count, Section
from scheduler.config.units import (
    Duration,
    Nanoseconds,
    PositiveDuration,
    PositiveSize,
    quoted,
    read_duration,
)
from scheduler.core.model import SECOND_NS

MIB = 1024 * 1024

PORTS = {"mqtt": 1883, "mqtts": 8883}

KEEPALIVE_MAX_NS = 65535 * SECOND_NS
"""What MQTT has two bytes for."""

IN_HAND_MAX = 2**15 - 1
"""Twice this is the most that MQTT counts unacknowledged."""

FLEET = "fleet"
"""Stands in topics where a node's name stands, for what several nodes share."""

CLIENT_ID_MAX = 64
PREFIX_MAX = 128

_URL = re.compile(r"(mqtts?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?/?", re.ASCII)
_LEVELS = re.compile(r"[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)*", re.ASCII)
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Broker:
    """A `url:` that has been read."""

    host: str
    port: int
    uses_tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtt{'s' if self.uses_tls else ''}://{host}:{self.port}"


def _read_url(value: object) -> Broker:
    if isinstance(value, Broker):
        return value
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        hint = (
            "; write user and password as username and password_file" if "@" in str(value) else ""
        )
        raise ValueError(
            f"{quoted(value)} is no broker; write mqtt://HOST:1883 or mqtts://HOST:8883{hint}"
        )
    scheme, host, port = match.groups()
    number = int(port) if port else PORTS[scheme]
    if not 0 < number < 2**16:
        raise ValueError(f"{quoted(value)}: a port is 1 to 65535")
    return Broker(host.strip("[]"), number, scheme == "mqtts")


def _read_levels(value: object) -> str:
    if not isinstance(value, str) or len(value) > PREFIX_MAX or not _LEVELS.fullmatch(value):
        raise ValueError(
            f"{quoted(value)} cannot begin a topic; use letters, digits, _ . ~ - and / between them"
        )
    return value


def _read_client_id(value: object) -> str:
    if not isinstance(value, str) or len(value) > CLIENT_ID_MAX or not _CLIENT_ID.fullmatch(value):
        raise ValueError(
            f"{quoted(value)} cannot be a client id; use 1 to {CLIENT_ID_MAX} letters, digits, "
            "_ . : and -"
        )
    return value


def _read_keepalive(value: Any, info: Any) -> int:
    keepalive_ns = read_duration(value, from_file=info.context is not None)
    if keepalive_ns % SECOND_NS or not 0 < keepalive_ns <= KEEPALIVE_MAX_NS:
        raise ValueError(f"{quoted(value)}: MQTT counts keepalive in whole seconds, 1s to 65535s")
    return keepalive_ns


def _all_is_no_list(value: Any) -> Any:
    return None if value == "all" else value


TopicPrefix = Annotated[str, PlainValidator(_read_levels)]
"""One or more levels of a topic."""


class Tls(Section):
    """Certificates for `mqtts`, as PEM files.

    `ca` says whom to trust (default: the system's authorities), `cert` and `key` who we are.
    """

    ca: ResourcePath | None = None
    cert: ResourcePath | None = None
    key: ResourcePath | None = None


class Inbox(Section):
    """How much may be in hand: requests that are handled at a time, that wait beyond, bytes."""

    in_flight: Count = 256
    limit: Count = 1024
    bytes: PositiveSize = 64 * MIB


class Fleet(Section):
    """Nodes that share one stream of requests: its name, and how many a node handles at a time."""

    name: Name
    in_hand: Annotated[Count, Field(le=IN_HAND_MAX)] = 16


class Frames(Section):
    """Frames in shared memory: the largest, and what results may take until they are fetched."""

    max: PositiveSize = 32 * MIB
    results: PositiveSize = 64 * MIB


class Mqtt(Section):
    """The MQTT side of a node. Durations are nanoseconds, sizes bytes.

    `response_topics` of None (`all`) lets clients choose any topic that is not the nodes' own.
    """

    url: Annotated[Broker, PlainValidator(_read_url)] = Broker("localhost", PORTS["mqtt"])
    prefix: TopicPrefix = "rota"
    client_id: Annotated[str, PlainValidator(_read_client_id)] | None = None
    username: str | None = None
    password_file: ResourcePath | None = None
    tls: Tls | None = None
    keepalive: Annotated[int, PlainValidator(_read_keepalive)] = 8 * SECOND_NS
    session_expiry: Duration = Nanoseconds(30 * SECOND_NS)
    inbox: Inbox = Inbox()
    fleet: Fleet | None = None
    frames: Frames | None = None
    max_request: PositiveSize = 16 * MIB
    max_response: PositiveSize = 16 * MIB
    response_topics: Annotated[tuple[TopicPrefix, ...] | None, BeforeValidator(_all_is_no_list)] = (
        None
    )
    lease_ttl: PositiveDuration = Nanoseconds(60 * SECOND_NS)
