"""What happens to a request at the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import fits, sized
from scheduler.core.climb import watch_climb
from scheduler.core.decisions import FinishRequest
from scheduler.core.engine import UNLOADED
from scheduler.core.following import may_follow
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.outlook import never
from scheduler.core.punctuality import too_late
from scheduler.core.queue import Lane, Pending
from scheduler.core.request import HOLD, INFER, NO_DEADLINE_NS, UNLOAD, Request
from scheduler.core.timers import DEADLINE

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.lease import Lease
    from scheduler.core.state import State

UNLOAD_PRIORITY = 100
"""An unload is an operator's word: it waits for nothing but the work that runs."""


def arrive(state: State, request: Request, sequence: int, now: int) -> bool:
    """Refuse the request, or let it wait in its lane.

    True when it has begun instead, with nobody waiting: then there is nothing more to decide.
    """
    assert request.id not in state.pending, f"request {request.id} arrived twice"
    assert is_sound(request), f"not a request: {request}"
    if request.kind is INFER and request.models[0] in state.engines:
        _note(state.engines[request.models[0]], request, now)
    refusal = refuse(state, request, now)
    if refusal is not None:
        state.decisions.append(FinishRequest(request.id, Outcome.REJECTED, refusal))
        return False
    lane = _lane_of(state, request)
    older = superseded(lane, request) if lane.keeps_latest else []
    refusal = never(state, lane, request.items) if request.kind is not UNLOAD else None
    refusal = refusal or queue_refusal(state, lane, request, older)
    if refusal is not None:
        state.decisions.append(FinishRequest(request.id, Outcome.REJECTED, refusal))
        return False
    for pending in older:
        detail = f"a newer one of its stream arrived ({request.id})"
        state.finish(pending, Outcome.REJECTED, Reason(ReasonCode.SUPERSEDED, detail))
    return admit(state, lane, request, sequence, now)


def _lane_of(state: State, request: Request) -> Lane:
    """The lane in which it would wait, made when it is new."""
    target = (request.models, request.under_lease)
    lane = state.queue.find(target)
    if lane is None:
        parent = None if request.under_lease is None else state.leases[request.under_lease]
        engines = tuple(state.engines[model] for model in request.models)
        lane = state.queue.open(target, engines, parent)
    return lane


def _note(engine: Engine, request: Request, now: int) -> None:
    """Learn from a request when, and how soon, its model is wanted, whatever becomes of it."""
    due_ns = _deadline_ns(engine, request, now)
    engine.demand.note(now, NO_DEADLINE_NS if due_ns is None else due_ns - now)


def is_sound(request: Request) -> bool:
    """Whether the edges let through only what means something."""
    if request.kind is INFER:
        return len(request.models) == 1 and request.items > 0
    alone = len(request.models) == 1 or request.kind is HOLD
    distinct = len(set(request.models)) == len(request.models) > 0
    bounded = request.ttl_ns is None or request.ttl_ns > 0
    plain = request.items == 1 and request.under_lease is None
    return alone and distinct and bounded and plain


def admit(state: State, lane: Lane, request: Request, sequence: int, now: int) -> bool:
    """Let the request wait; or begin, where nobody waits and its engine is idle, and say so."""
    deadline_ns = _deadline_ns(lane.engines[0], request, now)
    pending = Pending(
        request,
        lane,
        priority=priority_of(lane, request),
        deadline_ns=deadline_ns,
        arrived_ns=now,
        sequence=sequence,
    )
    state.pending[request.id] = pending
    if deadline_ns is not None:
        state.timers.set(DEADLINE, request.id, deadline_ns)
    if starts_at_once(state, pending, now):
        state.grant([pending], lane.engines[0].figures.workspace_bytes, now)
        return True
    pending.key = state.policy.order_key(pending)
    state.queue.add(pending)
    if lane.only is not None and lane.only.name in state.queue.aside and may_follow(state, lane):
        state.queue.bring_back(lane.only.name)
    return False


def starts_at_once(state: State, pending: Pending, now: int) -> bool:
    """Whether nothing stands between a request and its engine: there is nothing to weigh then.

    The same as standing in line would come to; it spares the most common request the line.
    """
    engine = pending.lane.only
    return (
        engine is not None
        and engine.is_idle
        and pending.request.kind is INFER
        and pending.request.items == 1
        and not engine.form.batch_wait_ns
        and state.is_quiet()
        and not state.timers.has_due(now)
        and (pending.deadline_ns is None or too_late(state, pending, now) is None)
        and (not engine.form.uses or fits(dict(engine.form.uses), state.units))
        and state.ledger.has(engine.figures.workspace_bytes)
    )


def watch_wait(state: State, request_id: int, now: int) -> None:
    """A request that was not served at once climbs in the order as it waits: set its alarms.

    One that is not the first of its lane has not been looked at: it may be too late already.
    """
    pending = state.pending.get(request_id)
    if pending is None or pending.lease is not None:
        return
    if state.policy.refuses_late and pending.request.kind is not UNLOAD:
        late = too_late(state, pending, now)
        if late is not None:
            state.finish(pending, Outcome.DEADLINE_MISSED, late)
            return
    watch_climb(state, pending)


def priority_of(lane: Lane, request: Request) -> int:
    """How important a request is: as it says itself, else as its lease or its models are."""
    if request.priority is not None:
        return request.priority
    if request.kind is UNLOAD:
        return UNLOAD_PRIORITY
    if lane.parent is not None:
        return lane.parent.priority
    if lane.only is not None:
        return lane.only.priority
    return max(engine.priority for engine in lane.engines)


def _deadline_ns(engine: Engine, request: Request, now: int) -> int | None:
    if request.deadline_ns is not None:
        return None if request.deadline_ns >= NO_DEADLINE_NS else request.deadline_ns
    if request.kind is not INFER or engine.spec.deadline_ns is None:
        return None
    return now + engine.spec.deadline_ns


def refuse(state: State, request: Request, now: int) -> Reason | None:
    """Why nothing can come of this request, whoever else waits."""
    if state.draining:
        return Reason(ReasonCode.SHUTTING_DOWN, "the scheduler is shutting down")
    for model in request.models:
        reason = _refuse_model(state, model, request, now)
        if reason is not None:
            return reason
    if request.under_lease is not None:
        return _refuse_lease(state.leases.get(request.under_lease), request)
    return None


def _refuse_model(state: State, model: str, request: Request, now: int) -> Reason | None:
    engine = state.engines.get(model)
    if engine is None:
        return Reason(ReasonCode.UNKNOWN_MODEL, f"no model {model!r} is registered")
    if engine.removed:
        return Reason(ReasonCode.MODEL_REMOVED, f"{model} is being removed")
    if request.kind is not UNLOAD:
        return engine.disabled or _refuse_engine(engine, now)
    if engine.pinned:
        return Reason(ReasonCode.MODEL_PINNED, f"{model} is pinned; unpin it first")
    return None


def _refuse_engine(engine: Engine, now: int) -> Reason | None:
    model = engine.name
    if engine.condemned is not None:
        return Reason(ReasonCode.ENGINE_HUNG, f"{model} does not come back: {engine.condemned}")
    wait_ns = engine.backing_off_ns(now)
    if engine.state is UNLOADED and wait_ns > 0:
        times = "once" if engine.failures == 1 else f"{engine.failures} times in a row"
        detail = f"{model} failed {times}; next try in {wait_ns / 1e9:.1f} s"
        return Reason(ReasonCode.BACKING_OFF, detail, retry_after_ns=wait_ns)
    return None


def _refuse_lease(lease: Lease | None, request: Request) -> Reason | None:
    if lease is None or not lease.holds:
        return Reason(ReasonCode.UNKNOWN_LEASE, f"there is no lease {request.under_lease}")
    if lease.revoking is not None:
        return lease.revoking
    names = {engine.name for engine in lease.engines}
    if not names.issuperset(request.models):
        return Reason(
            ReasonCode.UNKNOWN_LEASE,
            f"lease {lease.id} is on {', '.join(sorted(names))}, not on {request.models[0]}",
        )
    return None


def superseded(lane: Lane, request: Request) -> list[Pending]:
    """In a lane that keeps the latest, the newest of a stream replaces those that still wait."""
    if request.kind is not INFER:
        return []
    return [
        pending
        for _, pending in lane.entries
        if pending.request.kind is INFER and pending.request.stream == request.stream
    ]


def queue_refusal(
    state: State, lane: Lane, request: Request, older: list[Pending]
) -> Reason | None:
    """Why there is no room to wait once `older` are gone, or None."""
    if request.kind is UNLOAD:
        return None
    ahead = len(lane) - len(older)
    if ahead >= lane.limit:
        names = " and ".join(request.models)
        detail = f"{ahead} requests wait for {names} (queue.limit: {lane.limit})"
        return Reason(ReasonCode.QUEUE_FULL, detail)
    most = state.settings.queue_bytes
    leaving = sum(pending.request.payload_bytes for pending in older)
    waiting = state.queue.payload_bytes - leaving + request.payload_bytes
    if most is not None and waiting > most:
        detail = f"{sized(waiting)} would wait, scheduling.queue_bytes is {sized(most)}"
        return Reason(ReasonCode.QUEUE_BYTES, detail)
    return None
