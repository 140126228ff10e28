"""What becomes of a batch that failed for memory: it is tried again in halves.

One request alone cannot be divided, so it has failed. A request keeps its place, its age and its
deadline while it waits again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.core.climb import watch_climb
from scheduler.core.outcome import ReasonCode
from scheduler.core.outlook import must_go

if TYPE_CHECKING:
    from scheduler.core.lease import Lease
    from scheduler.core.queue import Pending
    from scheduler.core.state import State


def ran_out_of_memory(state: State, lease: Lease) -> None:
    """A run failed for memory: halve the batch, and let who shared it wait for the next run."""
    engine = lease.engines[0]
    items = sum(request.items for request in lease.granted)
    if items > 1:
        engine.figures.ran_out(items)
        text = (
            f"{engine.name} ran out of memory with {items} items; it runs at most "
            f"{engine.figures.batch_limit} at a time now: declare a larger per_item"
        )
        state.alarm(engine.name, ReasonCode.BATCH_HALVED, text)
    if len(lease.granted) > 1 and must_go(state, engine) is None:
        for pending in lease.pending:
            _wait_again(state, pending)
        lease.pending = []


def _wait_again(state: State, pending: Pending) -> None:
    pending.lease = None
    state.queue.add(pending)
    watch_climb(state, pending)
