"""What each event changes, before anything new is decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from scheduler.core import events as ev
from scheduler.core.amounts import sized
from scheduler.core.engine import LOADING, READY, UNLOADING, Engine, EngineState
from scheduler.core.outcome import COMPLETED, Outcome, Reason, ReasonCode
from scheduler.core.pressure import watch_pool
from scheduler.core.request import INFER
from scheduler.core.retry import ran_out_of_memory
from scheduler.core.state import State
from scheduler.core.switch import reorder, switch
from scheduler.core.timers import TimerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.core.lease import Lease
    from scheduler.core.queue import Pending


def apply(event: ev.Event, state: State, now: int) -> None:
    """Change the state by one event. News of an old instance or an ended lease changes nothing."""
    effect = EFFECTS.get(type(event))
    if effect is None:
        raise TypeError(f"not an event: {event!r}")
    effect(event, state, now)


# -- what there is ----------------------------------------------------------------------------


def _model_registered(event: ev.ModelRegistered, state: State, now: int) -> None:
    del now
    name = event.spec.name
    if name in state.engines:
        raise ValueError(f"a model {name!r} is registered already")
    pools = frozenset[str]().union(*(form.footprint for form in event.spec.forms))
    unknown = pools - set(state.ledger.pools)
    if unknown:
        raise ValueError(f"{name}: no memory pool {min(unknown)!r}")
    engine = state.engines[name] = Engine(event.spec, state.settings.trust)
    engine.instance = state.last_instances.get(name, 0)
    engine.follow(state.mode)
    state.pin(engine, pinned=engine.pinned)


def _model_removed(event: ev.ModelRemoved, state: State, now: int) -> None:
    engine = state.engines.get(event.model)
    if engine is None or engine.removed:
        return
    engine.removed = True
    state.pin(engine, pinned=False)
    reason = Reason(ReasonCode.MODEL_REMOVED, f"{event.model} was removed")
    state.abandon_waiting(event.model, Outcome.REJECTED, reason)
    if not engine.in_memory:
        state.end_unloads(event.model, COMPLETED)
        state.forget(engine)
    elif engine.is_idle:
        state.rest(engine, now)


def _pin_changed(event: ev.PinChanged, state: State, now: int) -> None:
    engine = state.engines.get(event.model)
    if engine is None or engine.removed:
        return
    engine.pinned_by_hand = event.pinned
    engine.follow(state.mode)
    state.pin(engine, pinned=engine.pinned)
    if engine.pinned:
        state.leaving.pop(engine.name, None)
        reason = Reason(ReasonCode.MODEL_PINNED, f"{event.model} was pinned meanwhile")
        state.end_unloads(event.model, Outcome.REJECTED, reason)
    if engine.is_idle:
        state.rest(engine, now)


def _priority_changed(event: ev.PriorityChanged, state: State, now: int) -> None:
    del now
    engine = state.engines.get(event.model)
    if engine is None or engine.removed:
        return
    engine.priority_by_hand = event.priority
    engine.follow(state.mode)
    state.reconsider()
    reorder(state)


def _mode_changed(event: ev.ModeChanged, state: State, now: int) -> None:
    switch(state, event.mode, now)


def _budget_changed(event: ev.BudgetChanged, state: State, now: int) -> None:
    del now
    state.ledger.pools[event.pool].budget_bytes = event.budget_bytes
    state.reconsider()


def _memory_sampled(event: ev.MemorySampled, state: State, now: int) -> None:
    del now
    on_its_way = sum(
        state.ledger.booked(engine.booking).get(event.pool, 0)
        for engine in state.engines.values()
        if engine.state is LOADING
    )
    state.ledger.sample(event, on_its_way)
    watch_pool(state, event.pool)


# -- callers ----------------------------------------------------------------------------------


def _request_cancelled(event: ev.RequestCancelled, state: State, now: int) -> None:
    del now
    pending = state.pending.get(event.request_id)
    if pending is not None:
        reason = Reason(ReasonCode.CALLER_CANCELLED, "the caller went away")
        state.abandon(pending, Outcome.CANCELLED, reason)


def _lease_renewed(event: ev.LeaseRenewed, state: State, now: int) -> None:
    lease = state.leases.get(event.lease_id)
    if lease is None or lease.revoking is not None or lease.expires_ns is None:
        return
    if now >= lease.expires_ns:
        return  # Too late: its time has run out, whether or not the alarm has been heard.
    ttl_ns = lease.pending[0].request.ttl_ns
    assert ttl_ns is not None
    lease.expires_ns = now + ttl_ns
    state.timers.set(TimerKind.LEASE, lease.id, lease.expires_ns)


def _lease_revocation_asked(event: ev.LeaseRevocationAsked, state: State, now: int) -> None:
    del now
    lease = state.leases.get(event.lease_id)
    if lease is not None:
        state.revoke(lease, Reason(ReasonCode.LEASE_REVOKED, "somebody asked for it back"))


# -- engines ----------------------------------------------------------------------------------


def _engine_loaded(event: ev.EngineLoaded, state: State, now: int) -> None:
    engine = _instance(state, event.model, event.instance, LOADING)
    if engine is not None:
        _believe(state, engine, event.measured)
        state.loaded(engine, now)


def _engine_load_failed(event: ev.EngineLoadFailed, state: State, now: int) -> None:
    engine = _instance(state, event.model, event.instance, LOADING)
    if engine is not None:
        text = f"{event.model} could not be loaded: {event.error}"
        code = ReasonCode.OUT_OF_MEMORY if event.out_of_memory else ReasonCode.LOAD_FAILED
        _fall(state, engine, Reason(code, text), now)


def _engine_lost(event: ev.EngineLost, state: State, now: int) -> None:
    engine = _instance(state, event.model, event.instance)
    if engine is None or not engine.in_memory:
        return
    reason = Reason(ReasonCode.ENGINE_LOST, f"{event.model} was lost: {event.error}")
    leases = [lease for lease in (engine.next_run, engine.run, engine.hold) if lease is not None]
    _fall(state, engine, reason, now)
    for lease in leases:
        _lose(state, lease, reason, now)


def _engine_unloaded(event: ev.EngineUnloaded, state: State, now: int) -> None:
    engine = _instance(state, event.model, event.instance, UNLOADING)
    if engine is None:
        return
    hung = engine.condemned is not None
    engine.unload_times.add(now - engine.since_ns, now)
    _note_residue(state, engine, event.residue)
    state.gone(engine, now)
    if hung:
        state.back_off(engine, now)


def _lease_ended(event: ev.LeaseEnded, state: State, now: int) -> None:
    lease = state.leases.get(event.lease_id)
    if lease is None:
        return
    for engine in lease.engines:
        _believe(state, engine, event.measured.get(engine.name, {}))
    if event.outcome is COMPLETED and not event.errors:
        _ran_well(lease, event.worked_ns, now)
    elif lease.revoking is not None and lease.revoking.code is ReasonCode.DEADLINE_PASSED:
        lease.engines[0].figures.cut_short.add(now - lease.granted_ns, now)
    if event.out_of_memory and not lease.holds and not lease.in_turn:
        ran_out_of_memory(state, lease)
    errors = dict(event.errors)
    for pending in list(lease.pending):
        _answer(state, pending, event, errors.get(pending.request.id), now)
    if lease.holds:
        state.abandon_under(lease, Reason(ReasonCode.LEASE_RELEASED, "its lease was let go"))
    state.end_lease(lease, now)


def _timer_fired(event: ev.TimerFired, state: State, now: int) -> None:
    del event, state, now


def _drain_requested(event: ev.DrainRequested, state: State, now: int) -> None:
    state.draining = True
    state.switching_ns = None
    if event.deadline_ns is not None:
        state.timers.set(TimerKind.DRAIN, 0, event.deadline_ns)
    reason = Reason(ReasonCode.SHUTTING_DOWN, "the scheduler is shutting down")
    for pending in list(state.queue.waiting()):
        state.finish(pending, Outcome.REJECTED, reason)
    for lease in list(state.leases.values()):
        if lease.holds:
            state.revoke(lease, reason)
    for engine in list(state.engines.values()):
        if engine.is_idle:
            state.rest(engine, now)


EFFECTS: Final[dict[type, Callable[[Any, State, int], None]]] = {
    ev.ModelRegistered: _model_registered,
    ev.ModelRemoved: _model_removed,
    ev.PinChanged: _pin_changed,
    ev.PriorityChanged: _priority_changed,
    ev.ModeChanged: _mode_changed,
    ev.BudgetChanged: _budget_changed,
    ev.MemorySampled: _memory_sampled,
    ev.RequestCancelled: _request_cancelled,
    ev.LeaseRenewed: _lease_renewed,
    ev.LeaseRevocationAsked: _lease_revocation_asked,
    ev.EngineLoaded: _engine_loaded,
    ev.EngineLoadFailed: _engine_load_failed,
    ev.EngineLost: _engine_lost,
    ev.EngineUnloaded: _engine_unloaded,
    ev.LeaseEnded: _lease_ended,
    ev.TimerFired: _timer_fired,
    ev.DrainRequested: _drain_requested,
}


# -- steps they share -------------------------------------------------------------------------


def _instance(
    state: State, model: str, instance: int, expected: EngineState | None = None
) -> Engine | None:
    """The engine this news is about, or None when the news is old."""
    engine = state.engines.get(model)
    if engine is None or engine.instance != instance:
        return None
    return engine if expected is None or engine.state is expected else None


def _answer(
    state: State, pending: Pending, event: ev.LeaseEnded, error: str | None, now: int
) -> None:
    """One request's outcome, now that the work of its lease has stopped."""
    deadline_ns = pending.deadline_ns
    run = pending.request.kind is INFER
    if error is not None:
        state.finish(pending, Outcome.FAILED, Reason(_failure(event), error))
    elif event.outcome is not COMPLETED:
        state.finish(pending, event.outcome, Reason(_failure(event), event.error))
    elif run and deadline_ns is not None and now > deadline_ns:
        late = f"its answer came {(now - deadline_ns) / 1e6:.1f} ms too late"
        state.finish(pending, Outcome.DEADLINE_MISSED, Reason(ReasonCode.DEADLINE_PASSED, late))
    else:
        state.finish(pending, COMPLETED)


def _failure(event: ev.LeaseEnded) -> ReasonCode:
    return ReasonCode.OUT_OF_MEMORY if event.out_of_memory else ReasonCode.RUN_FAILED


def _ran_well(lease: Lease, worked_ns: int | None, now: int) -> None:
    """Its engines are sound: what failed before no longer counts as in a row."""
    for engine in lease.engines:
        engine.failures = 0
    if not lease.holds:
        engine, runs = lease.engines[0], len(lease.granted) if lease.in_turn else 1
        took_ns = max(now - lease.granted_ns, worked_ns or 0)
        engine.figures.ran_well(took_ns // runs, now)
        engine.figures.work_times.add((took_ns if worked_ns is None else worked_ns) // runs, now)


def _believe(state: State, engine: Engine, measured: Mapping[str, ev.Measurement]) -> None:
    """Note what an engine was seen to hold. Unreliable and impossible figures are not used."""
    for pool, seen in measured.items():
        if not seen.reliable or seen.bytes <= 0 or pool not in engine.form.footprint:
            continue
        before = engine.resident_bytes()[pool]
        engine.figures.saw(pool, seen.bytes)
        after = engine.resident_bytes()[pool]
        if after == before:
            continue
        if after > engine.form.footprint[pool].resident_bytes:
            text = f"{engine.name} holds {sized(after)} of {pool}, counted so far: {sized(before)}"
            state.alarm(engine.name, ReasonCode.UNDER_DECLARED, text)
        if engine.state is READY:
            state.ledger.book(engine.booking, engine.resident_bytes())
        state.reconsider()


def _note_residue(state: State, engine: Engine, residue: Mapping[str, ev.Measurement]) -> None:
    """Book what did not come back; once is overhead, more each time is a leak."""
    known = state.residue.setdefault(engine.name, {})
    for pool, left in residue.items():
        if not left.reliable or left.bytes <= 0 or pool not in state.ledger.pools:
            continue
        if known.get(pool):
            text = f"{engine.name} left {sized(left.bytes)} more of {pool} behind"
            state.alarm(engine.name, ReasonCode.LEAK, text)
        known[pool] = known.get(pool, 0) + left.bytes
    if known:
        state.ledger.book(("residue", engine.name), dict(known))
        state.reconsider()


def _fall(state: State, engine: Engine, reason: Reason, now: int) -> None:
    """An engine is not there any more (or never came): answer who waits, and back off."""
    state.abandon_waiting(engine.name, Outcome.FAILED, reason)
    state.gone(engine, now)
    state.back_off(engine, now)


def _lose(state: State, lease: Lease, reason: Reason, now: int) -> None:
    for pending in list(lease.pending):
        state.finish(pending, Outcome.FAILED, reason)
    state.abandon_under(lease, reason)
    state.end_lease(lease, now)
