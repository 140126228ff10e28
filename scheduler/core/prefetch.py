"""Having an engine in memory before it is asked for.

A stream whose engine takes longer to load than its deadline allows is never served on demand: each
request is refused, for it is too late already. So an engine that is expected to be wanted is loaded
ahead: into memory that is free, or into that of engines which together are worth clearly less.
Whoever waits goes first, and is never made to wait for this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.engine import UNLOADED, Engine
from scheduler.core.outlook import never_alone
from scheduler.core.prospect import misses, reload_ns, worth
from scheduler.core.timers import PREFETCH

if TYPE_CHECKING:
    from scheduler.core.state import State

WORTH_MORE = 2
"""How many times what it costs an engine must be worth to push others out unasked."""


def expect(state: State, engine: Engine, now: int, not_before_ns: int = 0) -> None:
    """An engine is out of memory, or missed there: set the alarm for its next load."""
    due_ns = load_from_ns(state, engine, now)
    if due_ns is None or engine.state is not UNLOADED:
        return
    due_ns = max(due_ns, not_before_ns, now + 1)
    set_ns = state.timers.due_ns(PREFETCH, engine.name)
    if set_ns is not None and not engine.demand.is_steady():
        # Each request puts off when the next is expected; its load must not be put off for ever.
        due_ns = min(due_ns, set_ns)
    state.timers.set(PREFETCH, engine.name, due_ns)


def load_from_ns(state: State, engine: Engine, now: int) -> int | None:
    """From when on to have an engine loaded for its next request, or None if on demand will do."""
    if not state.policy.prefetches:
        return None
    if not engine.demand.is_steady() and not misses(engine, 0, 0):
        return None  # It comes when it comes, and can be loaded then: a guess would cost others.
    next_ns = engine.demand.next_ns(now)
    return None if next_ns is None else next_ns - reload_ns(engine) * 5 // 4


def is_wanted(state: State, engine: Engine, now: int) -> bool:
    """Whether to go on trying to load an engine ahead, which is not in memory."""
    if state.draining or engine.disabled or never_alone(state, (engine,)) is not None:
        return False
    return engine.demand.next_ns(now) is not None


def is_worth(engine: Engine, victims: list[Engine], now: int) -> bool:
    """Whether having `engine` is clearly worth more than having all of `victims`."""
    return worth(engine, now) > WORTH_MORE * sum(worth(victim, now) for victim in victims)
