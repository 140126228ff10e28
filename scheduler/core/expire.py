"""What time ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.climb import age, become_overdue
from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.prefetch import load_from_ns
from scheduler.core.timers import TimerKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.core.state import State

STILL_WANTED_NS = SECOND_NS
"""How long an engine whose keep-alive is over is kept on when it is wanted, now or soon."""


def expire(state: State, now: int) -> None:
    """Let every alarm that is due have its effect."""
    for kind, subject in state.timers.pop_due(now):
        EFFECTS[kind](state, subject, now)


def _deadline(state: State, request_id: int, now: int) -> None:
    del now
    pending = state.pending[request_id]
    if pending.lease is None:
        what = f"waiting ({waits(state, request_id)})"
    else:
        what = "running" if pending.lease.after is None else "waiting (the next on its engine)"
    reason = Reason(ReasonCode.DEADLINE_PASSED, f"its deadline passed while {what}")
    state.abandon(pending, Outcome.DEADLINE_MISSED, reason)


def waits(state: State, request_id: int) -> str:
    """What a waiting request waits for, in words."""
    lane = state.pending[request_id].lane
    if lane.head.request.id != request_id:
        return f"behind {lane.head.request.id} and others"
    return lane.blocked.detail if lane.blocked else "not looked at yet"


def _lease(state: State, lease_id: int, now: int) -> None:
    del now
    lease = state.leases[lease_id]
    state.revoke(lease, Reason(ReasonCode.LEASE_EXPIRED, "its time to live ran out"))


def _run(state: State, lease_id: int, now: int) -> None:
    lease = state.leases[lease_id]
    engine = lease.engines[0]
    seconds = (now - lease.granted_ns) / 1e9
    reason = Reason(ReasonCode.RUN_TIMEOUT, f"{engine.name} has not answered for {seconds:.1f} s")
    for pending in list(lease.pending):
        state.abandon(pending, Outcome.FAILED, reason)
    state.condemn(engine, reason)
    if engine.hold is not None:
        state.revoke(engine.hold, reason)


def _load(state: State, model: str, now: int) -> None:
    engine = state.engines[model]
    seconds = (now - engine.since_ns) / 1e9
    reason = Reason(ReasonCode.LOAD_TIMEOUT, f"{model} has not loaded in {seconds:.1f} s")
    state.condemn(engine, reason)


def _keep_alive(state: State, model: str, now: int) -> None:
    engine = state.engines[model]
    from_ns = load_from_ns(state, engine, now)
    soon = from_ns is not None and from_ns <= now
    if soon or any(lane.entries for lane in state.queue.lanes_of(model)):
        state.timers.set(TimerKind.KEEP_ALIVE, model, now + STILL_WANTED_NS)
        return
    state.unload(engine, Reason(ReasonCode.KEEP_ALIVE_OVER, f"{model} was not used"), now)


def _backoff(state: State, model: str, now: int) -> None:
    del now
    state.engines[model].backoff_until_ns = None


def _prefetch(state: State, model: str, now: int) -> None:
    del now
    state.wanted[model] = state.engines[model]


def _form(state: State, model: str, now: int) -> None:
    del now
    state.reviews[model] = state.engines[model]


def _drain(state: State, subject: int, now: int) -> None:
    del subject, now
    reason = Reason(ReasonCode.SHUTTING_DOWN, "the scheduler is shutting down")
    for pending in list(state.pending.values()):
        state.abandon(pending, Outcome.FAILED, reason)


EFFECTS: dict[TimerKind, Callable[..., None]] = {
    TimerKind.DEADLINE: _deadline,
    TimerKind.OVERDUE: become_overdue,
    TimerKind.AGEING: age,
    TimerKind.LEASE: _lease,
    TimerKind.RUN: _run,
    TimerKind.LOAD: _load,
    TimerKind.KEEP_ALIVE: _keep_alive,
    TimerKind.BACKOFF: _backoff,
    TimerKind.PREFETCH: _prefetch,
    TimerKind.FORM: _form,
    TimerKind.DRAIN: _drain,
}
