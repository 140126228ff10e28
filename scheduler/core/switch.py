"""From one mode to another: whole or not at all, planned before anything is touched.

1. Refuse what names no model, or pins what can never be in memory together. Nothing has changed.
2. Override: priorities, pins and disabled models are those of the new mode from now on.
3. Plan: who has to go so that what is pinned now can come, all of them at once, and how long all
   of it takes at most.
4. Let go: who waits for a disabled model is refused, leases on it are revoked, and what has to go
   is unloaded as soon as it is idle. What is pinned is loaded by `settle`, as any pin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.arrival import priority_of
from scheduler.core.decisions import AnnounceMode, RefuseMode
from scheduler.core.outcome import Outcome, Reason, ReasonCode
from scheduler.core.outlook import fit_beside, judge, never_alone
from scheduler.core.prefetch import expect
from scheduler.core.room import Room
from scheduler.core.transition import plan

if TYPE_CHECKING:
    from scheduler.core.engine import Engine
    from scheduler.core.mode import Mode
    from scheduler.core.state import State


def switch(state: State, mode: Mode | None, now: int) -> None:
    """Put another mode in force, or none, or refuse it."""
    name = None if mode is None else mode.name
    refusal = _refusal(state, mode)
    if refusal is not None:
        state.decisions.append(RefuseMode(name, refusal))
        return
    state.mode = mode
    state.leaving.clear()
    changed = _override(state)
    room = Room(state, now)
    transition = plan(state, room, now)
    reason = Reason(ReasonCode.MAKE_ROOM, f"room for {transition.who.name}")
    state.leaving.update((engine.name, reason) for engine in transition.victims)
    state.decisions.append(transition.decision(name))
    reorder(state)
    for engine in transition.victims:
        if engine.hold is not None:
            room.outrank(engine.hold, transition.who.priority, transition.who.name)
    for engine in [*changed, *transition.victims]:
        _let_go(state, engine, now)
    state.switching_ns = now


def _refusal(state: State, mode: Mode | None) -> Reason | None:
    if state.draining:
        return Reason(ReasonCode.SHUTTING_DOWN, "the scheduler is shutting down")
    if mode is None:
        return None
    for model in sorted(mode.named()):
        if model not in state.engines or state.engines[model].removed:
            detail = f"mode {mode.name} names {model}, and no model of that name is registered"
            return Reason(ReasonCode.UNKNOWN_MODEL, detail)
    pins = [engine for engine in state.engines.values() if engine.is_pinned_in(mode)]
    beside = fit_beside(state, pins)
    for engine in pins if mode.pin else ():
        others = [pin for pin in pins if pin is not engine]
        reason = judge(state, (engine,), 1, others, beside)
        if reason is not None:
            return Reason(reason.code, f"mode {mode.name}: {reason}")
    return None


def _override(state: State) -> list[Engine]:
    """Let the mode rule. Returns the engines whose place in memory it changes.

    The more important are pinned first, as they are loaded in that order; then as the mode says.
    """
    mode, changed = state.mode, []
    places = {} if mode is None else {model: place for place, model in enumerate(mode.pin)}
    for engine in state.engines.values():
        before = engine.pinned, engine.disabled
        engine.follow(mode)
        if before != (engine.pinned, engine.disabled):
            changed.append(engine)
    for engine in sorted(changed, key=lambda e: (-e.priority, places.get(e.name, 0))):
        state.pin(engine, pinned=engine.pinned)
    state.reconsider()
    return changed


def reorder(state: State) -> None:
    """Priorities that a model gave are now what the models have, for leases and for who waits.

    Who runs may have to wait again: a batch that fails for memory does.
    """
    for lease in state.leases.values():
        for pending in lease.pending:
            if pending.request.priority is None:
                lease.priority = pending.priority = priority_of(pending.lane, pending.request)
                pending.key = state.policy.order_key(pending)
    for pending in list(state.queue.waiting()):
        state.queue.remove(pending)
        pending.priority = priority_of(pending.lane, pending.request)
        pending.key = state.policy.order_key(pending)
        state.queue.add(pending)


def _let_go(state: State, engine: Engine, now: int) -> None:
    """What follows for one engine from being pinned, disabled, enabled, or in the way."""
    if engine.pinned:
        reason = Reason(ReasonCode.MODEL_PINNED, f"{engine.name} was pinned meanwhile")
        state.end_unloads(engine.name, Outcome.REJECTED, reason)
    if engine.disabled is not None:
        state.abandon_waiting(engine.name, Outcome.REJECTED, engine.disabled)
        state.wanted.pop(engine.name, None)
        if engine.hold is not None:
            state.revoke(engine.hold, engine.disabled)
    if engine.is_idle:
        state.rest(engine, now)
    elif not engine.in_memory:
        expect(state, engine, now)


def announce(state: State, now: int) -> None:
    """Say so when all that a switch asked for has been done, or has failed."""
    assert state.switching_ns is not None
    missing = []
    for engine in state.engines.values():
        goes = engine.disabled or engine.name in state.leaving
        if not (engine.in_memory if goes else engine.pinned and not engine.is_ready):
            continue
        if not _has_failed(state, engine, now):
            return
        missing.append(engine.name)
    name = None if state.mode is None else state.mode.name
    state.decisions.append(AnnounceMode(name, now - state.switching_ns, tuple(missing)))
    state.switching_ns = None


def _has_failed(state: State, engine: Engine, now: int) -> bool:
    """Whether nothing more is to be expected of an engine for now."""
    if engine.in_memory:
        return engine.condemned is not None
    return bool(engine.backing_off_ns(now)) or never_alone(state, (engine,)) is not None
