"""Runs: begun, followed by the next, ended. What a run takes of units and workspace it has alone.

An engine has one run at a time. Another one may be granted to follow it: that takes nothing yet,
and begins in the moment in which the first has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scheduler.core.decisions import GrantLease
from scheduler.core.lease import Lease
from scheduler.core.timers import TimerKind

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.engine import Engine
    from scheduler.core.queue import Pending
    from scheduler.core.request import Request
    from scheduler.core.state import State


def workspace_of(engine: Engine, requests: Sequence[Request]) -> Amounts:
    """What a run of these takes on top of what is resident; of a train, what one of them takes."""
    if engine.form.batch_max == 1 and len(requests) > 1:
        return engine.running_bytes(1)
    return engine.running_bytes(sum(request.items for request in requests))


def start_run(state: State, lease: Lease, engine: Engine, now: int) -> None:
    """The engine works for this lease from now on."""
    engine.run = lease
    engine.use()
    state.timers.clear(TimerKind.KEEP_ALIVE, engine.name)
    for name, count in engine.form.uses.items():
        state.units[name] -= count
    if engine.spec.run_timeout_ns is not None:
        state.timers.set(TimerKind.RUN, lease.id, now + engine.spec.run_timeout_ns)


def follow(state: State, batch: list[Pending], now: int) -> None:
    """Grant these requests, which wait no more, the run after the one that is on their engine."""
    engine = batch[0].lane.engines[0]
    assert engine.run is not None
    lease = Lease(
        state.next_lease_id(),
        (engine,),
        batch,
        holds=False,
        priority=batch[0].priority,
        granted_ns=now,
        after=engine.run.id,
    )
    state.leases[lease.id] = engine.next_run = lease
    for pending in batch:
        pending.lease = lease
    ids = tuple(request.id for request in lease.granted)
    grant = GrantLease(lease.id, (engine.ref,), ids, in_turn=lease.in_turn, after=lease.after)
    state.decisions.append(grant)


def end_run(state: State, lease: Lease, engine: Engine, now: int) -> None:
    """The engine works for this lease no more. The run that follows, if there is one, begins."""
    if lease is engine.next_run:  # It was lost before it began.
        engine.next_run = None
        return
    engine.run = None
    state.queue.bring_back(engine.name)
    for name, count in engine.form.uses.items():
        state.units[name] += count
    following, engine.next_run = engine.next_run, None
    if following is None:
        return
    following.after = None
    following.granted_ns = now
    amounts = workspace_of(engine, following.granted)
    if any(amounts.values()):
        state.ledger.book(("lease", following.id), amounts)
    start_run(state, following, engine, now)
