"""How room is made within one pass over the queue, and whom it is made of.

One claimant at a time makes room; the others may use what is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scheduler.core.amounts import Amounts, larger, plus, shortage, sized, sizes, total
from scheduler.core.claim import Claimant, Need
from scheduler.core.engine import LOADING, READY, Engine
from scheduler.core.outcome import MAKE_ROOM, WAITS_FOR_MEMORY, WAITS_FOR_TURN, Reason, ReasonCode
from scheduler.core.outlook import is_leaving, unloading_bytes
from scheduler.core.policy import loss
from scheduler.core.prefetch import is_worth
from scheduler.core.prospect import idle_from_ns, service_ns
from scheduler.core.queue import NOBODY
from scheduler.core.refusing import Refusing

if TYPE_CHECKING:
    from scheduler.core.lease import Lease
    from scheduler.core.state import State
    from scheduler.core.witness import Rule, Witness

RUNNING: Final = Reason(ReasonCode.WAITS_FOR_ENGINE, "its engine is running")
BEHIND: Final = Reason(WAITS_FOR_TURN, "somebody before it waits for that memory")

IDLE_IN_TIME: Final = 0
RUNNING_TOO: Final = 1
HELD_TOO: Final = 2
"""How far a claimant goes: engines that are idle in time, then all that run, then held ones too."""


def has_to_go(engine: Engine) -> Reason:
    """What those wait for whose engine starts nothing new."""
    text = f"{engine.name} has to make room for somebody before it"
    return Reason(WAITS_FOR_TURN, text)


class Room(Refusing):
    """The memory of one pass.

    `stopped` are engines that have to go for somebody earlier in the order, on which no new work
    starts.
    """

    def __init__(self, state: State, now: int) -> None:
        super().__init__(state, now)
        self.stopped = {name for name in state.leaving if state.engines[name].condemned is None}
        self.is_claimed = False
        self._groups: set[str] = set()
        self._weighed: list[Engine] = []

    def outrank(self, lease: Lease, priority: int, who: str) -> None:
        """Revoke a held lease that is less important. Age does not count: it is not importance."""
        if lease.priority < priority and lease.revoking is None:
            detail = f"{who} has priority {priority}, the lease {lease.priority}"
            self.state.revoke(lease, Reason(ReasonCode.HIGHER_PRIORITY, detail))
            self.reconsider()

    # -- making room ------------------------------------------------------------------------

    def make(self, who: Claimant, need: Need, rivals: tuple[Engine, ...]) -> Reason:
        """Plan the complete set of engines to do without, and only then touch any of them.

        `rivals` share an exclusive group with what is to come and have to be in the set. Idle ones
        are unloaded; while one of the set still runs none is, but no new work starts on them.
        """
        self.is_claimed = True
        if self.is_making:
            return Reason(WAITS_FOR_TURN, "somebody before it is making room")
        if self._sleeps(who):
            return Reason(WAITS_FOR_MEMORY, "it looks again in a while")
        deficits = self.deficits(who, need)
        if not deficits and not rivals:
            self._keep_for(who, need)
            self.wake(who.patient_ns)
            return Reason(WAITS_FOR_MEMORY, "the memory it needs is being freed")
        victims = self.choose(who, deficits, rivals)
        if victims is None:
            return self._without_victims(who, need, deficits, rivals)
        better = () if rivals else self._cheaper_soon(who, deficits, victims)
        if better:
            self.wake(who.patient_ns)
            if self.state.witness is not None:
                self.state.witness.deferred(who, better)
            return Reason(WAITS_FOR_MEMORY, f"{', '.join(better)} will be cheaper to unload")
        self.is_making = True
        self._evict(who, victims)
        self._keep_for(who, need)
        names = ", ".join(engine.name for engine in victims)
        return Reason(WAITS_FOR_MEMORY, f"{names} makes room for {who.name}")

    def _without_victims(
        self, who: Claimant, need: Need, deficits: Amounts, rivals: tuple[Engine, ...]
    ) -> Reason:
        """Nobody can go. If what runs gives back is enough, nobody starts anew in its place."""
        most = larger(need.now, need.later)
        if not rivals and not shortage(most, plus(self.free, self.coming())):
            self.keep(most)
            self._keep_groups(who)
            return Reason(WAITS_FOR_MEMORY, "running work gives back what it needs")
        self.note_refusal(who, need, rivals)
        return self._cannot(who, deficits)

    def _keep_for(self, who: Claimant, need: Need) -> None:
        self.claim(larger(need.now, need.later))
        self._keep_groups(who)

    def _keep_groups(self, who: Claimant) -> None:
        for engine in who.engines:
            self._groups |= engine.spec.exclusive

    def keeps_out(self, absent: list[Engine]) -> bool:
        """Whether somebody before them is coming in where these could not be beside it."""
        if self.state.policy.one_at_a_time:
            return self.is_claimed
        return any(engine.spec.exclusive & self._groups for engine in absent)

    def _sleeps(self, who: Claimant) -> bool:
        """Whether the policy looks for memory now and then only, and this is not the time."""
        every_ns = self.state.policy.looks_every_ns
        if not every_ns or who.pending is None:
            return False
        since_ns = (self.now - who.pending.arrived_ns) % every_ns
        self.wake(self.now + every_ns - since_ns)
        return since_ns > every_ns // 10

    def make_ahead(self, engine: Engine, need: Need) -> bool:
        """Make room for an engine that nobody has asked for yet. False when it is not worth it."""
        everything = plus(self.free, self.coming())
        deficits = larger(shortage(need.now, everything), shortage(need.later, everything))
        if not deficits:
            return True  # It comes back by itself: wait.
        takes_ns = service_ns((engine,))
        idle = [
            e
            for e in self.state.engines.values()
            if e.is_idle
            and not e.pinned
            and not self.is_needed(e)
            and self.now >= e.since_ns + e.spec.min_residency_ns
        ]
        candidates = [self.candidate(e, takes_ns) for e in idle]
        chosen = self.state.policy.choose_victims(candidates, deficits)
        victims = [e for e in idle if e.name in (chosen or ())]
        if not victims or not is_worth(engine, victims, self.now):
            return False
        reason = Reason(MAKE_ROOM, f"room for {engine.name}, which will be wanted")
        for victim in victims:
            self.state.unload(victim, reason, self.now)
        return True

    def _evict(self, who: Claimant, victims: tuple[Engine, ...]) -> None:
        for engine in victims:
            self.stopped.add(engine.name)
            self.state.queue.changed(engine.name)
            lane = self.state.queue.bring_back(engine.name)
            if lane is not None:
                lane.blocked = has_to_go(engine)
            if engine.hold is not None:
                self.outrank(engine.hold, who.priority, who.name)
            self.returns(engine)
        if all(engine.is_idle for engine in victims):
            reason = Reason(MAKE_ROOM, f"room for {who.name} (priority {who.priority})")
            for engine in victims:
                self.state.unload(engine, reason, self.now)
            if who.pending is not None and not who.pending.overdue:
                # Its turn has begun: who comes later does not win back what was freed for it.
                self.state.promote(who.pending)

    def deficits(self, who: Claimant, need: Need) -> dict[str, int]:
        """What is missing even when all that is under way has come back.

        A patient claimant counts on the running work of others to return its workspace; one whose
        patience is over counts only on what is being unloaded.
        """
        everything = plus(self.free, self.coming())
        patient = self.now < who.patient_ns
        soon = everything if patient else plus(self.free, unloading_bytes(self.state))
        return larger(shortage(need.now, soon), shortage(need.later, everything))

    def choose(
        self, who: Claimant, deficits: Amounts, rivals: tuple[Engine, ...]
    ) -> tuple[Engine, ...] | None:
        """A sufficient set: of engines idle in time if that is enough, else of others too."""
        witness = self.state.witness
        rest = deficits
        if rivals:
            rest = shortage(deficits, total([self.booked(rival) for rival in rivals]))
        ready = self._looked_at(who, self._ready_beside(who))
        free: list[Engine] = []
        spared: list[tuple[Engine, Rule]] = []
        for engine in ready:
            rule = self.spares(engine, who, rivals)
            if rule is None:
                free.append(engine)
            else:
                spared.append((engine, rule))
        before = -1
        for reach in (IDLE_IN_TIME, RUNNING_TOO, HELD_TOO):
            found = [engine for engine in free if self._is_in_reach(engine, who, reach)]
            if witness is not None:
                self._tell_spared(witness, who, spared)
            elif len(found) == before:
                continue  # Nobody more than those who did not suffice.
            before = len(found)
            if any(rival not in found for rival in rivals):
                continue
            others = [self.candidate(e, who.takes_ns) for e in found if e not in rivals]
            chosen = self.state.policy.choose_victims(others, rest) if rest else ()
            if witness is not None:
                witness.weighed(who, others, rest, rivals, chosen)
            if chosen is not None:
                self._weighed = found
                engines = self.state.engines
                return (*rivals, *[engines[name] for name in chosen])
        return None

    def _is_in_reach(self, engine: Engine, who: Claimant, reach: int) -> bool:
        """Whether a claimant that goes as far as `reach` may send this engine away."""
        if engine.hold is not None:
            return reach == HELD_TOO and engine.hold.priority < who.priority
        return reach > IDLE_IN_TIME or self._is_idle_in_time(engine, who)

    def _is_idle_in_time(self, engine: Engine, who: Claimant) -> bool:
        """Whether the claimant can wait for what loads or runs there, if anything does.

        A run is short beside a load, so who is dear is not sent away because who is cheap runs.
        """
        if who.pending is None or who.pending.deadline_ns is None:
            return True
        return idle_from_ns(engine, self.now) + who.takes_ns <= who.pending.deadline_ns

    def _cheaper_soon(
        self, who: Claimant, deficits: Amounts, victims: tuple[Engine, ...]
    ) -> tuple[str, ...]:
        """Whom a patient claimant waits for, as it costs less to do without than `victims`.

        They load, or are wanted by somebody before it: once they have served they can go. So those
        who are asked for rarely take turns in the same place, and the others keep theirs.
        """
        if who.pending is None or self.now >= who.patient_ns:
            return ()
        free_soon = [
            engine
            for engine in self.state.engines.values()
            if (engine.state is READY or engine.state is LOADING)
            and engine.hold is None
            and not engine.pinned
            and engine.condemned is None
            and not is_leaving(self.state, engine)
            and engine not in who.engines
            and self._is_idle_in_time(engine, who)
        ]
        if free_soon == self._weighed:
            return ()  # It was chosen from these.
        soon = [self.candidate(engine, who.takes_ns) for engine in free_soon]
        chosen = self.state.policy.choose_victims(soon, deficits) or ()
        cost = sum(loss(c) for c in soon if c.model in chosen)
        is_cheaper = cost < sum(loss(self.candidate(e, who.takes_ns)) for e in victims)
        return chosen if is_cheaper else ()

    def _ready_beside(self, who: Claimant) -> list[Engine]:
        return [
            engine
            for engine in self.state.engines.values()
            if engine.state is READY and engine not in who.engines
        ]

    def _looked_at(self, who: Claimant, ready: list[Engine]) -> list[Engine]:
        """Of these, all but those whose customers the claimant lets be served first.

        Where many wait that is most of them, so they are told apart quickly, see `_has_customers`.
        A witness is told of the rule that comes first, so then all are looked at.
        """
        if self.now >= who.patient_ns or self.state.witness is not None:
            return ready
        customers, rank = self.state.queue.customers, who.rank
        others = [engine for engine in ready if customers.get(engine.name, NOBODY) < rank]
        if len(others) < len(ready):
            self.wake(who.patient_ns)
        return others

    @staticmethod
    def _tell_spared(witness: Witness, who: Claimant, spared: list[tuple[Engine, Rule]]) -> None:
        for engine, rule in spared:
            witness.spared(who, engine, rule)

    def _cannot(self, who: Claimant, deficits: Amounts) -> Reason:
        """Nothing suffices at present: nobody is evicted, and nothing is claimed."""
        for pool in deficits:
            book = self.state.ledger.pools[pool]
            machine = book.machine_room_bytes()
            if machine is not None and machine < book.room_bytes():
                detail = f"the machine has {sized(max(machine, 0))} of {pool} left for {who.name}"
                return Reason(ReasonCode.EXTERNAL_PRESSURE, detail)
        if not deficits:
            return Reason(ReasonCode.WAITS_FOR_EXCLUSIVE, "an engine of its group cannot go yet")
        return Reason(WAITS_FOR_MEMORY, f"{sizes(deficits)} more than can be freed now")

    # -- overdrafts -------------------------------------------------------------------------

    def shed(self) -> None:
        """Unload what is idle when a budget shrank, an engine grew, or other programs press."""
        if not self.state.ledger.is_overdrawn():
            return
        books = self.state.ledger.pools.items()
        over = {name: book.overdraft_bytes() for name, book in books if book.overdraft_bytes() > 0}
        rest = shortage(over, unloading_bytes(self.state))
        idle = [
            engine
            for engine in self.state.engines.values()
            if engine.is_idle and not engine.pinned and rest.keys() & self.booked(engine).keys()
        ]
        if not idle:
            return
        chosen = self.state.policy.choose_victims([self.candidate(e, 0) for e in idle], rest)
        if any(book.room_bytes() < 0 for name, book in books if name in rest):
            reason = Reason(ReasonCode.OVER_BUDGET, f"over budget by {sizes(over)}")
        else:
            detail = f"other programs press: {sizes(over)} less than the reserve is left"
            reason = Reason(ReasonCode.EXTERNAL_PRESSURE, detail)
        for engine in idle:
            if chosen is None or engine.name in chosen:
                self.state.unload(engine, reason, self.now)
