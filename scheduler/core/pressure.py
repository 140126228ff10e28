"""Other programs take memory: a pool that is nearly full on the machine itself.

What is to be given back then is unloaded with the overdrafts (see `Room.shed`); this warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.amounts import sized
from scheduler.core.outcome import ReasonCode

if TYPE_CHECKING:
    from scheduler.core.state import State

WARN_PERCENT = 90
"""So full a pool is near its end: the rule of thumb of the field."""
CALM_PERCENT = 85
"""Below this the next time is another time."""


def watch_pool(state: State, pool: str) -> None:
    """Warn once when a pool is nearly full, as the machine counts it, until it was calm again."""
    book = state.ledger.pools[pool]
    available, total = book.available_bytes, book.total_bytes
    if available is None or not total:
        return  # Not knowing is not 0.
    percent = 100 * (total - available) // total
    if percent < CALM_PERCENT:
        state.full_pools.discard(pool)
    elif percent >= WARN_PERCENT and pool not in state.full_pools:
        state.full_pools.add(pool)
        text = (
            f"{pool} is {percent} % full: {sized(available)} of {sized(total)} are available, "
            f"{sized(book.reserved_bytes)} are booked here, the rest is taken by others"
        )
        state.alarm(None, ReasonCode.POOL_NEARLY_FULL, text)
