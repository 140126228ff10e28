"""The core's whole state at one moment: frozen, printable, serialisable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.engine import Engine, EngineState
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.outlook import residue_bytes
from scheduler.core.policy import rank

if TYPE_CHECKING:
    from scheduler.core.lease import Lease
    from scheduler.core.queue import Pending
    from scheduler.core.state import State


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool's books, in bytes. `available_bytes` of None means unknown."""

    name: str
    budget_bytes: int
    reserved_bytes: int
    high_water_bytes: int
    overhead_bytes: int
    residue_bytes: int
    available_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """One model and its engine. `reserved_bytes` is per pool; `waiting` counts its requests.

    `batch_limit` is the most items of a run since one failed for memory, None when none did. Of the
    `loads_ahead`, before anybody had asked, `loads_ahead_used` were of use.

    `running` are the requests of its run, `following` those of the run that begins when that ends.
    `variant` and `device` name its form while it is in memory, where the model has a choice.
    """

    model: str
    state: EngineState
    instance: int
    pinned: bool
    disabled: bool
    priority: int
    reserved_bytes: Mapping[str, int]
    running: tuple[int, ...]
    held_by: int | None
    waiting: int
    batch_limit: int | None
    loads_ahead: int
    loads_ahead_used: int
    condemned: Reason | None
    ready_again_ns: int | None
    variant: str = ""
    device: str = ""
    following: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseSnapshot:
    """One lease. `revoking` is the reason it is being taken back, or None."""

    lease_id: int
    models: tuple[str, ...]
    request_ids: tuple[int, ...]
    holds: bool
    priority: int
    granted_ns: int
    expires_ns: int | None
    revoking: Reason | None


@dataclass(frozen=True, slots=True)
class WaitSnapshot:
    """One waiting request, in the order in which they will be served, and what it waits for."""

    request_id: int
    models: tuple[str, ...]
    priority: int
    arrived_ns: int
    deadline_ns: int | None
    waits_for: Reason | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything, at `now_ns`. `switching`: what `mode` asks for has not all been done yet."""

    now_ns: int
    draining: bool
    mode: str | None
    switching: bool
    pools: tuple[PoolSnapshot, ...]
    engines: tuple[EngineSnapshot, ...]
    leases: tuple[LeaseSnapshot, ...]
    waiting: tuple[WaitSnapshot, ...]
    resources_in_use: Mapping[str, int]


def photograph(state: State, now: int) -> Snapshot:
    """Copy what can be seen from outside."""
    return Snapshot(
        now_ns=now,
        draining=state.draining,
        mode=None if state.mode is None else state.mode.name,
        switching=state.switching_ns is not None,
        pools=tuple(_pool(state, name) for name in state.ledger.pools),
        engines=tuple(_engine(state, engine) for engine in state.engines.values()),
        leases=tuple(_lease(lease) for lease in state.leases.values()),
        waiting=tuple(_wait(pending) for pending in state.queue.waiting()),
        resources_in_use={
            name: most - state.units[name] for name, most in state.settings.resources.items()
        },
    )


def _pool(state: State, name: str) -> PoolSnapshot:
    book = state.ledger.pools[name]
    return PoolSnapshot(
        name=name,
        budget_bytes=book.budget_bytes,
        reserved_bytes=book.reserved_bytes,
        high_water_bytes=book.high_water_bytes,
        overhead_bytes=book.overhead_bytes,
        residue_bytes=residue_bytes(state).get(name, 0),
        available_bytes=book.available_bytes,
        used_bytes=book.used_bytes,
    )


def _engine(state: State, engine: Engine) -> EngineSnapshot:
    lanes = state.queue.lanes_of(engine.name)
    return EngineSnapshot(
        model=engine.name,
        state=engine.state,
        instance=engine.instance,
        pinned=engine.pinned,
        disabled=engine.disabled is not None,
        priority=engine.priority,
        reserved_bytes=dict(state.ledger.booked(engine.booking)),
        running=tuple(p.request.id for p in engine.run.pending) if engine.run else (),
        held_by=engine.hold.id if engine.hold else None,
        waiting=sum(len(lane) for lane in lanes),
        batch_limit=engine.figures.batch_limit,
        loads_ahead=engine.loads_ahead,
        loads_ahead_used=engine.loads_ahead_used,
        condemned=engine.condemned,
        ready_again_ns=engine.backoff_until_ns,
        variant=engine.form.variant if engine.in_memory else "",
        device=engine.form.device if engine.in_memory else "",
        following=tuple(p.request.id for p in engine.next_run.pending) if engine.next_run else (),
    )


def _lease(lease: Lease) -> LeaseSnapshot:
    return LeaseSnapshot(
        lease_id=lease.id,
        models=tuple(engine.name for engine in lease.engines),
        request_ids=tuple(pending.request.id for pending in lease.pending),
        holds=lease.holds,
        priority=lease.priority,
        granted_ns=lease.granted_ns,
        expires_ns=lease.expires_ns,
        revoking=lease.revoking,
    )


def _wait(pending: Pending) -> WaitSnapshot:
    return WaitSnapshot(
        request_id=pending.request.id,
        models=pending.request.models,
        priority=rank(pending),
        arrived_ns=pending.arrived_ns,
        deadline_ns=pending.deadline_ns,
        waits_for=_waits_for(pending),
    )


def _waits_for(pending: Pending) -> Reason | None:
    lane = pending.lane
    if lane.head is not pending:
        return Reason(ReasonCode.WAITS_FOR_TURN, f"{lane.head.request.models[0]} has others first")
    return lane.blocked
