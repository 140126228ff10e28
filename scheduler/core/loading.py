"""What comes into memory within one pass: what is pinned, asked for, or expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import shortage
from scheduler.core.choice import Choice
from scheduler.core.claim import Claimant, pin_claimant, to_come
from scheduler.core.engine import READY, UNLOADED, Engine
from scheduler.core.outcome import WAITS_FOR_TURN, Reason, ReasonCode
from scheduler.core.outlook import fit, never_alone
from scheduler.core.prefetch import expect, is_wanted
from scheduler.core.prospect import reload_ns, service_ns

if TYPE_CHECKING:
    from scheduler.core.room import Room
    from scheduler.core.state import State


class Loading:
    """Decides loads, in the memory that `room` has or can make."""

    def __init__(self, state: State, room: Room, now: int) -> None:
        self.state = state
        self.room = room
        self.now = now
        self.choice = Choice(state, room, now)

    def load_pins(self) -> None:
        """What is pinned belongs in memory, before anything that waits."""
        misplaced = [engine for engine in self.state.pins.values() if self._is_misplaced(engine)]
        self.state.pins_seen_in = -1 if misplaced else self.state.epoch
        for engine in misplaced:
            self.change(engine, f"{engine.name} has to leave more room to others")
        for engine in self.state.pins.values():
            if engine.state is not UNLOADED or self.state.draining:
                continue
            if engine.backing_off_ns(self.now) or never_alone(self.state, (engine,)):
                continue
            self.room.needed.add(engine.name)
            self.bring_in([engine], pin_claimant(engine, self.now), 1)

    def _is_misplaced(self, engine: Engine) -> bool:
        """Whether something does not fit while this pinned engine has the form that it has."""
        if not engine.has_choice or not engine.in_memory:
            return False
        return fit(self.state).pinned[engine.name] is not engine.figures

    def change(self, engine: Engine, why: str) -> None:
        """Unload an engine that is to take another form, as soon as nobody uses it."""
        self.room.stopped.add(engine.name)
        if engine.is_idle:
            self.state.unload(engine, Reason(ReasonCode.CHANGE_FORM, why), self.now)
            self.room.returns(engine)

    def review(self) -> None:
        """Engines that could take a better form do so, when nobody waits for anything."""
        for name, engine in list(self.state.reviews.items()):
            if engine.run is not None and engine.condemned is None:
                continue  # It is idle in a moment.
            del self.state.reviews[name]
            is_free = engine.is_idle and not self.state.queue and not self.state.draining
            form = self.choice.better(engine) if is_free and not self.room.is_claimed else None
            if form is not None:
                self.change(engine, f"{name} becomes {form.form}, it was {engine.form}")
                self.state.wanted[name] = engine

    def look_ahead(self) -> None:
        """What is expected to be wanted is loaded ahead, when nobody waits for memory."""
        for name, engine in list(self.state.wanted.items()):
            if engine.in_memory:
                continue
            if is_wanted(self.state, engine, self.now):
                if not self.room.is_claimed and not self._rivals([engine], (engine,)):
                    self._load_ahead(engine)
            else:
                del self.state.wanted[name]

    def _load_ahead(self, engine: Engine) -> None:
        if engine.has_choice:
            self.choice.take(engine, 1, None)
        need = to_come([engine], 1)
        if self.room.has(need):
            self._load(engine, ahead=True)
        elif not self.room.make_ahead(engine, need):
            del self.state.wanted[engine.name]
            again_ns = self.now + max(engine.demand.usual_ns(), reload_ns(engine))
            expect(self.state, engine, self.now, not_before_ns=again_ns)

    def bring_in(self, absent: list[Engine], who: Claimant, items: int) -> Reason | None:
        """Load what is absent, or make room for it. Returns what it has to wait for first."""
        if self.room.keeps_out(absent):
            return Reason(WAITS_FOR_TURN, "somebody before it comes into that place")
        rivals = self._rivals(absent, who.engines)
        for rival in rivals:
            if rival.state is not READY or self.room.is_needed(rival):
                self.room.is_claimed = True
                what = "needed" if rival.state is READY else rival.state.value
                return Reason(
                    ReasonCode.WAITS_FOR_EXCLUSIVE, f"{rival.name} of its group is {what}"
                )
        if any(engine.has_choice for engine in absent):
            self._in_their_forms(absent, who, items, rivals)
        need = to_come(absent, items)
        if rivals or not self.room.has(need):
            return self.room.make(who, need, rivals)
        for engine in absent:
            self._load(engine)
        if who.pending is not None:  # Nobody waits to run on what is merely pinned.
            self.room.claim(shortage(need.later, need.now))
        return None

    def _in_their_forms(
        self, absent: list[Engine], who: Claimant, items: int, rivals: tuple[Engine, ...]
    ) -> None:
        """Let each take the form in which it is to come."""
        if len(who.engines) == 1:
            self.choice.take(absent[0], items, who, rivals)
        else:
            self.choice.take_together(who.engines, items)
        who.takes_ns = service_ns(who.engines)

    def _load(self, engine: Engine, *, ahead: bool = False) -> None:
        self.state.load(engine, self.now, ahead=ahead)
        booked = self.room.booked(engine)
        self.room.take(booked, shortage(booked, engine.resident_bytes()))

    def _rivals(self, absent: list[Engine], wanted: tuple[Engine, ...]) -> tuple[Engine, ...]:
        """The engines in memory that share an exclusive group with one that is to come."""
        if self.state.policy.one_at_a_time:
            others = self.state.engines.values()
            return tuple(e for e in others if e.in_memory and not e.pinned and e not in wanted)
        groups = absent[0].spec.exclusive
        if len(absent) > 1:
            groups = groups.union(*(engine.spec.exclusive for engine in absent[1:]))
        if not groups:
            return ()
        return tuple(
            engine
            for engine in self.state.engines.values()
            if engine.in_memory and engine.spec.exclusive & groups
        )
