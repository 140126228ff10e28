"""Which form an engine takes when it is loaded, of those in which it can serve at all.

1. A pinned engine has its place for good, see `fit`.
2. What usually takes too long for the deadline is passed over, if something else does not.
3. The best variant with which all who are in demand have room beside it, as they are in memory now.
4. Else the best with which they would have room if each of them took its smallest form.
5. Else the form for which it costs least to do without others: they have to take turns anyway.

One variant in several places goes where it costs least to make room for it, then where most is
free, then where it may be first.

Who was asked for lately, or is expected soon (`NEAR_NS`), is *in demand*. Without that two models
would take each other's memory in turns, each in its largest form.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, fits, larger, plus, shortage
from scheduler.core.claim import to_come
from scheduler.core.engine import LOADING, READY, UNLOADED, Engine
from scheduler.core.fit import least_bytes, least_resident, most_bytes
from scheduler.core.model import SECOND_NS
from scheduler.core.outlook import fit, usable_bytes
from scheduler.core.policy import loss
from scheduler.core.prospect import misses, until_next_ns
from scheduler.core.punctuality import RUNS_TO_TRUST
from scheduler.core.request import INFER
from scheduler.core.timers import FORM

if TYPE_CHECKING:
    from scheduler.core.claim import Claimant, Need
    from scheduler.core.figures import Figures
    from scheduler.core.room import Room
    from scheduler.core.state import State

NEAR_NS = 10 * SECOND_NS
"""So long after its last request, and before its next one, an engine is to have room beside those
that are loaded. A form is kept for at least as long before a better one is looked for: a change
costs an unload and a load, some hundred milliseconds each, and is to be rare beside that."""


class Choice:
    """Chooses within one pass; `room` is its memory."""

    def __init__(self, state: State, room: Room, now: int) -> None:
        self.state = state
        self.room = room
        self.now = now

    def take(
        self, engine: Engine, items: int, who: Claimant | None, rivals: tuple[Engine, ...] = ()
    ) -> None:
        """Let an engine that is not in memory take the form in which it is to be loaded.

        For `who`, or ahead of any request. `rivals` have to go for it in any case.
        """
        forms = self._in_time(engine, items, who)
        if len(forms) == 1:
            engine.take(forms[0])
            return
        before = engine.figures
        prices = {form: self._price(engine, form, items, who, rivals) for form in forms}
        engine.take(before)
        there = {form: price for form, price in prices.items() if price is not None}
        if there:
            chosen = self._beside(engine, there, items) or min(
                there, key=lambda form: (there[form], *self._place(forms, form))
            )
            engine.take(chosen)
        elif before not in forms:
            engine.take(forms[0])

    def take_together(self, engines: tuple[Engine, ...], items: int) -> None:
        """Let those of several engines that are not in memory take forms that fit together."""
        found = fit(self.state).together([e.name for e in engines], items, present(engines))
        for engine, form in zip(engines, found or (), strict=False):
            if engine.state is UNLOADED:
                engine.take(form)

    def least_bytes(self, engine: Engine, items: int) -> Amounts:
        """What it takes at least to serve in one of several forms; nothing where there is one."""
        forms = fit(self.state).possible(engine.name, items) if engine.has_choice else ()
        return least_bytes(forms) if forms else {}

    def better(self, engine: Engine) -> Figures | None:
        """A form that an idle engine had better change to, or None.

        It fits beside all who are in demand, as they are, pushes nobody out, and is a better
        variant than it has, and no request that is expected comes too late for it meanwhile; or it
        is a quicker one, when its runs take too long for its deadline.
        """
        until_ns = until_next_ns(engine, self.now)
        if until_ns is None:
            return None  # Nobody would load it again.
        forms = self._in_time(engine, 1, None)
        if engine.figures in forms:  # Else each of its requests misses its deadline as it is.
            better = [
                form for form in forms if _grade(engine, form) < _grade(engine, engine.figures)
            ]
            forms = [form for form in better if not misses(engine, 0, until_ns, form)]
        there = plus(self.room.free, self.room.booked(engine))
        costs_nobody = {form: 0 for form in forms if fits(most_bytes((form,), 1), there)}
        return self._beside(engine, costs_nobody, 1, shrunk=(False,))

    # -- what is weighed --------------------------------------------------------------------

    def _in_time(self, engine: Engine, items: int, who: Claimant | None) -> Sequence[Figures]:
        """The forms in which it can serve, without those that are usually too slow for it."""
        forms = fit(self.state).possible(engine.name, items) or engine.forms
        head = None if who is None else who.pending
        if head is not None and head.deadline_ns is not None:
            left_ns = head.deadline_ns - self.now
            runs = head.request.kind is INFER
            quick = [f for f in forms if _usual_ns(f, self.now, loads=True, runs=runs) <= left_ns]
            return quick or forms
        deadline_ns = engine.allowed_ns()
        if deadline_ns is None:
            return forms
        return [f for f in forms if _usual_ns(f, self.now, runs=True) <= deadline_ns] or forms

    def _price(
        self,
        engine: Engine,
        form: Figures,
        items: int,
        who: Claimant | None,
        rivals: tuple[Engine, ...],
    ) -> int | None:
        """What it costs to do without those who had to go for this form; None if it cannot be."""
        engine.take(form)
        need = to_come([engine], items)
        if self.room.has(need):
            return 0
        if who is None:
            return 1  # Ahead of any request it is not said whether it will be worth it.
        return self._loss(who, need, rivals)

    def _loss(self, who: Claimant, need: Need, rivals: tuple[Engine, ...]) -> int | None:
        deficits = self.room.deficits(who, need)
        if not deficits:
            return 0
        witness, self.state.witness = self.state.witness, None  # It is only told of what is done.
        victims = self.room.choose(who, deficits, rivals)
        self.state.witness = witness
        if victims is None:
            return None
        return sum(loss(self.room.candidate(victim, who.takes_ns)) for victim in victims)

    def _beside(
        self,
        engine: Engine,
        prices: dict[Figures, int],
        items: int,
        shrunk: Sequence[bool] = (False, True),
    ) -> Figures | None:
        """The best variant with room for all who are in demand, in its best place."""
        forms = list(prices)
        for smallest in shrunk:
            resident, beyond = self._company(engine, smallest=smallest)
            for _, places in groupby(forms, key=lambda form: form.form.variant):
                found = [form for form in places if self._fits(form, items, resident, beyond)]
                if found:
                    return min(found, key=lambda form: (prices[form], *self._place(forms, form)))
        return None

    def _place(self, forms: Sequence[Figures], form: Figures) -> tuple[str | int, ...]:
        """Sorts what costs the same: by variant, then by what is free there, then as written."""
        variants = [one.form.variant for one in forms]
        free = self.room.free.get(form.form.device, 0)
        return (variants.index(form.form.variant), -free, forms.index(form))

    def _fits(self, form: Figures, items: int, resident: Amounts, beyond: Amounts) -> bool:
        """Whether all are resident together, and each can run or load while the others rest."""
        own = form.resident_bytes()
        peak = larger(beyond, shortage(most_bytes((form,), items), own))
        together = plus(plus(resident, own), peak)
        usable = usable_bytes(self.state)
        return all(together.get(pool, 0) <= usable[pool] for pool in own)

    def _company(self, engine: Engine, *, smallest: bool) -> tuple[Amounts, Amounts]:
        """What those in demand hold in all, and the most that one of them takes beyond that."""
        resident: Amounts = {}
        beyond: Amounts = {}
        for other in self.state.engines.values():
            if other is engine or not self._is_in_demand(other):
                continue
            forms = self._forms_of(other, smallest=smallest)
            holds = least_resident(forms)
            running = other.state is READY and len(forms) == 1
            most = plus(holds, other.running_bytes(1)) if running else least_bytes(forms)
            resident, beyond = plus(resident, holds), larger(beyond, shortage(most, holds))
        return resident, beyond

    def _forms_of(self, other: Engine, *, smallest: bool) -> Sequence[Figures]:
        """The forms that another engine has, or may have to take."""
        if _is_here(other) and (other.pinned or not smallest):
            return (other.figures,)
        return fit(self.state).possible(other.name, 1) or other.forms

    def _is_in_demand(self, engine: Engine) -> bool:
        if engine.removed or engine.disabled is not None:
            return False
        if engine.pinned or engine.run is not None or engine.hold is not None:
            return True
        if any(lane.entries for lane in self.state.queue.lanes_of(engine.name)):
            return True
        return engine.demand.is_near(self.now, NEAR_NS)


def present(engines: Sequence[Engine]) -> dict[str, Figures]:
    """The forms of those that are in memory, or on their way into it."""
    return {engine.name: engine.figures for engine in engines if _is_here(engine)}


def _is_here(engine: Engine) -> bool:
    return engine.state in (LOADING, READY)


def misfits(state: State, engines: tuple[Engine, ...], items: int) -> list[Engine]:
    """Those in memory in a form in which a request of `items` can never be served here.

    They have to change it, or it would wait for ever.
    """
    if not any(engine.has_choice and _is_here(engine) for engine in engines):
        return []
    found = fit(state).together([e.name for e in engines], items, present(engines))
    paired = zip(engines, found or (), strict=False)
    return [engine for engine, form in paired if _is_here(engine) and form is not engine.figures]


def review_later(state: State, engine: Engine, now: int) -> None:
    """Set the alarm by which an engine that is not in its best form is looked at."""
    if not engine.has_choice or state.timers.due_ns(FORM, engine.name) is not None:
        return
    if engine.in_memory and _needs_review(engine, now):
        state.timers.set(FORM, engine.name, now + NEAR_NS)


def _needs_review(engine: Engine, now: int) -> bool:
    """Whether a better or a quicker form is to be looked for, as somebody will want it."""
    if engine.demand.next_ns(now) is None:
        return False
    deadline_ns = engine.allowed_ns()
    is_slow = deadline_ns is not None and _usual_ns(engine.figures, now, runs=True) > deadline_ns
    return is_slow or _grade(engine, engine.figures) > 0


def _grade(engine: Engine, form: Figures) -> int:
    """The place of a form's variant among those of its model, 0 for the best."""
    variants = list(dict.fromkeys(one.form.variant for one in engine.forms))
    return variants.index(form.form.variant)


def _usual_ns(form: Figures, now: int, *, loads: bool = False, runs: bool = False) -> int:
    """What a load and a run of this form usually take, as far as that is still known."""
    load_ns = form.load_times.recent_ns(now) if loads else 0
    seen = (form.run_times, form.cut_short) if runs else ()
    return load_ns + max((times.recent_ns(now, RUNS_TO_TRUST) for times in seen), default=0)
