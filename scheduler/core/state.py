"""All that the core knows, and the steps by which it changes.

Each method is one step that is always allowed together or not at all: it changes the books, sets
or clears the alarms that belong to it, and notes the decision. Whether a step should be taken is
decided in `apply` (what has happened) and `settle` (what can be done next).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, plus
from scheduler.core.choice import review_later
from scheduler.core.decisions import (
    Decision,
    FinishRequest,
    GrantLease,
    LoadEngine,
    RaiseAlarm,
    RevokeLease,
    UnloadEngine,
)
from scheduler.core.engine import READY, UNLOADED, UNLOADING, Engine
from scheduler.core.lease import Lease
from scheduler.core.ledger import Ledger
from scheduler.core.outcome import COMPLETED, MAKE_ROOM, Outcome, Reason, ReasonCode
from scheduler.core.outlook import must_go
from scheduler.core.policy import POLICIES
from scheduler.core.prefetch import expect
from scheduler.core.queue import Pending, Queue
from scheduler.core.request import HOLD, UNLOAD
from scheduler.core.running import end_run, start_run
from scheduler.core.thrash import Reloads, watch_reload
from scheduler.core.timers import (
    AGEING,
    BACKOFF,
    DEADLINE,
    FORM,
    KEEP_ALIVE,
    LEASE,
    LOAD,
    OVERDUE,
    PREFETCH,
    RUN,
    Timers,
)

if TYPE_CHECKING:
    from scheduler.core.fit import Fit
    from scheduler.core.settings import Settings
    from scheduler.core.witness import Witness


class State:
    """Engines, requests, leases, books and alarms."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.policy = POLICIES[settings.policy]
        self.ledger = Ledger(settings)
        self.timers = Timers()
        self.queue = Queue()
        self.engines: dict[str, Engine] = {}
        self.pending: dict[int, Pending] = {}
        self.leases: dict[int, Lease] = {}
        self.units: dict[str, int] = dict(settings.resources)
        self.residue: dict[str, dict[str, int]] = {}
        self.draining = False
        self.mode = settings.mode
        self.switching_ns: int | None = None
        self.leaving: dict[str, Reason] = {}
        self.full_pools: set[str] = set()
        self.reloads = Reloads()
        self.decisions: list[Decision] = []
        self._lease_count = 0
        self.verdicts: dict[tuple[str, ...], Reason | None] = {}
        self.epoch = 0
        self.fit: Fit | None = None
        self.pins: dict[str, Engine] = {}
        self.wanted: dict[str, Engine] = {}
        self.reviews: dict[str, Engine] = {}
        self.pins_seen_in = -1
        self.last_instances: dict[str, int] = {}
        self.witness: Witness | None = None

    # -- requests ---------------------------------------------------------------------------

    def finish(self, pending: Pending, outcome: Outcome, reason: Reason | None = None) -> None:
        """End a request. One that held a lease alone leaves that lease to its caller's care."""
        request = pending.request
        del self.pending[request.id]
        timers = self.timers
        if pending.deadline_ns is not None:
            timers.clear(DEADLINE, request.id)
        if pending.lease is None:
            self.stop_waiting(pending)
        else:
            pending.lease.pending.remove(pending)
        self.decisions.append(FinishRequest(request.id, outcome, reason))

    def promote(self, pending: Pending) -> None:
        """Let a waiting request go before all others of its rank: its turn has begun."""
        self.queue.remove(pending)
        pending.overdue = True
        pending.key = self.policy.order_key(pending)
        self.queue.add(pending)

    def stop_waiting(self, pending: Pending) -> None:
        """Take a request out of the queue, with the alarms that make it climb there."""
        self.queue.remove(pending)
        self.timers.clear(OVERDUE, pending.request.id)
        self.timers.clear(AGEING, pending.request.id)

    def abandon(self, pending: Pending, outcome: Outcome, reason: Reason) -> None:
        """End a request whatever it is doing; work that nobody wants any more is called off."""
        lease = pending.lease
        self.finish(pending, outcome, reason)
        if lease is not None and not lease.pending:
            self.revoke(lease, reason)

    def abandon_waiting(self, model: str, outcome: Outcome, reason: Reason) -> None:
        """End every waiting request that needs `model`, but not those that want it unloaded."""
        for pending in self._waiting_for(model):
            if pending.request.kind is not UNLOAD:
                self.finish(pending, outcome, reason)

    def end_unloads(self, model: str, outcome: Outcome, reason: Reason | None = None) -> None:
        """End every waiting request to unload `model`."""
        for pending in self._waiting_for(model):
            if pending.request.kind is UNLOAD:
                self.finish(pending, outcome, reason)

    def _waiting_for(self, model: str) -> list[Pending]:
        return [pending for lane in self.queue.lanes_of(model) for _, pending in lane.entries]

    # -- leases -----------------------------------------------------------------------------

    def grant(self, batch: list[Pending], amounts: Amounts, now: int) -> None:
        """Give the requests of `batch`, all of one lane, a lease on that lane's engines.

        They must not be in the queue (any more).
        """
        first = batch[0]
        lane = first.lane
        lease_id = self.next_lease_id()
        holds = first.request.kind is HOLD
        ttl_ns = first.request.ttl_ns if holds else None
        lease = Lease(
            lease_id,
            lane.engines,
            batch,
            holds=holds,
            priority=first.priority,
            granted_ns=now,
            parent=lane.parent,
            expires_ns=None if ttl_ns is None else now + ttl_ns,
        )
        self.leases[lease_id] = lease
        for pending in batch:
            pending.lease = lease
        if any(amounts.values()):
            self.ledger.book(("lease", lease_id), amounts)
        if holds:
            self._start_hold(lease)
        else:
            start_run(self, lease, lane.engines[0], now)
        refs = tuple(engine.ref for engine in lane.engines)
        ids = tuple(pending.request.id for pending in batch)
        grant = GrantLease(lease_id, refs, ids, holds, lease.expires_ns, lease.in_turn)
        self.decisions.append(grant)

    def next_lease_id(self) -> int:
        """The number of a new lease."""
        self._lease_count += 1
        return self._lease_count

    def _start_hold(self, lease: Lease) -> None:
        for engine in lease.engines:
            engine.hold = lease
            self.queue.changed(engine.name)
            engine.use()
            self.timers.clear(KEEP_ALIVE, engine.name)
        for pending in lease.pending:
            if pending.deadline_ns is not None:
                self.timers.clear(DEADLINE, pending.request.id)
        if lease.expires_ns is not None:
            self.timers.set(LEASE, lease.id, lease.expires_ns)

    def revoke(self, lease: Lease, reason: Reason) -> None:
        """Ask for a lease back; its callers, and who waits under it, have their answers now."""
        if lease.revoking is not None:
            return
        lease.revoking = reason
        self.timers.clear(LEASE, lease.id)
        self.decisions.append(RevokeLease(lease.id, reason))
        for pending in list(lease.pending):
            self.finish(pending, Outcome.PREEMPTED, reason)
        self.abandon_under(lease, reason)

    def abandon_under(self, lease: Lease, reason: Reason) -> None:
        """End what still waits to run under a held lease that is over."""
        for engine in lease.engines if lease.holds else ():
            target = ((engine.name,), lease.id)
            lane = self.queue.find(target)
            if lane is None:
                continue  # Nobody has ever run under it, or it was revoked before.
            for _, pending in list(lane.entries):
                self.finish(pending, Outcome.PREEMPTED, reason)
            self.queue.drop_lane(target)

    def end_lease(self, lease: Lease, now: int) -> None:
        """Give back what a lease took; its engines count as used until now."""
        del self.leases[lease.id]
        self.ledger.release(("lease", lease.id))
        self.timers.clear(LEASE, lease.id)
        self.timers.clear(RUN, lease.id)
        for engine in lease.engines:
            if lease.holds:
                engine.hold = None
                self._book_orphan(engine)
            else:
                end_run(self, lease, engine, now)
            engine.used_ns = now
            if engine.is_idle:
                self.rest(engine, now)

    def _book_orphan(self, engine: Engine) -> None:
        """A run that outlives the lease it was under takes over the workspace of that lease."""
        if engine.run is not None:
            key = ("lease", engine.run.id)
            self.ledger.book(key, plus(self.ledger.booked(key), engine.running_bytes(1)))

    def is_quiet(self) -> bool:
        """Nobody waits for anything, so there is nothing to decide but for who comes next."""
        if self.queue or self.wanted or self.reviews or self.ledger.is_overdrawn():
            return False
        if not self.pins:
            return True
        are_placed = self.pins_seen_in == self.epoch
        return are_placed and all(pin.in_memory for pin in self.pins.values())

    # -- engines ----------------------------------------------------------------------------

    def load(self, engine: Engine, now: int, *, ahead: bool = False) -> None:
        """Reserve the load's memory and decide the load."""
        engine.begin_load(now, ahead=ahead)
        self.queue.changed(engine.name)
        self.timers.clear(BACKOFF, engine.name)
        self.timers.clear(PREFETCH, engine.name)
        self.wanted.pop(engine.name, None)
        self.ledger.book(engine.booking, engine.loading_bytes())
        if engine.spec.load_timeout_ns is not None:
            self.timers.set(LOAD, engine.name, now + engine.spec.load_timeout_ns)
        if engine.pinned and engine.has_choice:
            self.reconsider()  # What it leaves to others depends on its form.
        form = (engine.form.variant, engine.form.device)
        self.decisions.append(LoadEngine(engine.name, engine.instance, *form, ahead))

    def loaded(self, engine: Engine, now: int) -> None:
        """The engine is there: shrink its booking to what stays."""
        self.timers.clear(LOAD, engine.name)
        begun_ns = engine.since_ns
        engine.load_times.add(now - begun_ns, now)
        engine.enter(READY, now)
        engine.used_ns = now
        engine.fresh = True
        self.ledger.book(engine.booking, engine.resident_bytes())
        watch_reload(self, engine, begun_ns, now)
        self.rest(engine, now)

    def rest(self, engine: Engine, now: int) -> None:
        """An engine has become idle: unload it if it must go, else start its keep-alive."""
        reason = must_go(self, engine)
        if reason is not None:
            self.unload(engine, reason, now)
        elif engine.spec.keep_alive_ns is not None and not engine.pinned:
            self.timers.set(KEEP_ALIVE, engine.name, now + engine.spec.keep_alive_ns)
        review_later(self, engine, now)

    def unload(self, engine: Engine, reason: Reason, now: int) -> None:
        """Decide the unload of an idle engine; its bytes stay booked until it is reported."""
        assert engine.is_idle, f"{engine!r} is in use"
        engine.enter(UNLOADING, now)
        self.queue.changed(engine.name)
        self.timers.clear(KEEP_ALIVE, engine.name)
        engine.evicted_ns = now if reason.code is MAKE_ROOM else None
        self.decisions.append(UnloadEngine(engine.name, engine.instance, reason))

    def gone(self, engine: Engine, now: int) -> None:
        """The engine is out of memory: release its booking, forget it if it was removed."""
        engine.enter(UNLOADED, now)
        self.queue.changed(engine.name)
        engine.condemned = None
        self.leaving.pop(engine.name, None)
        self.end_unloads(engine.name, COMPLETED)
        self.ledger.release(engine.booking)
        if engine.pinned and engine.has_choice:
            self.reconsider()
        for kind in (LOAD, KEEP_ALIVE, FORM):
            self.timers.clear(kind, engine.name)
        if engine.removed:
            self.forget(engine)
        else:
            expect(self, engine, now)

    def pin(self, engine: Engine, *, pinned: bool) -> None:
        """Keep the engine in memory whatever comes, or stop doing so."""
        engine.pinned = pinned
        if pinned:
            self.pins[engine.name] = engine
        else:
            self.pins.pop(engine.name, None)
        self.timers.clear(KEEP_ALIVE, engine.name)
        self.reconsider()

    def forget(self, engine: Engine) -> None:
        """Drop a removed model; one of its name that comes later goes on with its instances."""
        del self.engines[engine.name]
        self.last_instances[engine.name] = engine.instance
        self.timers.clear(BACKOFF, engine.name)
        self.timers.clear(PREFETCH, engine.name)
        self.wanted.pop(engine.name, None)
        for lane in self.queue.lanes_of(engine.name):
            self.queue.drop_lane(lane.target)
        self.reconsider()

    def back_off(self, engine: Engine, now: int) -> None:
        """Do not load this engine again for a while."""
        if engine.name in self.engines:
            self.timers.set(BACKOFF, engine.name, engine.back_off(now))
            self.timers.clear(PREFETCH, engine.name)

    def condemn(self, engine: Engine, outcome_reason: Reason) -> None:
        """Its thread does not come back: refuse all who wait, unload it as soon as it does."""
        engine.condemned = outcome_reason
        self.abandon_waiting(engine.name, Outcome.FAILED, outcome_reason)
        for pending in list(engine.next_run.pending) if engine.next_run else ():
            self.abandon(pending, Outcome.FAILED, outcome_reason)

    def alarm(self, model: str | None, code: ReasonCode, detail: str) -> None:
        """Tell a person."""
        self.decisions.append(RaiseAlarm(model, Reason(code, detail)))

    def reconsider(self) -> None:
        """Models, pins, budgets or measurements changed: forget what was found to never fit."""
        self.verdicts.clear()
        self.fit = None
        self.epoch += 1
        self.queue.bring_all_back()
