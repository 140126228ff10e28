"""What can be done now: one look at everybody who waits, in order.

For the first of each lane, from the most important on:

1. A request that can never be served any more, or certainly misses its deadline, is answered at
   once and costs nothing.
2. Engines in memory and idle, units and workspace free: grant (a batch takes its followers along).
3. An engine is busy, loading or unloading: wait for it. A lease held by somebody less important is
   revoked.
4. An engine is not in memory: load it if its memory is free and nothing of its exclusive groups is
   loaded. If not, make room (see `room`).
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, fits, shortage
from scheduler.core.batch import batch_of, most_items, waits_until_ns
from scheduler.core.choice import misfits, review_later
from scheduler.core.claim import (
    Need,
    claimant,
    running_bytes,
    steady_bytes,
    to_come,
)
from scheduler.core.decisions import GrantLease, UnloadEngine
from scheduler.core.engine import LOADING, READY, UNLOADED, UNLOADING, Engine
from scheduler.core.following import followers, may_follow
from scheduler.core.loading import Loading
from scheduler.core.outcome import WAITS_FOR_LOAD, WAITS_FOR_UNLOAD, Outcome, Reason, ReasonCode
from scheduler.core.outlook import never
from scheduler.core.prefetch import expect
from scheduler.core.punctuality import too_late, too_late_from_ns
from scheduler.core.queue import AFTER_ALL
from scheduler.core.request import HOLD, INFER, LOAD, UNLOAD
from scheduler.core.room import BEHIND, RUNNING, Room, has_to_go
from scheduler.core.running import follow
from scheduler.core.train import train_of

if TYPE_CHECKING:
    from scheduler.core.decisions import Decision
    from scheduler.core.queue import Lane, Pending
    from scheduler.core.state import State


def settle(state: State, now: int) -> int | None:
    """Decide all that can be decided. Returns when to look again, if time alone changes it.

    What an unload will give back counts as coming, and a lease that somebody before it let through
    can be outranked, so each that was decided calls for another look.
    """
    if state.is_quiet():
        return None
    while True:
        decided = len(state.decisions)
        look_again_ns = Settling(state, now).run()
        made = state.decisions[decided:]
        if not any(_calls_for_another(decision) for decision in made):
            return look_again_ns


def _calls_for_another(made: Decision) -> bool:
    return isinstance(made, UnloadEngine) or (isinstance(made, GrantLease) and made.holds)


class Settling:
    """One pass. Claims of those who wait are taken off `units` and `room` as it goes."""

    def __init__(self, state: State, now: int) -> None:
        self.state = state
        self.now = now
        self.room = Room(state, now)
        self.loading = Loading(state, self.room, now)
        self.units = state.units.copy()

    def run(self) -> int | None:
        """Look at everybody once. Returns when to look again."""
        self.room.shed()
        self.loading.load_pins()
        heads = self.state.queue.heads()
        behind, needed = self.room.behind, self.room.needed
        index = 0
        while index < len(heads):
            place, lane = heads[index]
            index += 1
            if lane.likeness in behind:
                needed.add(lane.engines[0].name)
                continue
            self.room.place = place
            # Revoking a lease for an earlier one has ended what waited under it.
            if not lane.entries or self._is_plain(lane):
                continue
            if not self._serve(lane):
                self._watch(lane.head)
                continue
            self.room.reconsider()
            if lane.entries:
                insort(heads, (lane.head.key, lane), lo=index)
        self.room.place = AFTER_ALL
        self.loading.look_ahead()
        self.loading.review()
        return self.room.wake_ns

    def _is_plain(self, lane: Lane) -> bool:
        """The two most common waits, told apart at little cost where many wait.

        Its one engine runs for another: then the lane is set aside until that has ended. Or the
        engine is idle, or not in memory, and somebody before it who needed no more memory could
        not get that.
        """
        engine = lane.only
        head = lane.entries[0][1]
        if engine is None or head.request.kind is not INFER:
            return False
        if head.deadline_ns is not None or head.request.items > 1:
            return False
        if lane.judged_in != self.state.epoch or engine.name in self.room.stopped:
            return False
        if engine.run is not None and engine.hold is None:
            return self._set_aside(lane)
        at_rest = engine.state is UNLOADED or (engine.is_idle and not engine.form.uses)
        likeness = self.room.likeness(lane) if at_rest else None
        if likeness is None or not self.room.is_behind(likeness):
            return False
        lane.likeness = likeness
        lane.blocked = BEHIND
        self.room.needed.add(engine.name)
        return True

    def _set_aside(self, lane: Lane) -> bool:
        """Its engine runs: there is nothing to do until that ends, unless it may follow."""
        if may_follow(self.state, lane):
            return False
        lane.blocked = RUNNING
        self.state.queue.set_aside(lane)
        return True

    def _watch(self, head: Pending) -> None:
        """Look again when whoever waits here has come too late."""
        if not self.state.policy.refuses_late:
            return
        late_ns = too_late_from_ns(self.state, head, self.now)
        if late_ns is not None and head.request.kind is not UNLOAD:
            self.room.wake(late_ns)

    # -- the first of one lane --------------------------------------------------------------

    def _serve(self, lane: Lane) -> bool:
        """Look at the first of a lane. True when it no longer waits."""
        state, head = self.state, lane.head
        kind = head.request.kind
        if kind is UNLOAD:
            return self._serve_unload(lane, head)
        if self._is_hopeless(lane, head):
            return True
        if kind is LOAD and lane.engines[0].state is READY:
            state.finish(head, Outcome.COMPLETED)
            return True
        if lane.parent is not None:
            return self._serve_under_lease(lane, head)
        return self._serve_run(lane, head)

    def _is_hopeless(self, lane: Lane, head: Pending) -> bool:
        """Answer a request that nothing can come of, before it costs anything."""
        if lane.judged_in != self.state.epoch or head.request.items > 1:
            verdict = never(self.state, lane, head.request.items)
            if verdict is not None:
                self.state.finish(head, Outcome.REJECTED, verdict)
                return True
            lane.judged_in = self.state.epoch
        late = too_late(self.state, head, self.now) if self.state.policy.refuses_late else None
        if late is None:
            return False
        self.state.finish(head, Outcome.DEADLINE_MISSED, late)
        for engine in lane.engines:
            expect(self.state, engine, self.now)
            review_later(self.state, engine, self.now)
        return True

    def _serve_unload(self, lane: Lane, head: Pending) -> bool:
        engine = lane.engines[0]
        engine.demand.forget()  # Nor is it to be loaded ahead again.
        if engine.state is UNLOADED:
            self.state.finish(head, Outcome.COMPLETED)
            return True
        self.room.stopped.add(engine.name)
        if engine.is_idle:
            reason = Reason(ReasonCode.ASKED_TO_UNLOAD, "somebody asked for it")
            self.state.unload(engine, reason, self.now)
            self.room.returns(engine)
        elif engine.hold is not None:
            self.room.outrank(engine.hold, lane.importance(), f"the unload of {engine.name}")
        lane.blocked = Reason(WAITS_FOR_UNLOAD, f"{engine.name} is {engine.state.value}")
        return False

    def _serve_under_lease(self, lane: Lane, head: Pending) -> bool:
        """A run of somebody who holds the engine: units can be missing, or room for its batch."""
        engine = lane.engines[0]
        if engine.run is not None:
            lane.blocked = Reason(ReasonCode.WAITS_FOR_ENGINE, f"{engine.name} is running")
            return False
        if not self._take_units(lane, engine):
            return False
        more = shortage(engine.running_bytes(head.request.items), engine.running_bytes(1))
        if not fits(more, self.room.free):
            self._give_units_back(engine)
            lane.blocked = self.room.make(
                claimant(lane, head, self.state.policy, self.now), Need(more, more), ()
            )
            return False
        self._grant([head], more)
        return True

    def _serve_run(self, lane: Lane, head: Pending) -> bool:
        blocked = None
        absent = []
        for engine in misfits(self.state, lane.engines, head.request.items):
            self._change(engine, head)
            blocked = Reason(WAITS_FOR_UNLOAD, f"{engine.name} takes another form first")
        for engine in lane.engines:
            if engine.state is UNLOADED:
                absent.append(engine)
            blocked = self._engine_blocks(engine, head) or blocked
        if head.request.kind is HOLD:
            blocked = blocked or self._wanted_before(lane)
        for engine in lane.engines:
            self.room.needed.add(engine.name)
        if absent:
            who = claimant(lane, head, self.state.policy, self.now)
            blocked = self.loading.bring_in(absent, who, head.request.items) or blocked
        if blocked is None and not absent:
            return self._start(lane, head)
        if blocked is RUNNING and self._follow(lane):
            return True
        lane.blocked = blocked or Reason(WAITS_FOR_LOAD, "its engine is being loaded")
        return False

    def _change(self, engine: Engine, head: Pending) -> None:
        """In the form that it has, this request can never be served."""
        who = f"request {head.request.id}"
        self.loading.change(
            engine, f"{who} can never be served with {engine.name}{engine.form.words}"
        )
        if engine.hold is not None:
            self.room.outrank(engine.hold, head.lane.importance(), who)

    def _wanted_before(self, lane: Lane) -> Reason | None:
        """A run passes soon; a lease could keep the engine from who is before it for ever."""
        for engine in lane.engines:
            if self.room.is_needed(engine):
                return Reason(
                    ReasonCode.WAITS_FOR_TURN, f"somebody before it waits for {engine.name}"
                )
        return None

    def _engine_blocks(self, engine: Engine, head: Pending) -> Reason | None:
        """Why work cannot start on this engine now, though it is in memory or on its way."""
        name = engine.name
        if name in self.room.stopped:
            return has_to_go(engine)
        if engine.hold is not None:
            self.room.outrank(engine.hold, head.lane.importance(), f"request {head.request.id}")
            return Reason(ReasonCode.WAITS_FOR_ENGINE, f"{name} is held by lease {engine.hold.id}")
        if engine.run is not None:
            return RUNNING
        if engine.state is LOADING:
            steady = steady_bytes(engine, head.request.items)
            self.room.claim(shortage(steady, self.room.booked(engine)))
            return Reason(WAITS_FOR_LOAD, f"{name} is loading")
        if engine.state is UNLOADING:
            least = self.loading.choice.least_bytes(engine, head.request.items)
            self.room.claim(least or to_come([engine], head.request.items).later)
            return Reason(WAITS_FOR_UNLOAD, f"{name} is unloading first")
        return None

    # -- starting work ----------------------------------------------------------------------

    def _start(self, lane: Lane, head: Pending) -> bool:
        """All engines are in memory and idle."""
        need = running_bytes(lane.engines, head.request.items)
        runs = head.request.kind is INFER
        if runs and not self._take_units(lane, lane.engines[0]):
            self.room.claim(need)
            return False
        if not fits(need, self.room.free):
            if runs:
                self._give_units_back(lane.engines[0])
            lane.blocked = self.room.make(
                claimant(lane, head, self.state.policy, self.now), Need(need, need), ()
            )
            return False
        if lane.engines[0].form.batch_max == 1:
            self._grant(train_of(self.state, lane, self.now), need)
            return True
        most = most_items(self.state, lane.engines[0])
        batch = batch_of(lane, head, self.room.free, most)
        until_ns = waits_until_ns(lane, batch, most, self.now)
        if until_ns is not None:
            self.room.wake(until_ns)
            lane.blocked = Reason(ReasonCode.WAITS_FOR_BATCH, f"{len(batch)} of a batch of {most}")
            self.room.take(need, {})  # It could start now, and does not wait for what comes back.
            return False
        items = sum(pending.request.items for pending in batch)
        self._grant(batch, running_bytes(lane.engines, items))
        return True

    def _follow(self, lane: Lane) -> bool:
        """Its engine runs. What comes next may be decided now, where nobody before it needs it."""
        if not may_follow(self.state, lane) or self.room.is_claimed:
            return False
        if any(self.units[name] < 0 for name in lane.engines[0].form.uses):
            return False
        batch = followers(self.state, lane, self.now)
        if not batch:
            return False
        lane.blocked = None
        for pending in batch:
            self.state.stop_waiting(pending)
        follow(self.state, batch, self.now)
        return True

    def _take_units(self, lane: Lane, engine: Engine) -> bool:
        """Claim the units of a run, free or not: later ones may not use them up."""
        enough = True
        for name, count in engine.form.uses.items():
            self.units[name] -= count
            if self.units[name] < 0:
                lane.blocked = Reason(ReasonCode.WAITS_FOR_UNITS, f"all units of {name} are in use")
                enough = False
        return enough

    def _give_units_back(self, engine: Engine) -> None:
        """It waits for memory, which can take long: until then others may have the units."""
        for name, count in engine.form.uses.items():
            self.units[name] += count

    def _grant(self, batch: list[Pending], amounts: Amounts) -> None:
        batch[0].lane.blocked = None
        for pending in batch:
            self.state.stop_waiting(pending)
        self.state.grant(batch, amounts, self.now)
        holds = batch[0].request.kind is HOLD
        self.room.take(amounts, {} if holds else amounts)
