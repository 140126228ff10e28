"""What a switch of modes will do: who goes, who comes, in which order, and how long it takes.

The bound adds up what was seen of each part, as if loads and unloads came one after the other:

    the longest run that has to end first + every unload + every load

of each the slowest of the last 16, or its time limit where none was seen. What is known in neither
way is said to be unknown, and not counted. Of n that were seen the next is slower than all once in
n + 1 times, so the least n is told as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.core.amounts import Amounts, larger, plus, shortage, sizes, total
from scheduler.core.claim import Claimant, Need
from scheduler.core.decisions import SwitchMode
from scheduler.core.engine import LOADING, UNLOADED, UNLOADING, Engine
from scheduler.core.outlook import fit
from scheduler.core.prospect import service_ns

if TYPE_CHECKING:
    from scheduler.core.durations import Durations
    from scheduler.core.room import Room
    from scheduler.core.state import State


@dataclass(frozen=True, slots=True)
class Transition:
    """One planned switch.

    `who` wants the memory, `victims` make room for it, beside those which go in any case.
    `bound_ns` is the most that the known parts take, `unknown` names the others.
    """

    who: Claimant
    victims: tuple[Engine, ...]
    unloads: tuple[str, ...]
    loads: tuple[str, ...]
    bound_ns: int
    unknown: tuple[str, ...]
    samples: int

    def decision(self, mode: str | None) -> SwitchMode:
        """The plan as it is told."""
        return SwitchMode(mode, self.unloads, self.loads, self.bound_ns, self.unknown, self.samples)


def plan(state: State, room: Room, now: int) -> Transition:
    """Plan the switch to the mode that is in force by now; nothing has been unloaded for it yet."""
    coming = [pin for pin in state.pins.values() if not pin.is_ready]
    absent = [pin for pin in coming if pin.state is not LOADING]
    for pin in absent:
        if pin.state is UNLOADED:
            pin.take(fit(state).pinned[pin.name])
    who = _claimant(state, absent, now)
    victims: tuple[Engine, ...] = ()
    bound = Bound()
    if absent:
        need = _together(absent)
        deficits = room.deficits(who, need)
        chosen = room.choose(who, deficits, _rivals(state, absent))
        if chosen is None:
            bound.unknown.append(
                f"{sizes(deficits)} more than can be freed now"
                if deficits
                else "when an engine of an exclusive group can go"
            )
        victims = chosen or ()
    disabled = [e for e in state.engines.values() if e.disabled and e.in_memory]
    leaving = sorted([*disabled, *victims], key=lambda e: (e.hold is not None, e.run is not None))
    bound.unload(leaving, [e for e in state.engines.values() if e.state is UNLOADING])
    bound.load(coming, now)
    return Transition(
        who,
        victims,
        tuple(engine.name for engine in leaving),
        tuple(engine.name for engine in coming),
        bound.known_ns,
        tuple(bound.unknown),
        min(bound.seen, default=0),
    )


def _claimant(state: State, absent: list[Engine], now: int) -> Claimant:
    """All that is pinned and not there, as one: it waits for nobody."""
    priority = max((pin.priority for pin in absent), default=0)
    return Claimant(
        name="no mode" if state.mode is None else f"mode {state.mode.name}",
        priority=priority,
        rank=priority,
        patient_ns=now,
        takes_ns=service_ns(tuple(absent)) if absent else 0,
        engines=tuple(absent),
    )


def _together(absent: list[Engine]) -> Need:
    """What it takes to have all of them in memory, loaded and run one after the other."""
    resident = total(engine.resident_bytes() for engine in absent)
    peak: Amounts = {}
    workspace: Amounts = {}
    for engine in absent:
        peak = larger(peak, shortage(engine.loading_bytes(), engine.resident_bytes()))
        workspace = larger(workspace, engine.running_bytes(1))
    return Need(plus(resident, peak), plus(resident, workspace))


def _rivals(state: State, absent: list[Engine]) -> tuple[Engine, ...]:
    """Who shares an exclusive group with what is to come, and is not going in any case."""
    groups = frozenset[str]().union(*(engine.spec.exclusive for engine in absent))
    return tuple(
        engine
        for engine in state.engines.values()
        if engine.is_ready and not engine.disabled and engine.spec.exclusive & groups
    )


class Bound:
    """The time that the known parts of a switch take at most, and what is not known."""

    def __init__(self) -> None:
        self.known_ns = 0
        self.unknown: list[str] = []
        self.seen: list[int] = []

    def unload(self, leaving: list[Engine], on_their_way: list[Engine]) -> None:
        """The longest wait until all are idle, and then each unload."""
        waits_ns = [0]
        for engine in leaving:
            if engine.hold is not None:
                self.unknown.append(f"how soon lease {engine.hold.id} lets go of {engine.name}")
            if engine.run is not None:
                limit_ns = engine.spec.run_timeout_ns
                runs = 1 if engine.next_run is None else 2
                waits_ns.append(runs * self._most("a run", engine, engine.run_times, limit_ns))
            if engine.state is LOADING:
                waits_ns.append(self._load_ns(engine))
        self.known_ns += max(waits_ns)
        for engine in (*leaving, *on_their_way):
            self.known_ns += self._most("the unload", engine, engine.unload_times)

    def load(self, coming: list[Engine], now: int) -> None:
        """Each load."""
        for engine in coming:
            self.known_ns += self._load_ns(engine)
            if engine.backing_off_ns(now):
                self.unknown.append(f"whether {engine.name} loads, which failed just now")

    def _load_ns(self, engine: Engine) -> int:
        return self._most("the load", engine, engine.load_times, engine.spec.load_timeout_ns)

    def _most(
        self, what: str, engine: Engine, times: Durations, limit_ns: int | None = None
    ) -> int:
        seen_ns = times.slowest_ns()
        if seen_ns is not None:
            self.seen.append(len(times))
            return seen_ns
        if limit_ns is None:
            self.unknown.append(f"{what} of {engine.name}")
        return limit_ns or 0
