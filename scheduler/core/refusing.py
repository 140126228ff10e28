"""What is remembered within one pass, so that it need not be worked out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.prospect import candidate
from scheduler.core.sparing import Sparing

if TYPE_CHECKING:
    from scheduler.core.claim import Claimant, Need
    from scheduler.core.engine import Engine
    from scheduler.core.policy import Candidate
    from scheduler.core.queue import Lane, Likeness, Pending
    from scheduler.core.state import State


class Refusing(Sparing):
    """Who was not given memory, and what speaks for and against each engine.

    `is_making` says that somebody makes room already, so nobody else does in this pass; `behind`
    is what those are like who need not be looked at any more.
    """

    def __init__(self, state: State, now: int) -> None:
        super().__init__(state, now)
        self.is_making = False
        self.behind: set[Likeness] = set()
        self._refused: tuple[Claimant, tuple[str, int, int]] | None = None
        self._known: dict[str, Candidate] = {}
        self._known_away_ns = -1

    def note_refusal(self, who: Claimant, need: Need, rivals: tuple[Engine, ...]) -> None:
        """Remember that this claimant was not given its memory, whatever takes its turn next."""
        wants_one = who.pending is None or who.pending.lane.only is not None
        plain = wants_one and not who.engines[0].has_choice and not rivals
        if plain and not self.is_personal and len(need.later) == 1:
            (pool,) = need.later
            self._refused = (who, (pool, need.now[pool], need.later[pool]))

    def reconsider(self) -> None:
        """Somebody was served or answered: what was refused before may be granted now."""
        self._refused = None
        self.behind.clear()
        self._known.clear()

    def likeness(self, lane: Lane) -> Likeness | None:
        """What lanes have in common of which, behind one that is refused, all are refused.

        None where the place in the order and this are not all that decides.
        """
        engine = lane.engines[0]
        need = engine.sole_need
        if need is None or engine.spec.exclusive:
            return None
        return (*need, lane.importance(), self._is_patient(lane.head))

    def is_behind(self, likeness: Likeness) -> bool:
        """Whether somebody before it, who needed no more, was not given that memory either.

        Told without looking at the engines again: what is free only shrinks within a pass, and who
        comes later may not take out more of them. So it holds for all like it that come later. In
        doubt, False.
        """
        pool, now, later, importance, is_patient = likeness
        if now <= max(self.free[pool], 0):  # Wanting nothing fits even an overdrawn pool.
            return False
        if not self.is_making:
            if self._refused is None:
                return False
            who, (same, less, later_less) = self._refused
            if pool != same or now < less or later < later_less:
                return False
            if is_patient != (self.now < who.patient_ns) or importance > who.priority:
                return False
        self.behind.add(likeness)
        return True

    def _is_patient(self, head: Pending) -> bool:
        return (
            self.state.policy.patient
            and not head.overdue
            and self.now < head.arrived_ns + head.lane.max_wait_ns
        )

    def candidate(self, engine: Engine, away_ns: int) -> Candidate:
        """What a policy may know of an engine that would be given away for `away_ns`."""
        if away_ns != self._known_away_ns:
            self._known.clear()
            self._known_away_ns = away_ns
        known = self._known.get(engine.name)
        if known is None:
            known = candidate(engine, self.booked(engine), away_ns, self.now)
            self._known[engine.name] = known
        return known
