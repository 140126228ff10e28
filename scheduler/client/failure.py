"""What to raise for an answer that is a refusal: the classes that `Runtime.infer` raises."""

from __future__ import annotations

from typing import cast

from scheduler.core.outcome import Reason, ReasonCode
from scheduler.errors import BadInput, RequestError
from scheduler.runtime.call import error_of
from scheduler.transport.refusal import Refusal, RefusalCode

MS_NS = 1_000_000

_SAME_AS = {
    RefusalCode.BUSY: ReasonCode.QUEUE_FULL,
    RefusalCode.BAD_INPUT: ReasonCode.RUN_FAILED,
    RefusalCode.INTERNAL: ReasonCode.RUN_FAILED,
}
"""What the node's edge refuses and a runtime in the same process would say in its own words."""


def error_for(refusal: Refusal) -> RequestError:
    """Return the error of a refusal.

    `reason.code` is a `ReasonCode`, or one of the edge's own where there is no such reason:
    bad_request, unsupported, too_large, id_conflict, retained.
    """
    later_ms = refusal.retry_after_ms
    later_ns = None if later_ms is None else later_ms * MS_NS
    error = error_of(refusal.outcome, Reason(_code(refusal), str(refusal), later_ns))
    if refusal.code == RefusalCode.BAD_INPUT.value:
        error.__cause__ = BadInput(str(refusal))
    return error


def _code(refusal: Refusal) -> ReasonCode:
    if refusal.code in set(ReasonCode):
        return ReasonCode(refusal.code)
    if refusal.code in set(RefusalCode):
        edge = RefusalCode(refusal.code)
        return _SAME_AS.get(edge) or cast("ReasonCode", edge)  # also a str with a value
    return ReasonCode.RUN_FAILED  # a word of a newer node's
