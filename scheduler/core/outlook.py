"""What can be foreseen: what never fits, what comes too late, what comes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.admission import excluded_by_pin, never_fits, never_units
from scheduler.core.amounts import larger, plus, shortage, total
from scheduler.core.engine import Engine, EngineState
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.request import RequestKind

if TYPE_CHECKING:
    from scheduler.core.queue import Pending
    from scheduler.core.state import State

RUNS_TO_TRUST = 3
"""Runs seen before run times count against a deadline: the first run of an engine is often slow."""


def never(state: State, engines: tuple[Engine, ...], items: int = 1) -> Reason | None:
    """Why these engines can never serve a request of `items` together, or None.

    By what is counted now: measured bytes, pins made and budgets changed while running.
    """
    if items > 1:
        return _judge(state, engines, items)
    names = tuple(engine.name for engine in engines)
    if names not in state.verdicts:
        state.verdicts[names] = _judge(state, engines, items)
    return state.verdicts[names]


def _judge(state: State, engines: tuple[Engine, ...], items: int) -> Reason | None:
    pins = [pin for pin in state.pins.values() if pin not in engines]
    for index, engine in enumerate(engines):
        reason = (
            never_units(engine.spec, state.settings.resources)
            or excluded_by_pin(engine.spec, (pin.spec for pin in pins))
            or _excluded_by_another(engine, engines[index + 1 :])
        )
        if reason is not None:
            return reason
    steady = total(plus(e.resident_bytes(), e.running_bytes(items)) for e in engines)
    need = larger(total(e.loading_bytes() for e in engines), steady)
    pinned = {pin.name: pin.resident_bytes() for pin in pins}
    names = " and ".join(engine.name for engine in engines)
    return never_fits(names, need, pinned, usable_bytes(state))


def _excluded_by_another(engine: Engine, others: tuple[Engine, ...]) -> Reason | None:
    for other in others:
        shared = engine.spec.exclusive & other.spec.exclusive
        if shared:
            return Reason(
                ReasonCode.NEVER_FITS,
                f"{engine.name} and {other.name} are never loaded together: both are in the "
                f"exclusive group {min(shared)}",
            )
    return None


def usable_bytes(state: State) -> dict[str, int]:
    """Per pool, what engines can ever get: the budget less overhead and residue."""
    lost = state.residue_bytes()
    return {
        name: book.budget_bytes - book.overhead_bytes - lost.get(name, 0)
        for name, book in state.ledger.pools.items()
    }


def too_late_ns(pending: Pending, now: int) -> int | None:
    """When `pending` could be answered at the earliest, if that is past its deadline, else None.

    Judged by the fastest load and run remembered, so only what is certainly late is refused.
    """
    deadline_ns = pending.deadline_ns
    if deadline_ns is None:
        return None
    earliest = now
    for engine in pending.lane.engines:
        if engine.state is EngineState.UNLOADED:
            earliest = max(earliest, now + engine.load_times.fastest_ns(now))
        elif engine.state is EngineState.LOADING:
            earliest = max(earliest, engine.since_ns + engine.load_times.fastest_ns(now))
    if pending.request.kind is RequestKind.INFER:
        run_times = pending.lane.engines[0].run_times
        earliest += run_times.fastest_ns(now, at_least=RUNS_TO_TRUST)
    return earliest if earliest > deadline_ns else None


def transient_bytes(state: State) -> dict[str, int]:
    """What comes back by itself: the workspaces of runs and the peaks of loads."""
    parts = []
    for engine in state.engines.values():
        if engine.run is not None:
            parts.append(state.ledger.booked(("lease", engine.run.id)))
        elif engine.state is EngineState.LOADING:
            booked = state.ledger.booked(("engine", engine.name))
            parts.append(shortage(booked, engine.resident_bytes()))
    return total(parts)


def unloading_bytes(state: State) -> dict[str, int]:
    """What the unloads under way give back."""
    return total(
        state.ledger.booked(("engine", engine.name))
        for engine in state.engines.values()
        if engine.state is EngineState.UNLOADING
    )
