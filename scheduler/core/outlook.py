"""What can be foreseen: what never fits, and what comes back by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scheduler.core.admission import excluded_by_pin
from scheduler.core.amounts import Amounts, add, plus, shortage, total
from scheduler.core.engine import LOADING, READY, UNLOADED, UNLOADING, Engine
from scheduler.core.fit import Fit, never_fits
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.units import never_units, with_units

if TYPE_CHECKING:
    from scheduler.core.figures import Figures
    from scheduler.core.lease import Lease
    from scheduler.core.queue import Lane
    from scheduler.core.state import State


def never(state: State, lane: Lane, items: int) -> Reason | None:
    """Why a request of `items` in this lane can never be served, or None.

    By what is counted now: measured bytes, pins made and budgets changed while running.
    """
    if lane.parent is not None:
        return _never_under(state, lane.parent, lane.engines[0], items)
    names = lane.target[0]
    if items == 1 and names in state.verdicts:
        return state.verdicts[names]
    return never_alone(state, lane.engines, items)


def never_alone(state: State, engines: tuple[Engine, ...], items: int = 1) -> Reason | None:
    """Why these engines can never serve a request of `items` together, whoever holds them."""
    if items > 1:
        return _judge(state, engines, items)
    names = tuple(engine.name for engine in engines)
    if names not in state.verdicts:
        state.verdicts[names] = _judge(state, engines, items)
    return state.verdicts[names]


def _judge(state: State, engines: tuple[Engine, ...], items: int) -> Reason | None:
    pins = [pin for pin in state.pins.values() if pin not in engines]
    return judge(state, engines, items, pins, fit(state))


def judge(
    state: State, engines: tuple[Engine, ...], items: int, pins: list[Engine], beside: Fit
) -> Reason | None:
    """Why these engines could never serve a request of `items` beside `pins`, or None.

    `beside` says what fits beside these pins.
    """
    for index, engine in enumerate(engines):
        reason = (
            never_units(engine.name, engine.spec.forms, state.settings.resources)
            or excluded_by_pin(engine.spec, (pin.spec for pin in pins))
            or _excluded_by_another(engine, engines[index + 1 :])
        )
        if reason is not None:
            return reason
    return beside.why_not([engine.name for engine in engines], items)


def fit(state: State) -> Fit:
    """Which forms fit beside what is pinned, as things are counted in this epoch.

    A pinned engine in memory keeps its form, if that fits.
    """
    if state.fit is None:
        state.fit = fit_beside(state, list(state.pins.values()))
    return state.fit


def fit_beside(state: State, pins: Sequence[Engine]) -> Fit:
    """Which forms fit beside these, if they were pinned. What lacks units for ever is no form."""
    resources = state.settings.resources
    forms = {
        name: with_units(_present_first(engine) if engine in pins else engine.forms, resources)
        for name, engine in state.engines.items()
        if not engine.removed
    }
    pinned = [pin.name for pin in sorted(pins, key=lambda pin: -pin.priority)]
    out_of_use = {name for name, engine in state.engines.items() if engine.disabled}
    return Fit(forms, pinned, usable_bytes(state), out_of_use)


def _present_first(engine: Engine) -> tuple[Figures, ...]:
    if not engine.in_memory:
        return engine.forms
    return (engine.figures, *(other for other in engine.forms if other is not engine.figures))


def _never_under(state: State, lease: Lease, engine: Engine, items: int) -> Reason | None:
    """A run of more items than its lease was granted for has to fit beside all of that lease."""
    more = shortage(engine.running_bytes(items), engine.running_bytes(1))
    if not more:
        return None
    held = total(plus(e.resident_bytes(), e.running_bytes(1)) for e in lease.engines)
    leased = {e.name for e in lease.engines}
    places = fit(state).pinned
    pinned = {p: places[p].resident_bytes() for p in places if p not in leased}
    return never_fits(engine.name, plus(held, more), pinned, usable_bytes(state))


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
    lost = residue_bytes(state)
    return {
        name: book.budget_bytes - book.overhead_bytes - lost.get(name, 0)
        for name, book in state.ledger.pools.items()
    }


def coming_bytes(state: State) -> dict[str, int]:
    """What comes back without another decision: of unloads, of runs, and of the peaks of loads."""
    coming: Amounts = {}
    for engine in state.engines.values():
        if engine.state is UNLOADED:
            continue
        leaves = is_leaving(state, engine)
        if engine.state is UNLOADING or leaves:
            add(coming, state.ledger.booked(engine.booking))
        if engine.run is not None:
            add(coming, state.ledger.booked(("lease", engine.run.id)))
        elif engine.state is LOADING and not leaves:
            booked = state.ledger.booked(engine.booking)
            add(coming, shortage(booked, engine.resident_bytes()))
    return coming


def residue_bytes(state: State) -> dict[str, int]:
    """What unloaded engines left behind, per pool."""
    return total(state.residue.values())


def is_leaving(state: State, engine: Engine) -> bool:
    """Whether the mode sends it away as soon as it is idle, and its thread comes back."""
    if engine.disabled is None and not (state.leaving and engine.name in state.leaving):
        return False
    return engine.condemned is None and (engine.state is READY or engine.state is LOADING)


def must_go(state: State, engine: Engine) -> Reason | None:
    """Why the engine is to be unloaded whoever may want it, or None."""
    if engine.condemned is not None:
        return engine.condemned
    if engine.removed:
        return Reason(ReasonCode.MODEL_REMOVED, f"{engine.name} was removed")
    if engine.disabled is not None:
        return engine.disabled
    if engine.name in state.leaving:
        return state.leaving[engine.name]
    if state.draining:
        return Reason(ReasonCode.SHUTTING_DOWN, "the scheduler is shutting down")
    return None


def unloading_bytes(state: State) -> dict[str, int]:
    """What the unloads give back that are under way, or follow as soon as an engine is idle."""
    parts = [
        state.ledger.booked(engine.booking)
        for engine in state.engines.values()
        if engine.state is UNLOADING or is_leaving(state, engine)
    ]
    return total(parts)
