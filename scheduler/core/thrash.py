"""Thrash: engines take turns in the same memory, and much of the time goes into loading.

A reload is a load that begins less than a minute after its engine had to make room. When the
reloads that ended within a minute took a quarter of it, a person is told, once until they took less
than an eighth. What would end it is computed from the working set: all that was used in that
minute, in memory together and running one item each, so that none has to make room for another.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from scheduler.core.amounts import larger, plus, shortage, sizes, total
from scheduler.core.decisions import RaiseAlarm
from scheduler.core.model import SECOND_NS
from scheduler.core.outcome import Reason, ReasonCode
from scheduler.core.outlook import residue_bytes

if TYPE_CHECKING:
    from scheduler.core.amounts import Amounts
    from scheduler.core.engine import Engine
    from scheduler.core.state import State

WINDOW_NS = 60 * SECOND_NS
ALARM_NS = WINDOW_NS // 4
"""So much of a minute in reloads is told: our own choice, as is the eighth at which it is over."""
CALM_NS = WINDOW_NS // 8


class Reloads:
    """The reloads that ended within the last minute. `told`: a person knows of them."""

    __slots__ = ("_ended", "told", "took_ns")

    def __init__(self) -> None:
        self._ended: deque[tuple[int, int, str]] = deque()
        self.took_ns = 0
        self.told = False

    def add(self, model: str, took_ns: int, now: int) -> None:
        """One has ended."""
        while self._ended and self._ended[0][0] <= now - WINDOW_NS:
            self.took_ns -= self._ended.popleft()[1]
        if self.took_ns < CALM_NS:
            self.told = False
        self._ended.append((now, took_ns, model))
        self.took_ns += took_ns

    def models(self) -> dict[str, int]:
        """How often each was loaded again."""
        counts: dict[str, int] = {}
        for _, _, model in self._ended:
            counts[model] = counts.get(model, 0) + 1
        return counts


def watch_reload(state: State, engine: Engine, begun_ns: int, now: int) -> None:
    """An engine is there again; see whether it had to make room less than a minute before."""
    evicted_ns, engine.evicted_ns = engine.evicted_ns, None
    if evicted_ns is None or begun_ns - evicted_ns >= WINDOW_NS:
        return
    reloads = state.reloads
    reloads.add(engine.name, now - begun_ns, now)
    if reloads.told or reloads.took_ns < ALARM_NS:
        return
    reloads.told = True
    more = more_bytes(state, now)
    times = ", ".join(f"{model} {count} times" for model, count in reloads.models().items())
    end = f"{sizes(more)} more would end it" if more else "more memory would not end it"
    text = (
        f"{100 * reloads.took_ns // WINDOW_NS} % of the last minute went into loading again what "
        f"had made room: {times}; {end}"
    )
    state.decisions.append(RaiseAlarm(None, Reason(ReasonCode.THRASHING, text), more))


def more_bytes(state: State, now: int) -> dict[str, int]:
    """By how much each pool is too small for the working set, where it is."""
    working = [engine for engine in state.engines.values() if _is_working(engine, now)]
    steady = {e.name: plus(e.resident_bytes(), e.running_bytes(1)) for e in working}
    peak: Amounts = {}
    for engine in working:
        peak = larger(peak, shortage(engine.loading_bytes(), steady[engine.name]))
    return shortage(plus(total(steady.values()), peak), _capacity_bytes(state))


def _is_working(engine: Engine, now: int) -> bool:
    """Used or loaded within the last minute, in use now, or kept in memory in any case."""
    is_busy = engine.in_memory and not engine.is_idle
    lately = engine.used_ns > 0 and now - engine.used_ns < WINDOW_NS
    return is_busy or engine.pinned or lately


def _capacity_bytes(state: State) -> dict[str, int]:
    """Per pool, what engines have at present: by the budget, or by what the machine has left."""
    lost = residue_bytes(state)
    return {
        name: book.reserved_bytes + book.free_bytes() - book.overhead_bytes - lost.get(name, 0)
        for name, book in state.ledger.pools.items()
    }
