"""One caller's request, from asking to answer."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.request import RequestKind
from scheduler.errors import (
    DeadlineMissed,
    InferenceFailed,
    LeaseRevoked,
    ModelDisabled,
    NeverFits,
    QueueFull,
    Rejected,
    RequestError,
    ShuttingDown,
    UnknownModel,
)

if TYPE_CHECKING:
    from scheduler.core.request import Request
    from scheduler.runtime.loop import Loop, Waiter

REJECTIONS: dict[ReasonCode, type[RequestError]] = {
    ReasonCode.NEVER_FITS: NeverFits,
    ReasonCode.NEVER_ENOUGH_UNITS: NeverFits,
    ReasonCode.EXCLUDED_BY_PIN: NeverFits,
    ReasonCode.UNKNOWN_MODEL: UnknownModel,
    ReasonCode.MODEL_REMOVED: UnknownModel,
    ReasonCode.MODEL_DISABLED: ModelDisabled,
    ReasonCode.QUEUE_FULL: QueueFull,
    ReasonCode.QUEUE_BYTES: QueueFull,
    ReasonCode.SHUTTING_DOWN: ShuttingDown,
    ReasonCode.UNKNOWN_LEASE: LeaseRevoked,
    ReasonCode.HIGHER_PRIORITY: LeaseRevoked,
    ReasonCode.LEASE_EXPIRED: LeaseRevoked,
    ReasonCode.LEASE_REVOKED: LeaseRevoked,
    ReasonCode.LEASE_RELEASED: LeaseRevoked,
}
"""The error of each reason for which a request is refused; the others are plain `Rejected`."""

OUTCOMES: dict[Outcome, type[RequestError]] = {
    Outcome.FAILED: InferenceFailed,
    Outcome.DEADLINE_MISSED: DeadlineMissed,
    Outcome.PREEMPTED: LeaseRevoked,
    Outcome.CANCELLED: LeaseRevoked,
}
"""The error of each other outcome. Who learns of a cancellation did not ask for it himself: his
lease was let go."""

NO_REASON = Reason(ReasonCode.RUN_FAILED, "no reason was given")


def error_of(outcome: Outcome, reason: Reason | None) -> RequestError:
    """What to raise for a request that ended so."""
    reason = reason or NO_REASON
    if outcome is Outcome.REJECTED:
        return REJECTIONS.get(reason.code, Rejected)(reason)
    if outcome is Outcome.FAILED and reason.code is ReasonCode.SHUTTING_DOWN:
        return ShuttingDown(reason)
    return OUTCOMES[outcome](reason)


@dataclass(slots=True)
class FormUsed:
    """Give one to `infer`, and it says afterwards which form of the model has answered.

    `variant` is empty where the model has no variants, `device` where it has no choice of places.
    """

    variant: str = ""
    device: str = ""


class Call:
    """A request, its payload until it runs, its answer, and the `waiter` of who waits for it."""

    __slots__ = (
        "cause",
        "form",
        "lease_id",
        "outcome",
        "payload",
        "reason",
        "request",
        "result",
        "waiter",
    )

    def __init__(self, request: Request, payload: Any) -> None:
        self.request = request
        self.payload = payload
        self.form = ("", "")
        self.lease_id: int | None = None
        self.result: Any = None
        self.cause: BaseException | None = None
        self.outcome: Outcome | None = None
        self.reason: Reason | None = None
        self.waiter: Waiter | None = None

    @property
    def is_served(self) -> bool:
        """It has ended, or has the lease that it asked for."""
        if self.outcome is not None:
            return True
        return self.lease_id is not None and self.request.kind is RequestKind.HOLD

    def start(self, lease_id: int, form: tuple[str, str], *, shared: bool) -> Any:
        """It runs under this lease. Returns the payload, which is the engine's from now on.

        That of a run that is `shared` with others is kept as well: if it fails for memory, each may
        be tried again in a smaller one.
        """
        self.lease_id, self.form = lease_id, form
        payload = self.payload
        if not shared:
            self.payload = None
        return payload

    def finish(self, outcome: Outcome, reason: Reason | None) -> None:
        """It has ended."""
        self.outcome, self.reason, self.payload = outcome, reason, None
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def served(self, loop: Loop) -> Awaitable[object]:
        """To be awaited by its one caller: until it has ended, or has the lease it asked for."""
        if self.is_served:
            return checkpoint()
        self.waiter = waiter = loop.waiter()
        return waiter

    def wake(self) -> None:
        """Let the task that waits go on."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def answer(self) -> Any:
        """The result of a call that has ended. Raises the error of its outcome."""
        if self.outcome is Outcome.COMPLETED:
            return self.result
        assert self.outcome is not None  # noqa: S101
        error = error_of(self.outcome, self.reason)
        error.has_run = self.lease_id is not None
        raise error from self.cause
