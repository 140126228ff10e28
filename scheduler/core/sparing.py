"""Which engines a claimant leaves alone, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.balance import Balance
from scheduler.core.model import PRIORITY_CRITICAL
from scheduler.core.outlook import is_leaving
from scheduler.core.policy import rank
from scheduler.core.prospect import misses, until_next_ns
from scheduler.core.queue import BEFORE_ALL, OrderKey
from scheduler.core.witness import Rule

if TYPE_CHECKING:
    from scheduler.core.claim import Claimant
    from scheduler.core.engine import Engine
    from scheduler.core.state import State


class Sparing(Balance):
    """The rules by which an engine that is ready need not go for a claimant.

    `needed` are engines that somebody earlier in the order wants, beside those whose lanes are set
    aside; `place` is how far the pass has come in the order. `wake_ns` is when time alone changes
    what was decided. `is_personal` says that a rule spared an engine from one claimant
    which might not spare it from another.
    """

    def __init__(self, state: State, now: int) -> None:
        super().__init__(state)
        self.now = now
        self.needed: set[str] = set()
        self.place: OrderKey = BEFORE_ALL
        self.wake_ns: int | None = None
        self.is_personal = False

    def is_needed(self, engine: Engine) -> bool:
        """Whether somebody earlier in the order wants this engine."""
        if engine.name in self.needed:
            return True
        lane = self.state.queue.aside.get(engine.name)
        return lane is not None and lane.entries[0][0] < self.place

    def wake(self, at_ns: int) -> None:
        """Look again at `at_ns`."""
        if at_ns > self.now and (self.wake_ns is None or at_ns < self.wake_ns):
            self.wake_ns = at_ns

    def spares(self, engine: Engine, who: Claimant, rivals: tuple[Engine, ...]) -> Rule | None:
        """The first rule by which this engine need not go, or None."""
        rule = None
        if engine.pinned:
            rule = Rule.PINNED
        elif self.is_needed(engine):
            rule = Rule.NEEDED
        elif engine.condemned is not None:
            rule = Rule.CONDEMNED
        elif is_leaving(self.state, engine):
            rule = Rule.LEAVING
        elif engine not in rivals and self._just_loaded(engine, who):
            rule = Rule.JUST_LOADED
        elif engine not in rivals and self._would_win_back(engine, who):
            rule = Rule.WOULD_WIN_BACK
        elif self._has_customers(engine, who):
            rule = Rule.HAS_CUSTOMERS
        elif self._is_better_later(engine, who):
            rule = Rule.BETTER_LATER
        return rule

    def _just_loaded(self, engine: Engine, who: Claimant) -> bool:
        """Whether its minimum residency protects this engine, from all but the more important."""
        settled_ns = engine.since_ns + engine.spec.min_residency_ns
        if self.now >= settled_ns or who.priority > engine.priority:
            return False
        self.wake(settled_ns)
        return True

    def _has_customers(self, engine: Engine, who: Claimant) -> bool:
        """Whether a patient claimant lets those be served first who queue for this engine.

        Those of at least its rank, and the one for whom it was loaded: else that load was for
        nothing, and comes again.
        """
        if self.now >= who.patient_ns:
            return False
        for lane in self.state.queue.lanes_of(engine.name):
            if not lane.entries:
                continue
            loaded_for_it = engine.fresh and lane.head.arrived_ns < engine.since_ns
            if loaded_for_it or rank(lane.head) >= who.rank:
                self.wake(who.patient_ns)
                return True
        return False

    def _would_win_back(self, engine: Engine, who: Claimant) -> bool:
        """Whether somebody more important will want the memory back before `who` is served.

        Of a stream that keeps time that is certain; of another it is a guess, and who has been
        patient for long enough takes the chance, unless a critical deadline could pay for it.
        """
        if not self.state.policy.patient or engine.priority <= who.rank:
            return False
        wanted_ns = until_next_ns(engine, self.now)
        if wanted_ns is None:
            return False
        if engine.demand.is_steady():
            wins_back = wanted_ns < who.takes_ns
        elif engine.priority >= PRIORITY_CRITICAL and misses(engine, who.takes_ns, 0):
            wins_back = True  # It may be asked for at any moment, and would be late then.
        else:
            wins_back = self.now < who.patient_ns and wanted_ns < who.takes_ns
        if wins_back:
            self._keep_until(who.patient_ns, engine)
        return wins_back

    def _is_better_later(self, engine: Engine, who: Claimant) -> bool:
        """Whether fewer deadlines are missed when a patient claimant waits for the next request.

        Right after a request of a steady stream its engine can be away for longest.
        """
        if engine.allowed_ns() is None:
            return False
        wanted_ns = until_next_ns(engine, self.now)
        if wanted_ns is None or self.now + wanted_ns >= who.patient_ns:
            return False
        now = misses(engine, who.takes_ns, wanted_ns)
        if now <= misses(engine, who.takes_ns, engine.demand.usual_ns()):
            return False
        self._keep_until(who.patient_ns, engine)
        return True

    def _keep_until(self, patient_ns: int, engine: Engine) -> None:
        """This engine is kept from this claimant, for as long as it is expected to be wanted."""
        self.is_personal = True
        self.wake(patient_ns)
        self.wake(engine.demand.silent_from_ns())
