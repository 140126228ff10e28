"""A request on its way from one node of a fleet to the next."""

from __future__ import annotations

from dataclasses import replace

from scheduler.core.outcome import ReasonCode
from scheduler.transport.message import Message
from scheduler.transport.refusal import RefusalCode
from scheduler.transport.terms import MS_NS, SECOND_NS

PATH = "fleet-path"
"""The user property that names the members a request has been with, so that it never goes round."""

HAD_NO_ROOM = "+"
"""Behind a member's name: it may come back to this one, if nobody else can do it."""

HOPS_MAX = 4
"""A request that was handed over so often is answered with the reason of the last."""

PATH_MAX = 1024

DEADLINE = "deadline-ms"

ELSEWHERE = frozenset(
    code.value
    for code in (
        RefusalCode.BUSY,
        ReasonCode.BACKING_OFF,
        ReasonCode.DEADLINE_UNREACHABLE,
        ReasonCode.ENGINE_HUNG,
        ReasonCode.ENGINE_LOST,
        ReasonCode.EXCLUDED_BY_PIN,
        ReasonCode.LOAD_FAILED,
        ReasonCode.LOAD_TIMEOUT,
        ReasonCode.MODEL_DISABLED,
        ReasonCode.MODEL_REMOVED,
        ReasonCode.NEVER_ENOUGH_UNITS,
        ReasonCode.NEVER_FITS,
        ReasonCode.OUT_OF_MEMORY,
        ReasonCode.QUEUE_BYTES,
        ReasonCode.QUEUE_FULL,
        ReasonCode.SHUTTING_DOWN,
        ReasonCode.UNKNOWN_MODEL,
    )
)
"""Refusals that another node need not share. A run that failed is not among them: what breaks one
engine is not passed on to the next."""


def path_of(message: Message) -> tuple[str, ...]:
    """The members that a request has been with."""
    said = dict(message.user).get(PATH, "")[:PATH_MAX]
    return tuple(said.split(",")) if said else ()


def with_rest(message: Message, rest_ns: int | None, spent_ns: int) -> Message:
    """The request with what is left of its time.

    `rest_ns` is left until its deadline (None: it has none), `spent_ns` has passed since it came.
    """
    expiry_s = message.expiry_s
    if expiry_s is not None:
        expiry_s = max(1, expiry_s - spent_ns // SECOND_NS)
    user = message.user
    if rest_ns is not None:
        rest_ms = f"{max(rest_ns, 0) / MS_NS:.3f}"
        user = (*((key, said) for key, said in user if key != DEADLINE), (DEADLINE, rest_ms))
    return replace(message, expiry_s=expiry_s, user=user)


def not_again(path: tuple[str, ...], *, is_refused: bool) -> set[str]:
    """The members that a request with this path is not handed to.

    While it only looks for room these are all it has been with.
    """
    refused = {name for name in path if not name.endswith(HAD_NO_ROOM)}
    return refused if is_refused else {name.rstrip(HAD_NO_ROOM) for name in path}


def handed_on(message: Message, topic: str, member: str) -> Message:
    """The request as `member` hands it on, to `topic`."""
    path = ",".join((*path_of(message), member))
    user = (*((key, said) for key, said in message.user if key != PATH), (PATH, path))
    return replace(message, topic=topic, user=user, receipt=None)
