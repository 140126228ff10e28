"""How a request's error is told to who asked from outside."""

from __future__ import annotations

import logging

from scheduler.core.outcome import Outcome, ReasonCode
from scheduler.errors import (
    BadInput,
    DeadlineMissed,
    InferenceFailed,
    LeaseRevoked,
    RequestError,
)
from scheduler.transport.refusal import Refusal, RefusalCode

MS_NS = 1_000_000

_OUTCOMES: dict[type[RequestError], Outcome] = {
    DeadlineMissed: Outcome.DEADLINE_MISSED,
    InferenceFailed: Outcome.FAILED,
    LeaseRevoked: Outcome.PREEMPTED,
}

FOR_GOOD = {
    ReasonCode.NEVER_FITS.value,
    ReasonCode.NEVER_ENOUGH_UNITS.value,
    ReasonCode.EXCLUDED_BY_PIN.value,
    RefusalCode.BAD_REQUEST.value,
    RefusalCode.UNSUPPORTED.value,
    RefusalCode.TOO_LARGE.value,
}
"""Codes that the same request would get again; after any other rejection it may be sent again."""

_log = logging.getLogger(__name__)


def refusal_of(error: BaseException) -> Refusal:
    """Return what to answer for `error`. An error that nobody meant is logged with its trace."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestError):
        return _of_request(error)
    _log.error("a request ended in an internal error", exc_info=error)
    text = f"an internal error: {type(error).__name__}; the node's log has more"
    return Refusal(RefusalCode.INTERNAL, text, outcome=Outcome.FAILED)


def _of_request(error: RequestError) -> Refusal:
    reason = error.reason
    outcome = next((_OUTCOMES[c] for c in type(error).__mro__ if c in _OUTCOMES), Outcome.REJECTED)
    code: str = reason.code
    if isinstance(error.__cause__, BadInput):
        code = RefusalCode.BAD_INPUT
    later_ns = reason.retry_after_ns
    return Refusal(
        code,
        str(reason),
        outcome=outcome,
        retry_after_ms=None if later_ns is None else -(-later_ns // MS_NS),
        has_run=error.has_run,
    )


def expired(what: str = "the deadline passed before the request could start") -> Refusal:
    """The answer to a request whose time ran out before the scheduler saw it."""
    return Refusal(ReasonCode.DEADLINE_PASSED, what, outcome=Outcome.DEADLINE_MISSED)
